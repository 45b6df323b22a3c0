"""`quantize: VARIANT` in app.yaml, from the data to a bundle; and that accuracy decides about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml

from tests.cli.calling import planner
from tests.cli.conftest import judge
from tests.cli.quiet import quieten

ON = ("app.yaml", "--infra", "infra.yaml")
VARIANTS = """\
    variants:
      fp32: {model: judge.onnx}
      int8: {quantize: fp32}
"""


@pytest.fixture
def made(project: Path) -> Path:
    """A project with nothing made from it, its model in two variants."""
    return in_two_variants(project)


def in_two_variants(project: Path) -> Path:
    """The project with its model in float32 and in int8, and data that say what float32 answers."""
    session = onnxruntime.InferenceSession(judge().SerializeToString())
    lines = []
    for line in (project / "data.jsonl").read_text().splitlines():
        text = json.loads(line)["text"]
        counts = [len(text), text.count(" "), text.count("!"), sum(c.isupper() for c in text)]
        (answer,) = session.run(None, {"features": np.array([counts], np.float32)})
        lines.append(json.dumps({"text": text, "verdict": answer[0].astype(float).tolist()}))
    (project / "data.jsonl").write_text("\n".join(lines) + "\n")
    change(project, "    model: judge.onnx\n", VARIANTS)
    change(project, "some: {file: data.jsonl}", "some: {file: data.jsonl, label: verdict}")
    return project


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "app.yaml").read_text()
    assert old in text
    (folder / "app.yaml").write_text(text.replace(old, new))


def variant(folder: Path) -> str:
    plan = yaml.safe_load((folder / "plan.yaml").read_text())
    return next(str(a["variant"]) for a in plan["assignments"] if a["component"] == "judge")


def slow_down_float32(folder: Path, seconds: float = 0.05) -> None:
    """What a larger model would show, and a quiet machine of all else."""
    behaviour = [json.loads(line) for line in (folder / "profiles" / "behaviour.jsonl").read_text().splitlines()]
    source = next(b["inputs"]["judge/fp32"] for b in behaviour if "judge/fp32" in b["inputs"])
    quieten(folder, {source: seconds})


def test_a_faster_variant_in_int8_is_chosen_only_where_accuracy_allows_it(solved: Path) -> None:
    made = in_two_variants(solved)  # in which hops between sites are measured already
    profiled = planner("profile", *ON, "--budget", "0.05", folder=made, timeout=300)
    assert profiled.code == 0, profiled.err
    collected = json.loads(planner("hub", "gc", "--dry-run", "--format", "json", folder=made).out)
    assert not any(name.startswith("quantized/") for name in collected["removed"])
    behaviour = [json.loads(line) for line in (made / "profiles" / "behaviour.jsonl").read_text().splitlines()]
    accuracy = {b["variants"]["judge"]: b["accuracy"][0]["value"] for b in behaviour if b["accuracy"]}
    assert accuracy["fp32"] == 1.0
    assert accuracy["int8"] < 0.9  # the label is exact
    slow_down_float32(made)
    careless = planner("solve", *ON, folder=made)
    assert careless.code == 0
    assert "nothing limits the accuracy on some: with other variants it could be up to 1.0000" in careless.out
    assert variant(made) == "int8"
    compiled = planner("compile", "plan.yaml", *ON, folder=made)
    assert compiled.code == 0, compiled.err
    assert "(0 compiled now)" in compiled.out
    change(made, "  budget:", '  quality: {accuracy: ">= 0.9", on: some}\n  budget:')
    assert planner("solve", *ON, folder=made).code == 0
    assert variant(made) == "fp32"


def test_other_requests_to_calibrate_with_make_it_another_model(made: Path) -> None:
    """Neither is the base's digest that of the quantized variant, nor does the latter survive other requests."""
    (made / "more.jsonl").write_text('{"text": "A LONG text of many words, to calibrate with!"}\n')
    change(made, "int8: {quantize: fp32}", "int8: {quantize: fp32, calibrate: more.jsonl}")
    from specs.load import load_application
    from specs.quantization import digest_realisation

    app = load_application(made / "app.yaml")
    base, first = (digest_realisation(app, "judge", v) for v in ("fp32", "int8"))
    assert base != first
    (made / "more.jsonl").write_text('{"text": "short"}\n')
    second = digest_realisation(app, "judge", "int8")
    assert first != second
    (made / "steps.py").write_text((made / "steps.py").read_text() + "\n# another function may compute other inputs\n")
    assert digest_realisation(app, "judge", "int8") not in (first, second)
    assert digest_realisation(app, "judge", "fp32") == base


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("quantize: fp32}", "quantize: fp23}", "'judge' has no variant 'fp23' to quantize (did you mean 'fp32'?)"),
        ("quantize: fp32}", "quantize: int8}", "'int8' is quantized itself; only a variant that gives a model"),
        ("quantize: fp32}", "quantize: fp32, calibrate: gone.jsonl}", "calibration file 'gone.jsonl' is missing"),
        ("{model: judge.onnx}", "{model: judge.onnx, calibrate: data.jsonl}", "calibrate belongs to a variant with"),
        ("data:\n  some: {file: data.jsonl, label: verdict}\n", "", "there are no requests to calibrate with"),
    ],
)
def test_what_cannot_be_quantized_is_said_at_its_line(made: Path, old: str, new: str, expected: str) -> None:
    change(made, old, new)
    called = planner("validate", *ON, folder=made)
    assert called.code == 2
    assert expected in called.err
    assert "app.yaml:1" in called.err

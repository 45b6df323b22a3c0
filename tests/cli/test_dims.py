"""`dims` in app.yaml, by the command: from the data to answers that equal those of the model that is not filled up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from planner.situation import load_situation
from runtime.executors import open_executor
from runtime.open_inference.models import Port
from runtime.open_inference.protocol import ProtocolError
from runtime.open_inference.tensors import check_header
from runtime.stages.work import open_model
from specs.artefact import Executor
from specs.dimensions import longest
from specs.errors import InputError
from specs.load import load_application
from specs.profile import Record, read_records
from tests.cli.calling import planner
from tests.cli.conftest import INFRA
from tests.cli.quiet import quieten
from tests.compiler.test_buckets import attention, reference

ON = ("app.yaml", "--infra", "infra.yaml")
APP = """\
schema: tierplan.app/v1
name: reading
sources:
  ask:
    at: {tier: edge}
    rate: {mean: 1/s, peak: 5/s}
    values:
      text: {type: string, size: {p50: 60 B, p99: 200 B}}
components:
  words:
    function: steps:words
    inputs: {text: ask.text}
    outputs: {ids: "i64[T]", mask: "i64[T]"}
  read:
    model: read.onnx
    inputs: {ids: words.ids, mask: words.mask}
    outputs: {state: "f32[T,32]", mean: "f32[32]"}
    dims: {T: [4, 16, 32]}
    backends: [tvm]
sinks:
  answer: {at: origin, inputs: {state: read.state, mean: read.mean}}
data:
  some: {file: data.jsonl}
constraints:
  answer_time: {from: ask, to: answer, p99: 500 ms}
objective: [cost, {latency: answer_time}]
"""
STEPS = """\
import zlib

import numpy as np


def words(text):
    ids = np.array([1 + zlib.crc32(word.encode()) % 8000 for word in text.split()], np.int64)
    return {"ids": ids, "mask": np.ones_like(ids)}
"""
SHARES = {4: 0.6, 16: 0.3, 32: 0.1}
ONE_SITE = INFRA[: INFRA.index("  cloud:")].replace("  server:", "  # server:")


def lengths() -> list[int]:
    """Of twenty texts: twelve of at most 4 words, six of at most 16, two of at most 32."""
    return [2, 3, 4] * 4 + [5, 6, 9, 12, 15, 16] + [17, 32]


def write(folder: Path, masked: bool = True) -> None:
    (folder / "app.yaml").write_text(APP, "utf-8")
    (folder / "infra.yaml").write_text(ONE_SITE, "utf-8")
    (folder / "steps.py").write_text(STEPS, "utf-8")
    texts = [" ".join(f"w{i}-{k}" for k in range(n)) for i, n in enumerate(lengths())]
    (folder / "data.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), "utf-8")
    onnx.save(attention(masked), str(folder / "read.onnx"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Profiled, solved and compiled; not to be changed."""
    folder = tmp_path_factory.mktemp("reading")
    write(folder)
    for verb in (
        ("validate", *ON),
        ("profile", *ON, "--budget", "0.02"),
        ("solve", *ON),
        ("compile", "plan.yaml", *ON),
    ):
        called = planner(*verb, folder=folder, timeout=300)
        assert called.code == 0, called.err
        if verb[0] == "profile":
            quieten(folder)
    return folder


def of_model(folder: Path) -> list[Record]:
    return [r for r in read_records(folder / "profiles") if r.buckets]


def test_each_bucket_is_measured_and_mixed_as_the_data_are(made: Path) -> None:
    records = of_model(made)
    assert records
    for record in records:
        assert record.shares == SHARES
        assert all(b.latency.n >= 10 for b in record.buckets or ())
    (behaviour,) = load_situation(made / "app.yaml", made / "infra.yaml", made / "profiles").behaviours
    assert behaviour.lengths is not None
    assert behaviour.lengths["read"]["32"] == 0.05


def test_a_plan_of_buckets_is_verified_with_its_shares(made: Path) -> None:
    called = planner("verify", "plan.yaml", *ON, "--all", folder=made)
    assert called.code == 0, called.err
    assert "share of lengths up to 16" in called.out


def test_what_is_measured_is_not_measured_again_and_a_declared_mix_needs_no_measuring(
    made: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    again = planner("profile", *ON, "--budget", "0.02", folder=folder, timeout=300)
    assert "0 measured" in again.out, again.out
    assert "by bucket" in again.out
    assert "60 %" in again.out
    mix = "dims: {T: {buckets: [4, 16, 32], mix: [10 %, 20 %, 70 %]}}"
    (folder / "app.yaml").write_text(APP.replace("dims: {T: [4, 16, 32]}", mix))
    solved = planner("solve", *ON, folder=folder)
    assert solved.code == 0, solved.err
    situation = load_situation(folder / "app.yaml", folder / "infra.yaml", folder / "profiles")
    assert {tuple(r.shares.values()) for r in situation.records if r.buckets} == {(0.1, 0.2, 0.7)}
    (folder / "app.yaml").write_text(APP.replace("[4, 16, 32]", "[8, 32]"))
    other = planner("solve", *ON, folder=folder)
    assert other.code == 2
    assert "profile missing: read/default" in other.err


def texts(folder: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (folder / "data.jsonl").read_text().splitlines()]


def asked(text: str) -> dict[str, np.ndarray]:
    space: dict[str, Any] = {}
    exec(STEPS, space)
    found: dict[str, np.ndarray] = space["words"](text)
    return found


def answered(theirs: Executor, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: value[0] for key, value in theirs.run({k: v[np.newaxis] for k, v in given.items()}).items()}


def test_what_a_bundle_answers_is_what_the_model_says_to_the_very_length(made: Path) -> None:
    """The stage takes one text after another, of whatever length, and gives states of as many words."""
    (folder,) = (made / "bundle" / "artefacts").iterdir()
    work = open_model(load_application(made / "app.yaml").value, "read", folder, open_executor, 1)
    theirs = reference()
    for text in texts(made):
        given = asked(text)
        found, expected = work.run(given), answered(theirs, given)
        assert found["state"].shape == (len(text.split()), 32)  # type: ignore[union-attr]
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=2e-5, atol=2e-5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'T' is 33, but the largest bucket is 32"):
        work.run(asked(" ".join("w" for _ in range(33))))


@pytest.mark.deep
def test_a_model_that_takes_what_fills_up_for_words_is_not_compiled_in_buckets(tmp_path: Path) -> None:
    write(tmp_path, masked=False)
    called = planner("profile", *ON, "--budget", "0.02", folder=tmp_path, timeout=300)
    assert "left out: read/default tvm: " in called.err
    assert "give the model a mask" in called.err
    assert not of_model(tmp_path)


def test_data_beyond_the_largest_bucket_are_named_by_their_line(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "app.yaml").write_text(APP.replace("[4, 16, 32]", "[4, 16]").replace("[tvm]", "[onnxruntime]"))
    called = planner("profile", *ON, "--budget", "0.02", folder=tmp_path, timeout=300)
    assert called.code == 2
    assert "'T' is 17, but the largest bucket is 16" in called.err


def test_a_client_is_told_at_the_door_what_no_bucket_holds(tmp_path: Path) -> None:
    write(tmp_path)
    direct = APP.replace(
        "      text: {type: string, size: {p50: 60 B, p99: 200 B}}\n",
        '      ids: {type: "i64[T]"}\n      mask: {type: "i64[T]"}\n',
    ).replace("words.", "ask.")
    start, end = direct.index("  words:"), direct.index("  read:")
    (tmp_path / "app.yaml").write_text(direct[:start] + direct[end:])
    called = planner("validate", *ON, folder=tmp_path)
    assert called.code == 0, called.err
    app = load_application(tmp_path / "app.yaml").value
    port = Port("ids", app.sources["ask"].values["ids"].type, most=longest(app, "ask", "ids"))
    assert check_header(port, "INT64", [32]) == (32,)
    with pytest.raises(ProtocolError, match="ids: T is 33, but the largest bucket is 32"):
        check_header(port, "INT64", [33])

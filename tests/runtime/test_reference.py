"""The reference pipeline, the application's data, and the behaviour measured with both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.reference.behaviour import measure_behaviour
from runtime.reference.items import Item, read_items
from runtime.reference.pipeline import Reference
from runtime.stages.work import Given, Made, Work, open_function
from runtime.values import Value
from specs.application import Application
from specs.digest import digest_file
from specs.errors import InputError
from specs.load import Document, load_application
from specs.quantization import digest_realisation
from specs.statistics import wilson
from specs.tensors import TensorType
from tests.runtime.sample import copy_project, make_items

LANGUAGE_TYPES = {"language.vector": TensorType("f32", (3,))}


def open_works(app: Document[Application]) -> Any:
    def open_work(component: str, variant: str) -> Work:
        return open_function(app.value, component, variant, app.folder, LANGUAGE_TYPES)

    return open_work


def reference(app: Document[Application], variant: str = "small") -> Reference:
    names = {c: variant if c == "vision" else "default" for c in app.value.components}
    return Reference(app.value, {c: [open_works(app)(c, v)] for c, v in names.items()}, names)


def by_hand(item: Item, variant: str) -> tuple[int, bool]:
    """The verdict and whether the picture alone decided it, without any of the code under test."""
    photo, caption = item.values["photo"], item.values["caption"]
    assert isinstance(photo, bytes)
    assert isinstance(caption, str)
    pixels = list(photo[:8])
    sure = bool(pixels[0] % 2) if variant == "small" else pixels[0] % 4 != 0
    ids = (["abcdefghijklmnopqrstuvwxyz".find(x) + 1 for x in caption.lower()[:4]] + [0] * 4)[:4]
    vector = [0, 0] if sure else [sum(ids), 1]
    return int(sum(pixels) + 10 * vector[0] + vector[1]) % 3, sure


def write_data(project: Path, items: list[Item], variant: str = "small") -> None:
    (project / "data" / "photos").mkdir(parents=True)
    lines = []
    for number, item in enumerate(items):
        photo = item.values["photo"]
        assert isinstance(photo, bytes)
        (project / "data" / "photos" / f"{number}").write_bytes(photo)
        line = {"photo": f"photos/{number}", "caption": item.values["caption"], "verdict": by_hand(item, variant)[0]}
        lines.append(json.dumps(line))
    (project / "data" / "held_out.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.mark.parametrize("variant", ["small", "large"])
def test_answers_and_branches_are_those_computed_by_hand(tmp_path: Path, variant: str) -> None:
    pipeline = reference(load_application(copy_project(tmp_path) / "app.yaml"), variant)
    branches: Counter[bool] = Counter()
    for item in make_items(60):
        outcome = pipeline.run(item)
        verdict, sure = by_hand(item, variant)
        assert outcome.answers["answer"]["verdict"].tolist() == [verdict]  # type: ignore[union-attr]
        assert outcome.runs == (
            ("shrink", "vision", "decide") if sure else ("shrink", "vision", "tokens", "language", "decide")
        )
        branches[sure] += 1
    assert min(branches.values()) > 5


def test_behaviour_is_measured_for_every_combination_with_joint_patterns(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    items = make_items(80)
    write_data(project, items, "small")
    app = load_application(project / "app.yaml")
    seen: list[tuple[int, int]] = []
    found = {b.variants["vision"]: b for b in measure_behaviour(app, open_works(app), lambda *p: seen.append(p))}
    assert set(found) == {"small", "large"}
    assert seen[-1] == (80, 80)
    for variant, behaviour in found.items():
        sure = sum(by_hand(item, variant)[1] for item in items)
        shares = {pattern.runs: pattern.count for pattern in behaviour.patterns}
        assert shares[("shrink", "vision", "decide")] == sure
        assert sum(p.probability for p in behaviour.patterns) == pytest.approx(1)
        photos = [len(item.values["photo"]) for item in items]
        payload = behaviour.payloads["upload.photo"]
        assert payload.mean == pytest.approx(np.mean(photos))
        assert payload.quantiles["0.5"] == pytest.approx(np.median(photos))
        assert behaviour.payloads["language.vector"].mean == 12
        assert behaviour.payloads["vision.sure"].mean == 1
        (accuracy,) = behaviour.accuracy
        right = sum(by_hand(i, variant)[0] == by_hand(i, "small")[0] for i in items)
        assert accuracy.value == pytest.approx(right / 80)
        assert accuracy.low <= accuracy.value <= accuracy.high
        assert behaviour.inputs == {
            "data:held_out": digest_file(project / "data/held_out.jsonl"),
            **{f"{c}/{v}": digest_realisation(app, c, v) for c, v in behaviour.variants.items()},
        }
        assert len(set(behaviour.inputs.values())) == 1 + len(behaviour.variants), (
            "functions of one file are told apart"
        )


def test_what_combinations_have_in_common_is_computed_once(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    write_data(project, make_items(40))
    app = load_application(project / "app.yaml")
    calls: Counter[str] = Counter()

    class Counted:
        def __init__(self, name: str, work: Work) -> None:
            self.name, self.work, self.outputs = name, work, work.outputs

        def run(self, inputs: Any) -> dict[str, Value]:
            calls[self.name] += 1
            return self.work.run(inputs)

        def rehearse(self, inputs: Given) -> None:
            self.work.rehearse(inputs)

        def run_batch(self, batch: Sequence[Given]) -> list[Made]:
            calls[self.name] += len(batch)
            return self.work.run_batch(batch)

        def close(self) -> None:
            self.work.close()

    open_work = open_works(app)
    behaviours = list(measure_behaviour(app, lambda c, v: Counted(f"{c}/{v}", open_work(c, v))))
    assert len(behaviours) == 2
    assert calls["shrink/default"] == calls["vision/small"] == calls["vision/large"] == 40
    unsure = max(p.count for b in behaviours for p in b.patterns if "language" in p.runs)
    assert calls["language/default"] <= 40
    assert calls["language/default"] >= unsure


@pytest.mark.parametrize("label", ['"1"', "null", "[1, 0]", "{}", "[[1], [1, 2]]"])
def test_a_label_that_no_answer_can_equal_is_an_error(tmp_path: Path, label: str) -> None:
    project = copy_project(tmp_path)
    write_data(project, make_items(3), "small")
    file = next(project.glob("data/*.jsonl"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["verdict"] = json.loads(label)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    app = load_application(project / "app.yaml")
    with pytest.raises(InputError, match=r"jsonl:2:1: the label of verdict is .*: expected a number"):
        list(measure_behaviour(app, open_works(app)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"photo": "photos/0", "caption": "a"}', "label 'verdict' is missing"),
        ('{"photo": "../app.yaml", "caption": "a", "verdict": 1}', "leaves the folder"),
        ('{"photo": "/etc/passwd", "caption": "a", "verdict": 1}', "leaves the folder"),
        ('{"photo": "photos/none", "caption": "a", "verdict": 1}', "cannot read photos/none"),
        ('{"photo": "photos/0", "caption": 3, "verdict": 1}', "caption: expected string"),
        ('{"photo": "photos/0", "verdict": 1}', "expected the values"),
        ("[1]", "expected an object"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_item_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    project = copy_project(tmp_path)
    write_data(project, make_items(1))
    file = project / "data" / "held_out.jsonl"
    file.write_text(file.read_text("utf-8") + line + "\n", "utf-8")
    app = load_application(project / "app.yaml")
    with pytest.raises(InputError, match=rf"held_out.jsonl:2:1: .*{message}"):
        [ref.read() for ref in read_items(app.value, "held_out", project)]


def test_no_data_and_empty_data_are_refused(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    app = load_application(project / "app.yaml")
    with pytest.raises(InputError, match="cannot read data"):
        read_items(app.value, "held_out", project)
    (project / "data").mkdir()
    (project / "data" / "held_out.jsonl").write_text("\n", "utf-8")
    with pytest.raises(InputError, match="no items"):
        read_items(app.value, "held_out", project)


def test_wilsons_interval_is_the_published_one() -> None:
    low, high = wilson(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0

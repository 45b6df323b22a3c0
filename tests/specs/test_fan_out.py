"""Fan-out in an application: what runs per item, which inputs take an item, which types follow, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.application import Ref
from specs.artefact import ModelSignature
from specs.fan_out import item_inputs, items_of, value_type
from specs.support import unsupported
from specs.tensors import parse_type
from tests.specs.writing import changed, lines, load, problems

APP = """\
schema: tierplan.app/v1
name: fans
sources:
  ask:
    at: {tier: edge}
    rate: 1/s
    values:
      text: {type: string, size: 80 B}
components:
  split:
    function: steps:split
    inputs: {text: ask.text}
    outputs: {parts: "f32[n,4]", ids: "i64[n]", short: bool, scale: "f32[2]"}
  embed:
    per: split.parts
    function: steps:embed
    inputs: {part: split.parts, scale: split.scale}
    outputs: {vector: "f32[8]"}
  weigh:
    per: embed.vector
    function: steps:embed
    inputs: {vector: embed.vector, part: split.parts, ids: split.ids}
    outputs: {weight: f32}
  decide:
    function: steps:decide
    inputs: {weights: weigh.weight, vectors: embed.vector}
    outputs: {verdict: "i64[1]"}
sinks:
  answer: {at: origin, inputs: {verdict: decide.verdict, vectors: embed.vector}}
constraints:
  answer_time: {from: ask, to: answer, p99: 200 ms}
"""


def test_an_application_that_fans_out_has_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, APP) == []
    assert unsupported(*load(tmp_path, APP)) == []


def test_inputs_of_the_same_items_take_an_item_and_others_the_whole(tmp_path: Path) -> None:
    app = load(tmp_path, APP)[0].value
    assert item_inputs(app, "embed") == {"part"}
    assert item_inputs(app, "weigh") == {"vector", "part"}
    assert item_inputs(app, "decide") == frozenset()
    assert items_of(app, "weigh.weight") == items_of(app, "embed.vector") == "split.parts"


def test_what_runs_per_item_is_a_stack_to_those_that_take_it_whole(tmp_path: Path) -> None:
    app = load(tmp_path, APP)[0].value

    def seen(value: str) -> str:
        return str(value_type(app, Ref.model_validate({"from": value})))

    assert seen("embed.vector") == "f32[n,8]"
    assert seen("weigh.weight") == "f32[n]"
    assert seen("split.parts") == "f32[n,4]"
    fixed = load(tmp_path, changed(APP, ("f32[n,4]", "f32[5,4]")))[0].value
    assert str(value_type(fixed, Ref.model_validate({"from": "weigh.weight"}))) == "f32[5]"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("per: split.parts", "per: split.part", "15:5: 'split' has no output 'part' (did you mean 'parts'?)"),
        ("per: split.parts", "per: splitt.parts", "15:5: unknown source or component 'splitt' (did you mean 'split'?)"),
        ("per: split.parts", "per: split.ids", "15:5: 'embed' runs per split.ids, but takes it as no input"),
        (
            "per: split.parts",
            "per: ask.text\n    requires: []",
            "15:5: 'embed' runs per ask.text, but takes it as no input",
        ),
        ("f32[n,4]", "f32", "15:5: per needs a tensor whose first axis has the items; split.parts is f32 (give it a"),
        ('outputs: {vector: "f32[8]"}', 'outputs: {vector: "f32[m]"}', "18:15: what is given for each item is stack"),
        (
            "outputs: {weight: f32}",
            "outputs: {weight: string}",
            "23:15: what is given for each item is stacked, so its",
        ),
    ],
)
def test_a_fan_out_that_cannot_be_is_named_at_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = problems(tmp_path, changed(APP, (old, new)))
    assert any(f"app.yaml:{expected}" in line for line in found), found


def test_a_model_is_checked_against_the_item_that_it_takes(tmp_path: Path) -> None:
    (tmp_path / "embed.onnx").write_bytes(b"a test of names does not read it")
    model = changed(APP, ("function: steps:embed", "model: embed.onnx"))

    def signed(part: str) -> dict[tuple[str, str], ModelSignature]:
        inputs = {"part": parse_type(part), "scale": parse_type("f32[2]")}
        outputs = {"vector": parse_type("f32[8]")}
        return {("embed", "default"): ModelSignature.model_validate({"inputs": inputs, "outputs": outputs})}

    assert problems(tmp_path, model, signatures=signed("f32[4]")) == []
    (found,) = problems(tmp_path, model, signatures=signed("f32[5]"))
    assert "17:14: an item of split.parts is f32[4] (line 13), but input 'part' of 'embed' takes f32[5]" in found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "per: split.parts\n",
            "per: split.parts\n    split: {at: [t], codec: [zlib]}\n",
            "codecs of a component that runs per item",
        ),
        ("function: steps:decide", "when: weigh.weight\n    function: steps:decide", "a gate for each item"),
        ("per: split.parts", "per: split.parts\n    when: split.parts", "a gate for each item"),
        ("part: split.parts,", "part: {from: split.parts, if_skipped: 0},", "a number in place of skipped items"),
        ("weights: weigh.weight", "weights: {from: weigh.weight, if_skipped: 0}", "in place of a skipped stack"),
    ],
)
def test_what_is_not_built_of_fan_outs_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    found = lines(unsupported(*load(tmp_path, changed(APP, (old, new)))))
    assert any(expected in line for line in found), found
    assert all(line.startswith("app.yaml:") for line in found)

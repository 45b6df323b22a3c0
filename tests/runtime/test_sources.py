"""Several sources: which of them an item is of, and that one's data says nothing of another's requests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from runtime.reference.behaviour import measure_behaviour
from runtime.stages.work import Work, open_function
from specs.behaviour import Behaviour
from specs.errors import InputError
from specs.load import Document, load_application
from specs.tensors import parse_type

APP = """
schema: tierplan.app/v1
name: two-doors
sources:
  question:
    at: {tier: edge}
    rate: 1/s
    values: {text: {type: string, size: {p50: 10 B, p99: 20 B}}}
  batch:
    at: {tier: edge}
    rate: 5/s
    values: {text: {type: string, size: {p50: 10 B, p99: 20 B}}}
components:
  long: {function: "steps:long", inputs: {text: question.text}, outputs: {yes: bool}}
  twice: {function: "steps:twice", when: long.yes, inputs: {text: question.text}, outputs: {n: i64}}
  count: {function: "steps:count", inputs: {text: batch.text}, outputs: {n: i64}}
  final: {function: "steps:final", inputs: {n: {from: twice.n, if_skipped: 0}}, outputs: {n: i64}}
sinks:
  answer: {at: origin, inputs: {n: final.n}}
  counted: {at: origin, inputs: {total: count.n}}
data:
  asked: {file: asked.jsonl, label: n, source: question}
  listed: {file: listed.jsonl, source: batch}
objective: [cost]
"""
STEPS = """
def long(text): return {"yes": len(text) > 2}
def twice(text): return {"n": 2 * len(text)}
def final(n): return {"n": int(n)}
def count(text): return {"n": len(text)}
"""


def application(folder: Path, asked: Sequence[object], listed: Sequence[object], text: str = APP) -> Document:  # type: ignore[type-arg]
    (folder / "app.yaml").write_text(text, "utf-8")
    (folder / "steps.py").write_text(STEPS, "utf-8")
    for name, lines in (("asked", asked), ("listed", listed)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return load_application(folder / "app.yaml")


def behaviour(app: Document) -> Behaviour:  # type: ignore[type-arg]
    strings = dict.fromkeys(("question.text", "batch.text"), parse_type("string"))
    types = {**strings, "long.yes": parse_type("bool"), "twice.n": parse_type("i64")}

    def work(component: str, variant: str) -> Work:
        return open_function(app.value, component, variant, app.folder, types)

    (found,) = measure_behaviour(app, work)
    return found


def shares(found: Behaviour, source: str) -> Mapping[tuple[str, ...], float]:
    return {p.runs: p.probability for p in found.patterns if p.source == source}


@pytest.mark.parametrize("listed", [1, 7])
def test_probabilities_are_among_the_requests_of_one_source(tmp_path: Path, listed: int) -> None:
    asked = [{"text": "abc", "n": 6}, {"text": "a", "n": 0}, {"text": "b", "n": 0}, {"text": "abcd", "n": 9}]
    found = behaviour(application(tmp_path, asked, [{"text": "x"}] * listed))
    assert shares(found, "question") == {("long", "twice", "final"): 0.5, ("long", "final"): 0.5}
    assert shares(found, "batch") == {("count",): 1.0}
    (accuracy,) = found.accuracy
    assert (accuracy.data, accuracy.n, accuracy.value) == ("asked", 4, 0.75)


def test_an_item_that_fits_two_sources_must_say_whose_it_is(tmp_path: Path) -> None:
    app = application(tmp_path, [{"text": "a", "n": 0}], [{"text": "x"}], APP.replace(", source: question", ""))
    with pytest.raises(InputError, match=r"asked\.jsonl:1:1: the values fit the sources question and batch"):
        behaviour(app)


def test_a_source_without_data_is_named(tmp_path: Path) -> None:
    text = "\n".join(line for line in APP.splitlines() if "listed" not in line)
    with pytest.raises(InputError, match="there is no data for the source 'batch'"):
        behaviour(application(tmp_path, [{"text": "a", "n": 0}], [], text))

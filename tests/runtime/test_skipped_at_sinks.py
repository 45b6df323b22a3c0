"""An answer that a gate left out is the number that its sink says, in the reference pipeline and in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.running.run import execute
from specs.errors import InputError
from specs.load import load_application
from specs.tensors import TensorType
from tests.runtime.sample import copy_project, make_bundle, make_items, make_plan, make_prediction, make_slice
from tests.runtime.test_reference import by_hand, reference

SINK = "answer: {at: origin, inputs: {verdict: decide.verdict}}"
WITH = "answer: {at: origin, inputs: {verdict: decide.verdict, ids: {from: tokens.ids, if_skipped: -7}}}"


def answered(found: Any, item: Any) -> bool:
    sure = by_hand(item, "small")[1]
    verdict, ids = found["verdict"].tolist(), found["ids"].tolist()
    return verdict == [by_hand(item, "small")[0]] and (ids == [-7] * 4) == sure and len(ids) == 4


def test_the_reference_answers_with_the_number(tmp_path: Path) -> None:
    pipeline = reference(load_application(copy_project(tmp_path, app=(SINK, WITH)) / "app.yaml"))
    items = make_items(30)
    assert all(answered(pipeline.run(item).answers["answer"], item) for item in items)
    assert {by_hand(item, "small")[1] for item in items} == {True, False}


def test_a_run_answers_with_the_number(tmp_path: Path) -> None:
    project = copy_project(tmp_path, app=(SINK, WITH))
    bundle = make_bundle(tmp_path, make_plan(project), project)
    part, items = make_slice(requests=40), make_items(30)
    # The sink takes tokens' ids from the phone itself: nothing more crosses a link than before.
    done = execute(bundle, part, items, make_prediction(bundle, part), on="process", deadline=20)
    assert (done.result.requests.answered, done.result.requests.wrong) == (40, 0)
    assert all(answered(entry.answers["answer"], items[entry.item]) for entry in done.log)


def test_a_blob_has_no_number_that_stands_for_it(tmp_path: Path) -> None:
    from runtime.values import sink_fills

    app = load_application(copy_project(tmp_path, app=(SINK, WITH)) / "app.yaml").value
    with pytest.raises(InputError, match="if_skipped needs a tensor of fixed shape"):
        sink_fills("answer", app.sinks["answer"].inputs, {"tokens.ids": TensorType("string")})

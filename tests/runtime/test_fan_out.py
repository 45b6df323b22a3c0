"""Fan-out in whole runs: one task an item, all of a request's results in one stack, in the order of the items."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.job import job
from compiler.make import make
from compiler.store import Store
from runtime.bundle import Bundle
from runtime.fan_out import split, stack
from runtime.hosting.opening import open_references
from runtime.running.run import Execution, execute
from runtime.topology import topology
from specs.artefact import Segment
from specs.errors import InputError
from specs.tensors import parse_type
from tests.runtime.fan_out import by_hand, classified_by_models, fan_out_bundle, fan_out_project
from tests.runtime.sample import make_items, make_prediction, make_slice

ITEMS = make_items(40, photo_bytes=10)


def go(bundle: Bundle, count: int, on: str = "process", **options: Any) -> Execution:
    part = make_slice(requests=count, multiplier=options.pop("multiplier", 1.0))
    prediction = make_prediction(bundle, part)
    paths = tuple(p.model_copy(update={"over": "all", "to": "answer"}) for p in prediction.paths[:1])
    return execute(bundle, part, ITEMS, prediction.model_copy(update={"paths": paths}), on=on, **options)  # type: ignore[arg-type]


def test_the_reference_stacks_what_each_item_gave_and_counts_items(tmp_path: Path) -> None:
    bundle = fan_out_bundle(tmp_path)
    (reference,) = open_references(
        bundle, topology(bundle.plan, bundle.app.value, bundle.infra.value, make_slice())
    ).values()
    counts = Counter[int]()
    for item in ITEMS:
        kinds, total = by_hand(str(item.values["caption"]))
        outcome = reference.run(item)
        assert outcome.answers["answer"]["kinds"].tolist() == [[kind] for kind in kinds]  # type: ignore[union-attr]
        assert outcome.answers["answer"]["total"].tolist() == total  # type: ignore[union-attr]
        assert outcome.items == {"classify": len(kinds), "check": len(kinds)}
        counts[len(kinds)] += 1
    assert counts[0] > 0
    assert max(counts) > 2


def test_a_run_answers_as_the_reference_does_whatever_the_order_in_which_items_end(tmp_path: Path) -> None:
    done = go(fan_out_bundle(tmp_path), 300, multiplier=2, shape=False)
    requests = done.result.requests
    assert (requests.sent, requests.answered, requests.wrong) == (300, 300, 0)
    for entry in done.log:
        kinds, total = by_hand(str(ITEMS[entry.item].values["caption"]))
        assert entry.answers["answer"]["total"].tolist() == total  # type: ignore[union-attr]
        ran = Counter(time.stage for time in entry.trace.stages)
        assert ran["classify"] == ran["check"] == len(kinds)
        assert ran["find"] == ran["count"] == 1


def test_a_request_whose_items_do_not_fit_in_the_queue_is_refused_once(tmp_path: Path) -> None:
    done = go(fan_out_bundle(tmp_path, classify={"replicas": 1}), 200, multiplier=10, shape=False, queue_limit=3)
    requests = done.result.requests
    assert requests.refused > 0
    assert requests.answered + requests.refused == requests.sent == 200
    assert requests.wrong == 0


def test_items_of_a_request_past_its_deadline_end_it_once(tmp_path: Path) -> None:
    done = go(fan_out_bundle(tmp_path, classify={"replicas": 1}), 200, multiplier=20, shape=False, deadline=0.3)
    requests = done.result.requests
    assert requests.failed > 0
    assert requests.answered + requests.refused + requests.failed + requests.lost == requests.sent == 200
    assert requests.wrong == 0
    assert all("deadline" in reason for reason in done.reasons if "failed" in reason)


@pytest.mark.parametrize("shape", [False, True])
def test_a_model_that_runs_per_item_is_cut_between_sites(tmp_path: Path, shape: bool) -> None:
    """One message with what all items gave at the cut crosses; a request without items passes both parts by."""
    project = fan_out_project(tmp_path, model="    split: {at: [sum]}\n")
    store, file = Store(tmp_path / "store"), project / "classify.onnx"
    parts = Segment(end=("sum",)), Segment(begin=("sum",))
    halves = [make(job(file, "onnxruntime", segment=part), store) for part in parts]
    bundle = classified_by_models(project, dict(zip([("bases", "rack"), ("cloud", "vm")], halves, strict=True)))
    done = go(bundle, 100, multiplier=2, shape=shape)
    requests = done.result.requests
    assert (requests.sent, requests.answered, requests.wrong) == (100, 100, 0)
    empty = 0
    for entry in done.log:
        kinds, total = by_hand(str(ITEMS[entry.item].values["caption"]))
        assert entry.answers["answer"]["total"].tolist() == total  # type: ignore[union-attr]
        assert entry.answers["answer"]["kinds"].tolist() == [[kind] for kind in kinds]  # type: ignore[union-attr]
        ran = Counter(time.stage for time in entry.trace.stages)
        assert ran["classify[..sum]"] == ran["classify[sum..]"] == len(kinds)
        crossed = [t.edge for t in entry.trace.transfers]
        assert crossed.count("classify[..sum] -> classify[sum..]") == 1
        empty += not kinds
    assert empty
    (reference,) = open_references(
        bundle, topology(bundle.plan, bundle.app.value, bundle.infra.value, make_slice())
    ).values()
    for item in ITEMS:
        outcome = reference.run(item)
        assert len(outcome.values["classify@sum"]) == outcome.items["classify"]


def test_inputs_with_different_numbers_of_items_are_refused() -> None:
    values = {"a": np.zeros((3, 2)), "b": np.zeros(2), "whole": np.zeros(7)}
    with pytest.raises(InputError, match="different numbers of items: a 3, b 2"):
        split(values, frozenset("ab"), "classify")
    with pytest.raises(InputError, match="whole has no first axis of items: nothing"):
        split({"whole": None}, frozenset({"whole"}), "classify")


def test_splitting_and_stacking_are_inverse() -> None:
    for count in (0, 1, 4):
        array = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
        items = split({"x": array, "whole": np.ones(2)}, frozenset("x"), "c")
        assert all(item["whole"].tolist() == [1, 1] for item in items)  # type: ignore[union-attr]
        again = stack([{"x": item["x"]} for item in items], {"x": parse_type("f32[3]")})["x"]  # type: ignore[dict-item]
        assert np.array_equal(again, array)
        assert again.dtype == array.dtype  # type: ignore[union-attr]

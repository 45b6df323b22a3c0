"""Batches at run time: those that the simulator forms, answers by request, errors that stay with their request."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from compiler.job import job
from compiler.make import make
from compiler.store import Store
from planner.prediction.fan_out_queue import Batches, Services, found_in_batches, sent
from planner.prediction.patient_batches import begins
from planner.verification.fan_out import Batched, batches_formed
from runtime.bundle import Bundle, write_bundle
from runtime.executors import open_executor
from runtime.hosting.queues import BatchingQueue
from runtime.running.run import execute
from runtime.stages.work import Made, ModelWork, open_model
from specs.errors import InputError
from specs.load import load_application, load_infrastructure
from specs.plan import Assignment
from tests.planner.networks import Server
from tests.planner.test_simulation_cases import play
from tests.runtime.fan_out import PLACES, classified_by_models, fan_out_project
from tests.runtime.fan_out import by_hand as kinds_by_hand
from tests.runtime.sample import assignment, copy_project, make_items, make_plan, make_prediction, make_slice
from tests.runtime.test_reference import by_hand

BATCH = 4


@dataclass(frozen=True)
class Item:
    request: str
    ready: float
    number: int


def items_served(arrivals: list[float], items: int, by: Batched, service: float) -> tuple[list[float], list[float]]:
    """When each request's first batch leaves the runtime's own queue and its last is done, if all bring `items`."""
    now = 0.0
    queue: BatchingQueue[Item] = BatchingQueue(10_000, by.most, by.patience, lambda: now)
    idle = by.servers
    first, last = [inf] * len(arrivals), [0.0] * len(arrivals)
    events = [(at, "comes", number) for number, at in enumerate(arrivals)]
    heapq.heapify(events)
    while events:
        now, what, number = heapq.heappop(events)
        if what == "comes":
            assert queue.put(*(Item(str(number), now, i) for i in range(items)))
            heapq.heappush(events, (now + by.patience, "ripens", number))
        idle += what == "frees"
        while idle and (due := queue.due_in()) is not None and due <= 0:
            for item in queue.take():
                request = int(item.request)
                first[request], last[request] = min(first[request], now), max(last[request], now + service)
            idle -= 1
            heapq.heappush(events, (now + service, "frees", -1))
    return first, last


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=40),
    st.integers(1, 3),
    st.integers(2, 5),
    st.sampled_from([0, 64, 250]),
    st.sampled_from([32, 96, 500]),
)
def test_the_same_arrivals_form_the_same_batches_in_the_runtime_the_simulator_and_the_prediction(
    ticks: list[int], servers: int, batch: int, wait: int, service: int
) -> None:
    """Times are 64ths of a second, which floats hold exactly; no two things happen at once."""
    arrivals = [(tick + i / 64) / 64 for i, tick in enumerate(sorted(ticks))]
    took, waited = (service + 0.25 / 64) / 64, (wait + 0.125 / 64) / 64 if wait else 0.0
    server = Server([took], replicas=servers, batch=batch, batch_wait_ms=waited * 1e3)
    waits = play({"a": server}, arrivals).flows["src@here"].waits[0]
    found, _ = items_served(arrivals, 1, Batched(servers, batch, waited), took)
    assert np.array(found) - np.array(arrivals) == pytest.approx(waits, abs=1e-5)
    assert begins(arrivals, [took] * len(arrivals), servers, batch, waited) == found


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=30),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(2, 5),
    st.sampled_from([0, 64, 250]),
    st.sampled_from([32, 96]),
)
def test_items_of_requests_form_the_same_batches_everywhere(
    ticks: list[int], items: int, servers: int, batch: int, wait: int, service: int
) -> None:
    """In the runtime, the simulator, the verifier and the prediction; times are 64ths of a second, as above."""
    arrivals = np.array([(tick + i / 64) / 64 for i, tick in enumerate(sorted(ticks))])
    took, waited = (service + 0.25 / 64) / 64, (wait + 0.125 / 64) / 64 if wait else 0.0
    by = Batched(servers, batch, waited)
    first, last = (np.array(each) - arrivals for each in items_served(arrivals.tolist(), items, by, took))

    server = Server([took], replicas=servers, batch=batch, batch_wait_ms=waited * 1e3)
    played = play({"a": server}, arrivals.tolist(), fan_out=("a", {items: 1.0})).flows["src@here"]
    assert played.waits[0] == pytest.approx(first, abs=1e-5)
    assert played.ends["end"] == pytest.approx(last, abs=1e-5)

    came = np.repeat(arrivals, items).tolist()
    begun, done = (np.array(each).reshape(-1, items) for each in batches_formed(came, [took] * len(came), by))
    assert begun[:, 0] - arrivals == pytest.approx(first, abs=1e-9)
    assert done.max(axis=1) - arrivals == pytest.approx(last, abs=1e-9)

    brought = [items] * len(arrivals)
    found = found_in_batches(
        np.diff(arrivals, prepend=0.0).tolist(), brought, [took] * len(came), servers, Batches(batch, waited)
    )
    lacking = -(found.open + items) % batch
    later = np.arange(len(arrivals)) - (-lacking // items)
    filled = np.append(arrivals, [inf] * batch)[later] - arrivals
    known = Services(np.array([took]), filled, np.random.default_rng(1))
    said = sent(found, np.array(brought), Batches(batch, waited), known)
    assert said[0] == pytest.approx(first, abs=1e-9)
    assert said[1] == pytest.approx(last, abs=1e-9)


def lookup(tmp_path: Path) -> ModelWork:
    """A model that looks one row of a table up, for `BATCH` requests at once."""
    project = copy_project(
        tmp_path,
        app=(
            '    function: pictures.steps:language\n    inputs: {ids: tokens.ids}\n    outputs: {vector: "f32[3]"}',
            '    model: table.onnx\n    inputs: {ids: tokens.ids}\n    outputs: {vector: "f32[3]"}\n    batch: 4',
        ),
    )
    table = np.arange(15, dtype=np.float32).reshape(5, 3)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["vector"])],
        "table",
        [value("ids", onnx.TensorProto.INT64, ["N"])],
        [value("vector", onnx.TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(table, "table")],
    )
    file = tmp_path / "table.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    folder = make(job(file, "onnxruntime", batch=BATCH), Store(tmp_path / "store"))
    app = load_application(project / "app.yaml").value
    return open_model(app, "language", folder, open_executor, 1)


def rows(made: Made) -> list[float]:
    """The vector that was made."""
    assert isinstance(made, dict), made
    return np.asarray(made["vector"]).tolist()


def test_fewer_requests_than_a_batch_holds_are_answered_each_with_its_own(tmp_path: Path) -> None:
    work = lookup(tmp_path)
    for count in range(1, BATCH + 1):
        made = work.run_batch([{"ids": np.array(i)} for i in range(count)])
        assert [rows(m) for m in made] == [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(count)]


def test_a_request_that_fails_leaves_the_others_of_its_batch(tmp_path: Path) -> None:
    """One is of another type; one is an index beyond the table, on which the whole batch fails."""
    work = lookup(tmp_path)
    made = work.run_batch([{"ids": np.array(n)} for n in (1, 99, 2)] + [{"ids": np.array([1, 2])}])
    assert isinstance(made[1], Exception)
    assert isinstance(made[3], InputError)
    assert [rows(made[i])[0] for i in (0, 2)] == [3, 6]


def batched_bundle(tmp_path: Path, wait_ms: int) -> Bundle:
    """The sample, whose vision is a model at the base station that takes `BATCH` requests at once."""
    project = copy_project(
        tmp_path,
        app=(
            "    variants:\n"
            '      small: {function: "pictures.steps:vision_small"}\n'
            '      large: {function: "pictures.steps:vision_large"}\n',
            f"    batch: {{max: {BATCH}, wait: {wait_ms} ms}}\n    variants:\n      small: {{model: vision.onnx}}\n",
        ),
    )
    node, value, kinds = helper.make_node, helper.make_tensor_value_info, onnx.TensorProto
    graph = helper.make_graph(
        [
            node("Cast", ["pixels"], ["whole"], to=1),
            node("MatMul", ["whole", "signs"], ["score"]),
            node("Gather", ["whole", "zero"], ["first"], axis=1),
            node("Mod", ["first", "two"], ["odd"], fmod=1),
            node("Cast", ["odd"], ["sure"], to=9),
        ],
        "vision",
        [value("pixels", kinds.UINT8, ["N", 8])],
        [value("score", kinds.FLOAT, ["N", 2]), value("sure", kinds.BOOL, ["N"])],
        [
            numpy_helper.from_array(np.tile(np.array([1, -1], np.float32), (8, 1)), "signs"),
            numpy_helper.from_array(np.array(0, np.int64), "zero"),
            numpy_helper.from_array(np.array(2, np.float32), "two"),
        ],
    )
    file = tmp_path / "vision.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    folder = make(job(file, "onnxruntime", batch=BATCH), Store(tmp_path / "store"))
    vision = assignment(
        "vision", "bases", "rack", backend="onnxruntime", artefact=folder.name, batch=BATCH, batch_wait_ms=wait_ms
    )
    plan = make_plan(project)
    plan = plan.model_copy(update={"assignments": (*(a for a in plan.assignments if a.component != "vision"), vision)})
    app, infra = load_application(project / "app.yaml"), load_infrastructure(project / "infra.yaml")

    def made(a: Assignment) -> Path:
        return folder.parent / a.artefact

    return write_bundle(tmp_path / "bundle", plan, app, infra, made, {})


def test_a_run_serves_batches_and_answers_each_request_as_the_reference_does(tmp_path: Path) -> None:
    """Those of a batch end at one moment; with half a second to wait, a second's requests make full ones."""
    bundle = batched_bundle(tmp_path, wait_ms=500)
    part, items = make_slice(requests=80, multiplier=2), make_items(40)
    done = execute(bundle, part, items, make_prediction(bundle, part), on="process", shape=False)
    assert (done.result.requests.answered, done.result.requests.wrong) == (80, 0)
    for entry in done.log:
        assert entry.answers["answer"]["verdict"].tolist() == [by_hand(items[entry.item], "small")[0]]  # type: ignore[union-attr]
    ended = [(t.member, t.ended) for entry in done.log for t in entry.trace.stages if t.stage == "vision"]
    sizes = Counter(Counter(ended).values())
    assert max(sizes) == BATCH
    assert sizes[BATCH] >= 5


def batches_of_letters(tmp_path: Path) -> Bundle:
    """The application of tests/runtime/fan_out.py, whose letters are classified by a model, `BATCH` at once."""
    project = fan_out_project(tmp_path, model=f"    batch: {BATCH}\n")
    folder = make(job(project / "classify.onnx", "onnxruntime", batch=BATCH), Store(tmp_path / "store"))
    return classified_by_models(project, {PLACES["classify"]: folder}, batch=BATCH)


def test_a_run_serves_items_of_a_request_in_batches_and_stacks_them_in_their_order(tmp_path: Path) -> None:
    """Those that come together leave together: of a request with up to `BATCH` letters all end at one moment."""
    bundle = batches_of_letters(tmp_path)
    part, items = make_slice(requests=100), make_items(40, photo_bytes=10)
    done = execute(bundle, part, items, make_prediction(bundle, part), on="process", shape=False)
    assert (done.result.requests.answered, done.result.requests.wrong) == (100, 0)
    several = 0
    for entry in done.log:
        kinds, total = kinds_by_hand(str(items[entry.item].values["caption"]))
        assert entry.answers["answer"]["total"].tolist() == total  # type: ignore[union-attr]
        ended = {t.ended for t in entry.trace.stages if t.stage == "classify"}
        assert len(ended) <= -(-len(kinds) // BATCH) + 1
        several += len(kinds) > 1 and len(ended) == 1
    assert several >= 20

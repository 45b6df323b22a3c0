"""Batches at run time: those that the simulator forms, answers by request, errors that stay with their request."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
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
from planner.prediction.patient_batches import begins
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
from tests.runtime.sample import assignment, copy_project, make_items, make_plan, make_prediction, make_slice
from tests.runtime.test_reference import by_hand

BATCH = 4


@dataclass(frozen=True)
class Task:
    request: str
    ready: float


def formed(arrivals: list[float], servers: int, batch: int, wait: float, service: float) -> list[float]:
    """When each request's batch leaves the runtime's own queue, on a clock that moves from one event to the next."""
    now = 0.0
    queue: BatchingQueue[Task] = BatchingQueue(1000, batch, wait, lambda: now)
    idle, left = servers, [0.0] * len(arrivals)
    events = [(at, "comes", number) for number, at in enumerate(arrivals)]
    heapq.heapify(events)
    while events:
        now, what, number = heapq.heappop(events)
        if what == "comes":
            assert queue.put(Task(str(number), now))
            heapq.heappush(events, (now + wait, "ripens", number))
        idle += what == "frees"
        while idle and (due := queue.due_in()) is not None and due <= 0:
            for task in queue.take():
                left[int(task.request)] = now
            idle -= 1
            heapq.heappush(events, (now + service, "frees", -1))
    return left


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
    found = formed(arrivals, servers, batch, waited, took)
    assert np.array(found) - np.array(arrivals) == pytest.approx(waits, abs=1e-5)
    assert begins(arrivals, [took] * len(arrivals), servers, batch, waited) == found


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

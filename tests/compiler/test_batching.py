"""Models that take several requests at once: which may, and that each row is what the model makes of it alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compiler.build import build
from compiler.job import job
from compiler.make import make
from compiler.model import load_model, prepare
from compiler.numerics import check, compare
from compiler.samples import in_groups, joined
from compiler.store import Store
from runtime.executors import open_executor
from specs.artefact import Segment
from specs.artefact_folder import read_artefact
from specs.errors import AnswerIsNo, InputError
from tests.compiler.forests import ensemble

WEIGHT = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
BATCH = 4


def net(
    nodes: Sequence[onnx.NodeProto], first: int | str = 1, constants: dict[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """`nodes` from x [first, 8] to y [first, 8], over a dense layer's weights w."""
    value = helper.make_tensor_value_info
    kept = {"w": WEIGHT, **(constants or {})}
    graph = helper.make_graph(
        list(nodes),
        "net",
        [value("x", onnx.TensorProto.FLOAT, [first, 8])],
        [value("y", onnx.TensorProto.FLOAT, [first, 8])],
        [numpy_helper.from_array(v, n) for n, v in kept.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs, **attributes)


DENSE = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])]
HEADS = [
    node("Reshape", ["x", "four"], ["h"]),
    node("Softmax", ["h"], ["s"], axis=2),
    node("Reshape", ["s", "flat"], ["y"]),
]
SHAPES = {"four": np.array([1, 4, 2], np.int64), "flat": np.array([1, 8], np.int64)}
MAY = {
    "a named batch": net(DENSE, "N"),
    "a batch of 1": net(DENSE),
    "reshapes that say 1": net(HEADS, 1, SHAPES),
    "reshapes that keep the batch": net(HEADS, "N", {"four": np.array([0, 4, 2]), "flat": np.array([0, -1])}),
}
MAY_NOT = {
    "softmax over the batch": (net([node("Softmax", ["x"], ["y"], axis=0)]), "Softmax 'y' works along the batch"),
    "a mean over the batch": (
        net([node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1), node("Sub", ["x", "m"], ["y"])], "N"),
        "ReduceMean gives 'm' another first axis",
    ),
    "rows times rows": (
        net([node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["g"]), node("MatMul", ["g", "x"], ["y"])]),
        "Transpose gives 't' another first axis",
    ),
    "a sum that runs on": (
        net([node("CumSum", ["x", "zero"], ["y"])], 1, {"zero": np.array(0, np.int64)}),
        "CumSum 'y' works along the batch",
    ),
    "a size in a constant": (
        net([node("Concat", ["x", "c"], ["j"], axis=1), node("MatMul", ["j", "v"], ["y"])], 1,
            {"c": np.ones((1, 8), np.float32), "v": np.ones((16, 8), np.float32)}),
        "shapes do not fit several requests",
    ),
}  # fmt: skip
REVERSED = net([node("Slice", ["x", "last", "beyond", "zero", "back"], ["y"])], "N", {
    "last": np.array([-1]), "beyond": np.array([-(2**40)]), "zero": np.array([0]), "back": np.array([-1]),
})  # fmt: skip
"""Turns the batch round: no shape tells."""


def rows(count: int) -> list[dict[str, np.ndarray]]:
    chance = np.random.default_rng(1)
    return [{"x": chance.standard_normal((1, 8)).astype(np.float32)} for _ in range(count)]


def artefact(tmp_path: Path, proto: onnx.ModelProto, backend: str, batch: int) -> Path:
    file = tmp_path / "model.onnx"
    onnx.save(proto, str(file))
    return make(job(file, backend, batch=batch), Store(tmp_path / "store"))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["tvm", "onnxruntime"])
@pytest.mark.parametrize("name", MAY)
def test_each_row_is_what_the_model_makes_of_it_alone(tmp_path: Path, name: str, backend: str) -> None:
    alone, together = (artefact(tmp_path, MAY[name], b, n) for b, n in (("onnxruntime", 1), (backend, BATCH)))
    assert read_artefact(together).batch == BATCH
    assert read_artefact(together).outputs == read_artefact(alone).outputs
    _, relative, _ = compare(open_executor(together, 1), open_executor(alone, 1), rows(6), BATCH)
    assert relative < 1e-6


@pytest.mark.parametrize("name", MAY_NOT)
def test_a_model_that_joins_requests_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    proto, why = MAY_NOT[name]
    file = tmp_path / "model.onnx"
    onnx.save(proto, str(file))
    assert prepare(load_model(file), {}, "model.onnx").graph.output
    with pytest.raises(InputError, match=f"the model takes one request at a time: .*{why}"):
        prepare(load_model(file), {}, "model.onnx", BATCH)


def test_a_model_whose_rows_change_places_is_found_by_running(tmp_path: Path) -> None:
    alone, together = (artefact(tmp_path, REVERSED, "onnxruntime", n) for n in (1, BATCH))
    with pytest.raises(AnswerIsNo, match="differs from ONNX Runtime"):
        check(together, alone, rows(BATCH), open_executor)


@pytest.mark.parametrize("backend", ["tvm", "onnxruntime"])
def test_a_forest_takes_many_rows(tmp_path: Path, backend: str) -> None:
    proto = ensemble(np.random.default_rng(3), 20, 4, 8, classes=3)
    alone, together = (artefact(tmp_path, proto, b, n) for b, n in (("onnxruntime", 1), (backend, 16)))
    _, relative, _ = compare(open_executor(together, 1), open_executor(alone, 1), rows(16), 16)
    assert relative < 1e-6


def test_a_segment_of_a_model_is_built_for_a_batch(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(net(DENSE), str(file))
    store = Store(tmp_path / "store")
    first, second = (
        job(file, "onnxruntime", batch=BATCH, segment=s) for s in (Segment(end=("h",)), Segment(begin=("h",)))
    )
    x = joined(rows(BATCH))
    found = open_executor(build(second, store), 1).run(open_executor(build(first, store), 1).run(x))
    assert np.allclose(found["y"], np.maximum(x["x"] @ WEIGHT, 0), atol=1e-6)


def test_what_is_built_for_one_request_keeps_its_address(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(net(DENSE), str(file))
    one = job(file, "onnxruntime")
    assert job(file, "onnxruntime", batch=1).key == one.key != job(file, "onnxruntime", batch=2).key


def test_samples_are_joined_in_order_and_begin_again_where_they_run_out() -> None:
    groups = in_groups([{"x": np.array([i])} for i in range(5)], 4)
    assert [list(joined(group)["x"]) for group in groups] == [[0, 1, 2, 3], [4, 0, 1, 2]]

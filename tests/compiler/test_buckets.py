"""Buckets of a named dimension: compiled, filled up, cut back; answers are those of the model at the very length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compiler.backends import installed
from compiler.buckets import in_buckets
from compiler.build import build
from compiler.job import job
from compiler.numerics import check, compare
from compiler.store import Store
from runtime.executors import open_executor
from specs.artefact import Buckets, Executor
from specs.artefact_folder import read_artefact
from specs.errors import AnswerIsNo, InputError

BUCKETS = Buckets(name="T", sizes=(4, 16, 32))
WIDTH = 32
WORDS = 8192


def attention(masked: bool = True) -> onnx.ModelProto:
    """Words [N, T] and their mask [N, T] become a state of each word [N, T, WIDTH], and their mean [N, WIDTH].

    Self-attention and the mean heed the mask; without `masked`, they take what fills up for words.
    """
    chance = np.random.default_rng(5)
    node, value, kinds = helper.make_node, helper.make_tensor_value_info, onnx.TensorProto
    weights = {
        "words": chance.standard_normal((WORDS, WIDTH)),
        **{name: chance.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5 for name in ("wq", "wk", "wv", "w1")},
        "far": np.array(-1e4),
        "one": np.array(1.0),
    }
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    constants += [numpy_helper.from_array(np.array([n]), name) for name, n in (("row", 1), ("column", 2))]
    there = node("Cast", ["mask"], ["there"], to=1) if masked else node("Add", ["zeros", "one"], ["there"])
    extra = [] if masked else [node("Cast", ["mask"], ["m"], to=1), node("Sub", ["m", "m"], ["zeros"])]
    nodes = [
        node("Gather", ["words", "ids"], ["x"]),
        *extra,
        there,
        node("Sub", ["there", "one"], ["less"]),
        node("Neg", ["less"], ["absent"]),
        node("Mul", ["absent", "far"], ["bias"]),
        node("Unsqueeze", ["bias", "row"], ["biases"]),
        *(node("MatMul", ["x", f"w{k}"], [k]) for k in "qkv"),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["raw"]),
        node("Add", ["raw", "biases"], ["scores"]),
        node("Softmax", ["scores"], ["share"], axis=-1),
        node("MatMul", ["share", "v"], ["seen"]),
        node("MatMul", ["seen", "w1"], ["deep"]),
        node("Tanh", ["deep"], ["state"]),
        node("Unsqueeze", ["there", "column"], ["weight"]),
        node("Mul", ["state", "weight"], ["kept"]),
        node("ReduceSum", ["kept", "row"], ["total"], keepdims=0),
        node("ReduceSum", ["there", "row"], ["count"], keepdims=1),
        node("Div", ["total", "count"], ["mean"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [value(name, kinds.INT64, ["N", "T"]) for name in ("ids", "mask")],
        [value("state", kinds.FLOAT, ["N", "T", WIDTH]), value("mean", kinds.FLOAT, ["N", WIDTH])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def text(length: int, seed: int = 0) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(seed).integers(1, WORDS, (1, length))
    return {"ids": ids, "mask": np.ones((1, length), np.int64)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An artefact of the model for each backend."""
    folder = tmp_path_factory.mktemp("buckets")
    onnx.save(attention(), str(folder / "model.onnx"))
    store = Store(folder / "store")
    return {name: build(job(folder / "model.onnx", name, buckets=BUCKETS), store) for name in installed()}


def reference() -> Executor:
    """The model itself, at whatever length."""
    import onnxruntime

    session = onnxruntime.InferenceSession(attention().SerializeToString(), providers=["CPUExecutionProvider"])

    class _Session:
        def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return dict(zip(("state", "mean"), session.run(["state", "mean"], dict(inputs)), strict=True))

    return _Session()


@pytest.mark.parametrize("backend", installed())
def test_every_length_is_answered_as_by_the_model_that_is_not_filled_up(folders: dict[str, Path], backend: str) -> None:
    ours, theirs = open_executor(folders[backend], 1), reference()
    for length in range(1, BUCKETS.sizes[-1] + 1):
        _, relative, where = compare(ours, theirs, [text(length, length)])
        assert relative < 2e-5, (length, where)


@pytest.mark.parametrize("backend", installed())
def test_a_length_that_no_bucket_holds_is_refused_by_every_backend(folders: dict[str, Path], backend: str) -> None:
    with pytest.raises(InputError, match="'T' is 33, but the largest bucket is 32"):
        open_executor(folders[backend], 1).run(text(33))


@pytest.mark.parametrize("backend", installed())
def test_inputs_of_different_lengths_are_refused(folders: dict[str, Path], backend: str) -> None:
    with pytest.raises(InputError, match="'T' is 5 in 'ids', but 6 in 'mask'"):
        open_executor(folders[backend], 1).run({"ids": text(5)["ids"], "mask": text(6)["mask"]})


def test_a_model_whose_answer_what_fills_up_changes_is_found_by_running(tmp_path: Path) -> None:
    onnx.save(attention(masked=False), str(tmp_path / "model.onnx"))
    few = Buckets(name="T", sizes=(8,))
    ours, theirs = (
        build(job(tmp_path / "model.onnx", name, buckets=few), Store(tmp_path / "store"))
        for name in ("tvm", "onnxruntime")
    )
    assert check(ours, theirs, [text(8)], open_executor).relative < 2e-5
    with pytest.raises(AnswerIsNo, match="filling inputs up to a bucket may change the answer: give the model a mask"):
        check(ours, theirs, [text(5)], open_executor)


def test_inputs_are_filled_up_with_what_is_declared(tmp_path: Path) -> None:
    """A model without a mask that knows 0 for a word and -1 for none: a count of words that are not -1."""
    node, value, kinds = helper.make_node, helper.make_tensor_value_info, onnx.TensorProto
    nodes = [
        node("Equal", ["ids", "none"], ["absent"]),
        node("Not", ["absent"], ["there"]),
        node("Cast", ["there"], ["one"], to=kinds.FLOAT),
        node("ReduceSum", ["one", "row"], ["count"], keepdims=1),
    ]
    constants = [numpy_helper.from_array(np.array(v), n) for n, v in (("none", -1), ("row", [1]))]
    ends = [value("ids", kinds.INT64, ["N", "T"])], [value("count", kinds.FLOAT, ["N", 1])]
    graph = helper.make_graph(nodes, "count", *ends, constants)
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    found = {}
    for pad in (-1.0, 0.0):
        made = build(
            job(file, "tvm", buckets=Buckets(name="T", sizes=(8,), pad={"ids": pad})), Store(tmp_path / "store")
        )
        (found[pad],) = open_executor(made, 1).run({"ids": np.array([[0, 5, 0]])})["count"][0]
    assert found == {-1.0: 3, 0.0: 8}


def test_an_output_that_is_another_multiple_of_the_dimension_is_refused(tmp_path: Path) -> None:
    value, kinds = helper.make_tensor_value_info, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=1)],
        "twice",
        [value("x", kinds.FLOAT, ["N", "T"])],
        [value("y", kinds.FLOAT, ["N", "S"])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(
        InputError, match="'y' has an axis that is neither of a fixed size nor 'T' itself: 6 at 3, 8 at 4"
    ):
        in_buckets(proto, Buckets(name="T", sizes=(4,)), "model.onnx")
    with pytest.raises(InputError, match="dimension 'T' of input 'x' has no size"):
        in_buckets(proto, Buckets(name="L", sizes=(4,)), "model.onnx")


def test_types_keep_the_name_wherever_the_dimension_is(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        made = read_artefact(folder)
        assert {key: str(kind) for key, kind in {**made.inputs, **made.outputs}.items()} == {
            "ids": "i64[T]", "mask": "i64[T]", "state": f"f32[T,{WIDTH}]", "mean": f"f32[{WIDTH}]",
        }  # fmt: skip
        assert made.buckets == BUCKETS


def test_a_library_holds_its_weights_once(tmp_path: Path, folders: dict[str, Path]) -> None:
    """The table of words is most of the model: three buckets add code, not tables."""
    onnx.save(attention(), str(tmp_path / "model.onnx"))
    one = build(job(tmp_path / "model.onnx", "tvm", buckets=Buckets(name="T", sizes=(32,))), Store(tmp_path / "store"))
    table = WORDS * WIDTH * 4
    alone, together = ((folder / "model.so").stat().st_size for folder in (one, folders["tvm"]))
    assert together - alone < table

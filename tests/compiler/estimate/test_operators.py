"""What a model's operators do, against counts made by hand and by loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from benchmarks.training import convolutional, dense, transformer
from compiler.estimate.operators import Operator, operators
from compiler.model import prepare


def model(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int], weights: Mapping[str, np.ndarray[Any, Any]], *outputs: str
) -> onnx.ModelProto:
    """With input x, prepared."""
    graph = helper.make_graph(
        list(nodes),
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs or ("y",)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), {}, "m")


def zeros(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)


def multiply_adds(height: int, width: int, into: int, out: int, kernel: int, stride: int, groups: int) -> int:
    """Of a convolution whose padding is half the kernel, counted one by one but for the channels."""
    pad, count = kernel // 2, 0
    for _ in range(-pad, height + pad - kernel + 1, stride):
        for _ in range(-pad, width + pad - kernel + 1, stride):
            count += kernel * kernel * out * (into // groups)
    return count


@settings(max_examples=30, deadline=None)
@given(
    st.integers(3, 12), st.integers(3, 12), st.integers(1, 4), st.sampled_from([1, 2, 4]), st.sampled_from([1, 3, 5]),
    st.integers(1, 2),
)  # fmt: skip
def test_a_convolution_does_two_operations_for_each_multiply_add(
    height: int, width: int, wide: int, groups: int, kernel: int, stride: int
) -> None:
    into, out = groups * wide, groups * 2
    pads = [kernel // 2] * 4
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[stride] * 2, pads=pads, group=groups)
    (step,) = operators(model([node], [1, into, height, width], {"w": zeros(out, into // groups, kernel, kernel)}))
    assert step.flops == 2 * multiply_adds(height, width, into, out, kernel, stride, groups)
    assert step.weights == 4 * out * into // groups * kernel**2
    assert step.read == 4 * into * height * width


@pytest.mark.parametrize(("rows", "kind"), [(1, "dense"), (4, "dense"), (5, "product")])
def test_a_product_of_few_rows_with_weights_is_bound_by_reading_them(rows: int, kind: str) -> None:
    (step,) = operators(model([helper.make_node("MatMul", ["x", "w"], ["y"])], [rows, 6], {"w": zeros(6, 7)}))
    assert step == Operator("y", kind, 2.0 * rows * 6 * 7, 4.0 * 6 * 7, 4.0 * rows * 6, 4.0 * rows * 7)  # type: ignore[arg-type]


def test_what_is_done_to_each_element_joins_what_makes_it_unless_something_else_reads_that() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    weights = {"w": zeros(6, 7), "b": zeros(7)}
    (step,) = operators(model(nodes, [1, 6], weights))
    assert (step.flops, step.fused, step.weights, step.read, step.written) == (2 * 42, 14, 4 * 49, 24, 28)
    apart = operators(model(nodes, [1, 6], weights, "y", "s"))
    assert [(s.kind, s.flops) for s in apart] == [("dense", 2 * 42), ("elementwise", 7)]


def test_what_constants_decide_and_what_only_names_a_shape_anew_costs_nothing() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("MatMul", ["r", "t"], ["y"]),
    ]
    weights = {"w": zeros(7, 6), "to": np.array([1, 6])}
    (step,) = operators(model(nodes, [1, 2, 3], weights))
    assert (step.kind, step.weights) == ("dense", 4 * 42)


def test_a_lookup_reads_what_it_gives_not_the_whole_table() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Gather", ["t", "i"], ["y"]),
    ]
    (step,) = operators(model(nodes, [1, 3], {"t": zeros(10_000, 8)}))
    assert (step.kind, step.weights) == ("lookup", 4 * 3 * 8)


@pytest.mark.parametrize("make", [convolutional, transformer, dense])
@pytest.mark.parametrize("number", [0, 1, 2, 3, 4])
def test_the_multiply_adds_of_whole_models_are_those_that_a_plain_count_finds(make: Any, number: int) -> None:
    from benchmarks.zoo import work

    drawn = prepare(make(number), {}, "m")
    counted = sum(s.flops for s in operators(drawn) if s.kind not in ("pool", "reduce", "elementwise", "move"))
    heavy, _ = work(drawn)
    assert counted == pytest.approx(heavy)

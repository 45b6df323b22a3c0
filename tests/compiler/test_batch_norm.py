"""Folding batch normalisation changes no answer, and leaves alone what it must not touch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, shape_inference

from compiler.batch_norm import fold_batch_norm

Nodes = list[onnx.NodeProto]


def model(nodes: Nodes, tensors: dict[str, Any], shape: tuple[int, ...], outputs: tuple[str, ...]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in tensors.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 10
    return shape_inference.infer_shapes(made, strict_mode=True)


def statistics(rng: np.random.Generator, name: str, channels: int) -> dict[str, Any]:
    """Scale, bias, mean and variance of a normalisation."""
    return {
        f"{name}.s": rng.normal(1, 0.5, channels),
        f"{name}.b": rng.normal(0, 1, channels),
        f"{name}.m": rng.normal(0, 1, channels),
        f"{name}.v": rng.uniform(0.01, 3, channels),
    }


def norm(name: str, taken: str, given: str, **attributes: Any) -> onnx.NodeProto:
    inputs = [taken, *(f"{name}.{part}" for part in "sbmv")]
    return helper.make_node("BatchNormalization", inputs, [given], name, **attributes)


def answers(made: onnx.ModelProto, x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(found) for found in session.run(None, {"x": x})]


def folded(made: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(made)
    result.graph.CopyFrom(fold_batch_norm(made.graph))
    return result


def kinds(made: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in made.graph.node]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    rank=st.sampled_from([3, 4, 5]),
    epsilon=st.sampled_from([1e-5, 1e-3, 0.1]),
)
def test_a_convolution_takes_in_the_normalisation_after_it(
    seed: int, groups: int, bias: bool, rank: int, epsilon: float
) -> None:
    rng = np.random.default_rng(seed)
    tensors = {"w": rng.normal(0, 1, (8, 4 // groups, *[3] * (rank - 2)))} | statistics(rng, "n", 8)
    if bias:
        tensors["b"] = rng.normal(0, 1, 8)
    nodes = [
        helper.make_node("Conv", ["x", "w", *(["b"] if bias else [])], ["y"], "c", group=groups),
        norm("n", "y", "z", epsilon=epsilon),
        helper.make_node("Relu", ["z"], ["r"]),
    ]
    made = model(nodes, tensors, (2, 4, *[5] * (rank - 2)), ("r",))
    x = rng.normal(0, 1, (2, 4, *[5] * (rank - 2))).astype(np.float32)
    assert kinds(folded(made)) == ["Conv", "Relu"]
    np.testing.assert_allclose(answers(folded(made), x)[0], answers(made, x)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 5), (2, 6, 4, 4)])
def test_a_normalisation_alone_becomes_a_scale_and_a_shift(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    nodes = [helper.make_node("Relu", ["x"], ["y"]), norm("n", "y", "z")]
    made = model(nodes, statistics(rng, "n", 6), shape, ("z",))
    x = rng.normal(0, 1, shape).astype(np.float32)
    assert kinds(folded(made)) == ["Relu", "Mul", "Add"]
    np.testing.assert_allclose(answers(folded(made), x)[0], answers(made, x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("other", ["output", "taker"])
def test_a_convolution_that_somebody_else_reads_keeps_its_values(other: str) -> None:
    rng = np.random.default_rng(2)
    tensors = {"w": rng.normal(0, 1, (6, 4, 3, 3))} | statistics(rng, "n", 6)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "c"), norm("n", "y", "z")]
    outputs = ("z", "y") if other == "output" else ("z", "t")
    if other == "taker":
        nodes.append(helper.make_node("Tanh", ["y"], ["t"]))
    made = model(nodes, tensors, (1, 4, 6, 6), outputs)
    x = rng.normal(0, 1, (1, 4, 6, 6)).astype(np.float32)
    assert kinds(folded(made))[:3] == ["Conv", "Mul", "Add"]
    for ours, theirs in zip(answers(folded(made), x), answers(made, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_two_normalisations_in_a_row_are_both_applied() -> None:
    rng = np.random.default_rng(3)
    tensors = {"w": rng.normal(0, 1, (6, 4, 3, 3))} | statistics(rng, "n", 6) | statistics(rng, "o", 6)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "c"), norm("n", "y", "z"), norm("o", "z", "u")]
    made = model(nodes, tensors, (1, 4, 6, 6), ("u",))
    x = rng.normal(0, 1, (1, 4, 6, 6)).astype(np.float32)
    assert kinds(folded(made)) == ["Conv", "Mul", "Add"]
    np.testing.assert_allclose(answers(folded(made), x)[0], answers(made, x)[0], rtol=1e-4, atol=1e-4)


def test_statistics_that_a_caller_may_replace_are_no_constants() -> None:
    rng = np.random.default_rng(4)
    made = model([norm("n", "x", "z")], statistics(rng, "n", 6), (1, 6, 4, 4), ("z",))
    made.graph.input.append(helper.make_tensor_value_info("n.m", TensorProto.FLOAT, (6,)))
    assert fold_batch_norm(made.graph) is made.graph


def test_a_model_without_normalisation_is_left_as_it_is() -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], {}, (1, 2), ("y",))
    assert fold_batch_norm(made.graph) is made.graph

"""Operators along rows, and element-wise functions that we approximate ourselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.compiler.models import assert_same, model, ours


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1, 384), (7, 13), (2, 3, 48), (1, 12, 5, 17), (4, 1)])
def test_softmax_and_reductions_equal_the_reference(shape: tuple[int, ...], threads: int) -> None:
    rng = np.random.default_rng(sum(shape))
    x = (rng.standard_normal(shape) * 30).astype(np.float32)
    nodes = [
        helper.make_node("Softmax", ["x"], ["soft"], axis=-1),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        helper.make_node("ReduceMax", ["x"], ["max"], axes=[-1], keepdims=0),
    ]
    outputs = {"soft": shape, "mean": (*shape[:-1], 1), "max": shape[:-1]}
    assert_same(model(nodes, {"x": shape}, outputs), {"x": x}, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(1, 16, 384), (3, 50), (1, 1, 7)])
def test_layer_normalisation_equals_the_reference(shape: tuple[int, ...], threads: int) -> None:
    """Far from zero too, where a variance from squares would cancel."""
    rng = np.random.default_rng(sum(shape))
    x = (rng.standard_normal(shape) + 100).astype(np.float32)
    weights = {k: rng.standard_normal(shape[-1]).astype(np.float32) for k in ("gamma", "beta")}
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gamma", "beta"], ["n"], axis=-1, epsilon=1e-12),
        helper.make_node("Add", ["n", "x"], ["y"]),
    ]
    assert_same(model(nodes, {"x": shape}, {"y": shape}, weights), {"x": x}, threads=threads)


@pytest.mark.parametrize("operator", ["Exp", "Erf", "Tanh", "Sigmoid"])
def test_approximated_functions_equal_the_reference_over_their_range(operator: str) -> None:
    x = np.concatenate([np.linspace(-20, 20, 4001), [-80, 1e-30, 0]]).astype(np.float32).reshape(1, -1)
    if operator == "Exp":
        x = np.minimum(x, 20)
    proto = model([helper.make_node(operator, ["x"], ["y"])], {"x": x.shape}, {"y": x.shape})
    (found,), _ = ours(proto, {"x": x})
    exact: dict[str, Callable[[Any], Any]] = {"Exp": np.exp, "Tanh": np.tanh, "Sigmoid": lambda v: 1 / (1 + np.exp(-v))}
    if operator == "Erf":
        assert_same(proto, {"x": x}, tolerance=1e-6)
        return
    expected = exact[operator](x.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)


def test_an_attention_block_equals_the_reference() -> None:
    """Transposes, two products, a masked softmax and GELU, as exported transformers have them."""
    rng = np.random.default_rng(0)
    width, heads, tokens = 48, 3, 10

    def w(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 7).astype(np.float32)

    weights = {f"w{k}": w(width, width) for k in "qkvo"} | {"table": w(50, width)}
    weights |= {"split": np.array([1, tokens, heads, -1]), "join": np.array([1, tokens, width])}
    weights |= {k: np.array([v], np.float32) for k, v in (("two", 2.0), ("root", 2**0.5), ("one", 1.0))}
    nodes = [helper.make_node("Gather", ["table", "ids"], ["x"])]
    for name in "qkv":
        order = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes += [
            helper.make_node("MatMul", ["x", f"w{name}"], [f"{name}1"]),
            helper.make_node("Reshape", [f"{name}1", "split"], [f"{name}2"]),
            helper.make_node("Transpose", [f"{name}2"], [name], perm=order),
        ]
    nodes += [
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["b", "join"], ["c"]),
        helper.make_node("MatMul", ["c", "wo"], ["o"]),
        helper.make_node("Div", ["o", "root"], ["g1"]),
        helper.make_node("Erf", ["g1"], ["g2"]),
        helper.make_node("Add", ["g2", "one"], ["g3"]),
        helper.make_node("Mul", ["o", "g3"], ["g4"]),
        helper.make_node("Pow", ["g4", "two"], ["g5"]),
        helper.make_node("ReduceMean", ["g5"], ["y"], axes=[1], keepdims=0),
    ]
    proto = model(nodes, {"ids": (1, tokens)}, {"y": (1, width)}, weights, {"ids": TensorProto.INT64})
    assert_same(proto, {"ids": rng.integers(0, 50, (1, tokens))})

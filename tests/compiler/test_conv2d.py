"""Convolutions: the blocked template computes what ONNX Runtime does, for any shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.compiler.models import assert_same, cnn, model, ours, pixels

_SLOW = settings(max_examples=14, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def _convolutions(draw: st.DrawFn) -> dict[str, int]:
    kernel = draw(st.sampled_from([1, 2, 3, 5]))
    dilation = draw(st.sampled_from([1, 1, 2]))
    return {
        "input": draw(st.sampled_from([1, 3, 5, 16, 24, 32])),
        "output": draw(st.sampled_from([1, 7, 16, 20, 48, 80])),
        "height": draw(st.integers(dilation * (kernel - 1) + 1, 19)),
        "width": draw(st.integers(dilation * (kernel - 1) + 1, 37)),
        "kernel": kernel,
        "stride": draw(st.integers(1, 3)),
        "pad": draw(st.integers(0, kernel - 1)),
        "dilation": dilation,
        "seed": draw(st.integers(0, 2**16)),
    }


@_SLOW
@given(case=_convolutions())
def test_convolution_with_bias_and_activation_equals_the_reference(case: dict[str, int]) -> None:
    rng = np.random.default_rng(case["seed"])
    kernel, pad = case["kernel"], case["pad"]
    weights = {
        "w": rng.standard_normal((case["output"], case["input"], kernel, kernel)).astype(np.float32),
        "b": rng.standard_normal(case["output"]).astype(np.float32),
    }
    strides, dilations = [case["stride"]] * 2, [case["dilation"]] * 2
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], strides=strides, pads=[pad] * 4, dilations=dilations),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    x = rng.standard_normal((1, case["input"], case["height"], case["width"])).astype(np.float32)
    assert_same(model(nodes, {"x": x.shape}, {"y": [None] * 4}, weights), {"x": x})


@pytest.mark.parametrize(
    ("channels", "groups", "outputs"), [(32, 32, 32), (20, 20, 20), (64, 2, 32), (64, 4, 64), (12, 3, 6)]
)
def test_grouped_and_depthwise_convolutions_equal_the_reference(channels: int, groups: int, outputs: int) -> None:
    rng = np.random.default_rng(channels)
    weights = {
        "first": rng.standard_normal((channels, 3, 1, 1)).astype(np.float32),
        "w": rng.standard_normal((outputs, channels // groups, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["f"]),
        helper.make_node("Conv", ["f", "w"], ["y"], pads=[1] * 4, group=groups),
    ]
    x = rng.standard_normal((1, 3, 9, 13)).astype(np.float32)
    assert_same(model(nodes, {"x": x.shape}, {"y": ["N", outputs, 9, 13]}, weights), {"x": x})


@_SLOW
@given(
    channels=st.sampled_from([3, 16, 20, 40]),
    height=st.integers(5, 15),
    width=st.integers(5, 31),
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.integers(1, 2),
    cpu=st.sampled_from(["x86-64-v2", "x86-64-v3"]),
)
def test_depthwise_convolution_equals_the_reference(
    channels: int, height: int, width: int, kernel: int, stride: int, cpu: str
) -> None:
    """Its tile leaves registers for the kernel's weights, which are more than there are for some."""
    rng = np.random.default_rng(channels * height + width)
    weights = {
        "first": rng.standard_normal((channels, 3, 1, 1)).astype(np.float32),
        "w": rng.standard_normal((channels, 1, kernel, kernel)).astype(np.float32),
        "b": rng.standard_normal(channels).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["f"]),
        helper.make_node("Conv", ["f", "w", "b"], ["c"], strides=[stride] * 2, pads=[kernel // 2] * 4, group=channels),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    x = rng.standard_normal((1, 3, height, width)).astype(np.float32)
    proto = model(nodes, {"x": x.shape}, {"y": [None] * 4}, weights)
    assert_same(proto, {"x": x}, target={"kind": "llvm", "mcpu": cpu})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cpu", ["x86-64-v2", "x86-64-v3", ""])
def test_a_whole_image_model_equals_the_reference_for_each_instruction_set(cpu: str, threads: int) -> None:
    """The narrower instruction sets run on this machine too: vector width and registers are parameters."""
    rng = np.random.default_rng(3)
    target = {"kind": "llvm", "mcpu": cpu} if cpu else None
    assert_same(cnn(rng), pixels(rng), target=target, threads=threads)


def test_an_image_model_is_covered_by_templates() -> None:
    rng = np.random.default_rng(4)
    _, fallback = ours(cnn(rng), pixels(rng))
    assert fallback == ()


def test_arithmetic_between_blocked_and_plain_values_equals_the_reference() -> None:
    """Padded channels must neither leak into results nor turn into not-a-number."""
    rng = np.random.default_rng(5)
    weights = {
        "w": (rng.standard_normal((20, 3, 3, 3)) / 5).astype(np.float32),
        "v": rng.standard_normal((9, 20, 3, 3)).astype(np.float32),
        "scale": np.abs(rng.standard_normal((1, 20, 1, 1))).astype(np.float32) + 0.5,
        "map": rng.standard_normal((1, 1, 8, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Sigmoid", ["c"], ["s"]),
        helper.make_node("Div", ["c", "s"], ["d"]),
        helper.make_node("Div", ["d", "scale"], ["e"]),
        helper.make_node("Add", ["e", "map"], ["a"]),
        helper.make_node("Exp", ["s"], ["q"]),
        helper.make_node("Mul", ["a", "q"], ["m"]),
        helper.make_node("AveragePool", ["m"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["p", "v"], ["y"]),
    ]
    x = rng.standard_normal((1, 3, 8, 8)).astype(np.float32)
    assert_same(model(nodes, {"x": x.shape}, {"y": ["N", 9, 2, 2]}, weights), {"x": x})

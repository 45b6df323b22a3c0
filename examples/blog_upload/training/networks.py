"""The two convolutional networks, and how they are written to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from data.policy import MARK_OF_DIGIT, MARKS

MEAN: Final = 110.0
SCALE: Final = 1 / 64.0
"""Pixels are normalised inside the graph: (pixel - MEAN) * SCALE."""


@dataclass(frozen=True)
class Layer:
    """A 3x3 convolution with batch normalisation and ReLU. `cut` names its output as a place to split the model."""

    channels: int
    stride: int
    cut: str = ""


SMALL: Final = (Layer(16, 2), Layer(32, 2), Layer(32, 2), Layer(48, 1))
LARGE: Final = (
    Layer(32, 1),
    Layer(32, 2),
    Layer(64, 1),
    Layer(64, 2),
    Layer(64, 1),
    Layer(64, 1),
    # 8 KiB, less than the picture itself: what is worth sending when the model is split
    Layer(32, 2, cut="cut_a"),
    Layer(112, 1),
    Layer(112, 1),
    Layer(112, 1),
)


def network(layers: Sequence[Layer]) -> nn.Sequential:
    """Layers, average pooling and a dense layer: pixels f32[N,3,64,64], normalised, to one logit a digit, f32[N,10].

    Ten digits are easier to learn than four marks of several shapes each; `to_onnx` adds their probabilities up.
    """
    modules: list[nn.Module] = []
    before = 3
    for layer in layers:
        modules += [
            nn.Conv2d(before, layer.channels, 3, layer.stride, 1, bias=False),
            nn.BatchNorm2d(layer.channels),
            nn.ReLU(),
        ]
        before = layer.channels
    modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, len(MARK_OF_DIGIT))]
    return nn.Sequential(*modules)


def to_onnx(net: nn.Sequential, layers: Sequence[Layer], threshold: float, name: str) -> onnx.ModelProto:
    """Write a trained network as ONNX: pixels u8[1,3,64,64] to score f32[1,4] and sure bool[1].

    `sure`: plain or banned, whatever the caption says, with a probability above `threshold`.
    """
    weights: dict[str, np.ndarray] = {
        "mean": np.full((1, 3, 1, 1), MEAN, np.float32),
        "scale": np.full((1, 3, 1, 1), SCALE, np.float32),
        "starts": np.array([0], np.int64),
        "ends": np.array([2], np.int64),
        "axes": np.array([1], np.int64),
        "threshold": np.array(threshold, np.float32),
        "mark_of_digit": mark_of_digit(),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["pixels_f32"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels_f32", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["normalised"]),
    ]
    value = "normalised"
    for i, layer in enumerate(layers):
        conv, norm = net[3 * i], net[3 * i + 1]
        assert isinstance(norm, nn.BatchNorm2d)
        weights[f"conv{i}.weight"] = _array(conv.weight)
        for part, tensor in (
            ("scale", norm.weight),
            ("bias", norm.bias),
            ("mean", norm.running_mean),
            ("var", norm.running_var),
        ):
            weights[f"norm{i}.{part}"] = _array(tensor)
        out = layer.cut or f"relu{i}"
        nodes += [
            helper.make_node(
                "Conv",
                [value, f"conv{i}.weight"],
                [f"conv{i}"],
                kernel_shape=[3, 3],
                strides=[layer.stride] * 2,
                pads=[1, 1, 1, 1],
            ),
            helper.make_node(
                "BatchNormalization",
                [f"conv{i}", *(f"norm{i}.{p}" for p in ("scale", "bias", "mean", "var"))],
                [f"norm{i}"],
                epsilon=norm.eps,
            ),
            helper.make_node("Relu", [f"norm{i}"], [out]),
        ]
        value = out
    dense = net[-1]
    weights["dense.weight"], weights["dense.bias"] = _array(dense.weight), _array(dense.bias)
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"], axis=1),
        helper.make_node("Gemm", ["features", "dense.weight", "dense.bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["digit"], axis=1),
        helper.make_node("MatMul", ["digit", "mark_of_digit"], ["score"]),
        helper.make_node("Slice", ["score", "starts", "ends", "axes"], ["without_caption"]),
        helper.make_node("ReduceMax", ["without_caption"], ["surest"], axes=[1], keepdims=0),
        helper.make_node("Greater", ["surest", "threshold"], ["sure"]),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, 3, 64, 64])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, len(MARKS)]),
            helper.make_tensor_value_info("sure", TensorProto.BOOL, [1]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(array), key) for key, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "tierplan examples/blog_upload"
    onnx.checker.check_model(model, full_check=True)
    return onnx.shape_inference.infer_shapes(model)


def mark_of_digit() -> np.ndarray:
    """f32[10,4]: digit probabilities times this are mark probabilities."""
    return np.eye(len(MARKS), dtype=np.float32)[list(MARK_OF_DIGIT)]


def mflop(layers: Sequence[Layer]) -> float:
    """Millions of floating-point operations a picture (two for each multiply-add), convolutions only."""
    side, before, total = 64, 3, 0
    for layer in layers:
        side //= layer.stride
        total += 2 * side * side * layer.channels * before * 9
        before = layer.channels
    return total / 1e6


def _array(tensor: torch.Tensor | nn.Module | None) -> np.ndarray:
    assert isinstance(tensor, torch.Tensor)
    return tensor.detach().numpy().astype(np.float32)

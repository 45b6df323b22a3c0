"""A small network: random convolutions with a trained last layer, written as ONNX.

Features that nobody trained, with a linear layer that is fitted by ridge regression, are enough for scenes as plain as
these, and are trained in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from traffic.frames import KINDS, SIDE

Floats = NDArray[np.float32]
SEED: Final = 5


@dataclass(frozen=True)
class Layer:
    """A convolution with a ReLU behind it."""

    weights: Floats
    stride: int


def random_layers(*shapes: tuple[int, int, int, int, int]) -> list[Layer]:
    """(outputs, inputs, height, width, stride) of each."""
    random = np.random.default_rng(SEED)
    found = []
    for outputs, inputs, height, width, stride in shapes:
        weights = random.normal(0, (inputs * height * width) ** -0.5, (outputs, inputs, height, width))
        found.append(Layer(weights.astype(np.float32), stride))
    return found


CLASSIFIER: Final = random_layers((16, 1, 5, 5, 1), (32, 16, 3, 3, 2))


def classifier(vehicles: NDArray[np.uint8], kinds: NDArray[np.int64]) -> onnx.ModelProto:
    """``vehicle`` u8[16,16] -> ``kind`` i64[1]: its place in `KINDS`."""
    features = _features(CLASSIFIER, vehicles).reshape(len(vehicles), -1)
    fitted = _ridge(features, np.eye(len(KINDS))[kinds], np.ones(len(kinds)))
    nodes, values = _convolutions(CLASSIFIER)
    nodes += [
        helper.make_node("Flatten", [f"layer{len(CLASSIFIER)}"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["kind"], axis=1, keepdims=1),
    ]
    values += [
        numpy_helper.from_array(fitted[:-1].astype(np.float32), "weights"),
        numpy_helper.from_array(fitted[-1].astype(np.float32), "bias"),
    ]
    return _model(nodes, values, ("vehicle", [1, SIDE, SIDE]), ("kind", TensorProto.INT64, [1, 1]))


def _ridge(features: Floats, target: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients and, last, the constant, by weighted least squares with a little regularisation."""
    x = np.concatenate([features.astype(np.float64), np.ones((len(features), 1))], axis=1)
    weighted = x * weight[:, None]
    found: NDArray[np.float64] = np.linalg.solve(weighted.T @ x + 1e-1 * np.eye(x.shape[1]), weighted.T @ target)
    return found


def _features(layers: list[Layer], pictures: NDArray[np.uint8]) -> Floats:
    """What the untrained layers make of `pictures`, one after another, by ONNX Runtime."""
    nodes, values = _convolutions(layers)
    last = f"layer{len(layers)}"
    height, width = pictures.shape[1:]
    model = _model(nodes, values, ("picture", [1, height, width]), (last, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Floats = np.concatenate([session.run(None, {"picture": one[None]})[0] for one in pictures])
    return found


def _convolutions(layers: list[Layer]) -> tuple[list[Any], list[Any]]:
    """Nodes and their constants from ``input`` (u8 without channels) to ``layerN``."""
    nodes = [
        helper.make_node("Cast", ["input"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "scale"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "axis"], ["layer0"]),
    ]
    values = [
        numpy_helper.from_array(np.array(1 / 64, np.float32), "scale"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    for number, layer in enumerate(layers):
        pad = layer.weights.shape[2] // 2
        nodes += [
            helper.make_node(
                "Conv",
                [f"layer{number}", f"weights{number}"],
                [f"sum{number}"],
                pads=[pad] * 4,
                strides=[layer.stride] * 2,
            ),
            helper.make_node("Relu", [f"sum{number}"], [f"layer{number + 1}"]),
        ]
        values.append(numpy_helper.from_array(layer.weights, f"weights{number}"))
    return nodes, values


def _model(
    nodes: list[Any], values: list[Any], given: tuple[str, list[int]], made: tuple[str, int, list[int] | None]
) -> onnx.ModelProto:
    name, shape = given
    nodes[0].input[0] = name
    graph = helper.make_graph(
        nodes,
        "traffic",
        [helper.make_tensor_value_info(name, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(*made)],
        values,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

"""The command spotter: a spectrogram, random convolutions, and a trained read-out.

The convolutions' weights are drawn, not trained, and only the last layer is fitted, by ridge regression: what ROCKET
(Dempster et al., 2020) does for time series, here on two axes and two layers deep. It trains in seconds on one core.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from making.speech import COMMANDS, RATE

BANDS: Final = 32
WINDOW: Final = 512
STEP: Final = 320
FRAMES: Final = (RATE - WINDOW) // STEP + 1
CHANNELS: Final = (96, 160, 192)
CLASSES: Final = len(COMMANDS) + 1
RIDGE: Final = 0.03
Array = NDArray[Any]


def features_of(seed: int = 5) -> onnx.ModelProto:
    """`samples` i16[16000] to `features`, everything but the read-out."""
    nodes, weights = _body(np.random.default_rng(seed))
    return _model(nodes, weights, {"features": (TensorProto.FLOAT, [1, _width()])})


def with_read_out(matrix: Array, offset: Array, seed: int = 5) -> onnx.ModelProto:
    """The whole model: `samples` i16[16000] to `score` f32[11], a share for each class."""
    nodes, weights = _body(np.random.default_rng(seed))
    nodes += [
        helper.make_node("Gemm", ["features", "matrix", "offset"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["score"], axis=1),
    ]
    weights |= {"matrix": matrix.astype(np.float32), "offset": offset.astype(np.float32)}
    return _model(nodes, weights, {"score": (TensorProto.FLOAT, [1, CLASSES])})


def fit(features: Array, labels: Array) -> tuple[Array, Array]:
    """The read-out: ridge regression to 10 for the right class and 0 for the others, on centred features."""
    middle = features.mean(0)
    x = (features - middle).astype(np.float64)
    y = 10.0 * np.eye(CLASSES)[labels]
    scale = np.sqrt((x**2).mean())
    # Fewer clips than features: solve in the space of clips.
    dual = np.linalg.solve(x @ x.T + RIDGE * scale**2 * len(x) * np.eye(len(x)), y - y.mean(0))
    matrix = x.T @ dual
    return matrix, y.mean(0) - middle @ matrix


def _width() -> int:
    return CHANNELS[-1] * 4 * 6


def _body(rng: np.random.Generator) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    def drawn(*shape: int) -> Array:
        fan = float(np.prod(shape[1:]))
        return (rng.standard_normal(shape) * np.sqrt(2 / fan)).astype(np.float32)

    one, two, three = CHANNELS
    weights: dict[str, Array] = {
        "full_scale": np.array(1 / 32768, np.float32),
        "as_picture": np.array([1, 1, 1, RATE], np.int64),
        "waves": _filters(),
        "in_pairs": np.array([1, BANDS, 2, FRAMES], np.int64),
        "floor": np.array(1e-6, np.float32),
        "pair_axis": np.array([2], np.int64),
        "as_map": np.array([1, 1, BANDS, FRAMES], np.int64),
        "usual": np.array(-4.0, np.float32),
        "w1": drawn(one, 1, 7, 7),
        "b1": rng.uniform(-1, 1, one).astype(np.float32),
        "w2": drawn(two, one, 3, 3),
        "b2": rng.uniform(-1, 1, two).astype(np.float32),
        "w3": drawn(three, two, 3, 3),
        "b3": rng.uniform(-1, 1, three).astype(np.float32),
    }

    def make(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)

    nodes = [
        make("Cast", "samples", "whole", to=TensorProto.FLOAT),
        make("Mul", "whole full_scale", "wave"),
        make("Reshape", "wave as_picture", "picture"),
        make("Conv", "picture waves", "swings", strides=[1, STEP]),
        make("Mul", "swings swings", "squares"),
        make("Reshape", "squares in_pairs", "pairs"),
        make("ReduceSum", "pairs pair_axis", "energy", keepdims=0),
        make("Add", "energy floor", "above_floor"),
        make("Log", "above_floor", "spectrogram"),
        make("Reshape", "spectrogram as_map", "map"),
        make("Sub", "map usual", "centred"),
        make("Conv", "centred w1 b1", "c1", pads=[3] * 4),
        make("Relu", "c1", "r1"),
        make("Conv", "r1 w2 b2", "c2", pads=[1] * 4),
        make("Relu", "c2", "r2"),
        make("MaxPool", "r2", "p2", kernel_shape=[2, 2], strides=[2, 2]),
        make("Conv", "p2 w3 b3", "c3", pads=[1] * 4),
        make("Relu", "c3", "r3"),
        make("AveragePool", "r3", "pooled", kernel_shape=[4, 4], strides=[4, 4]),
        make("Flatten", "pooled", "features", axis=1),
    ]
    return nodes, weights


def _filters() -> Array:
    """A cosine and a sine under a window for each band, spaced as the ear's: [2 * BANDS, 1, 1, WINDOW]."""
    mel = np.linspace(2595 * np.log10(1 + 120 / 700), 2595 * np.log10(1 + 4200 / 700), BANDS)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    time = np.arange(WINDOW) / RATE
    window = np.hanning(WINDOW) / np.sqrt(WINDOW)
    waves = [window * wave(2 * np.pi * f * time) for f in hertz for wave in (np.cos, np.sin)]
    return np.array(waves, np.float32)[:, np.newaxis, np.newaxis, :]


def _model(
    nodes: list[onnx.NodeProto], weights: dict[str, Array], outputs: dict[str, tuple[int, list[int]]]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "spotter",
        [helper.make_tensor_value_info("samples", TensorProto.INT16, [1, RATE])],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(np.ascontiguousarray(w), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model

"""Models drawn at random, beside those of the zoo: convolutional nets, transformers, dense nets and decision forests.

The same number always draws the same model. Sizes are spread evenly in the logarithm, so that small models count too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = {"conv": 18, "transformer": 9, "dense": 9, "forest": 8}
"""How many of each are drawn."""
_GAIN = 1.4


def drawn(folder: Path) -> list[list[tuple[str, Callable[[], Path]]]]:
    """By kind: (name, what writes the model into `folder` and returns its file), for every model."""
    makers = {"conv": convolutional, "transformer": transformer, "dense": dense, "forest": forest}
    return [
        [
            (f"{kind}_{n}", partial(_written, partial(makers[kind], n), folder / f"{kind}_{n}.onnx"))
            for n in range(count)
        ]
        for kind, count in KINDS.items()
    ]


def _written(make: Callable[[], onnx.ModelProto], file: Path) -> Path:
    if not file.is_file():
        onnx.save(make(), str(file))
    return file


class _Net:
    """Nodes and weights of a model that grows from its input; `value` names the last output, `width` its channels."""

    def __init__(self, kind: str, number: int, shape: list[int]) -> None:
        self.chance = np.random.default_rng([number, *kind.encode()])
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shape, self.value = shape, "x"
        self.kind = kind

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.chance.integers(len(choices)))]

    def between(self, low: float, high: float) -> int:
        """A whole number, even in the logarithm."""
        return round(float(np.exp(self.chance.uniform(np.log(low), np.log(high)))))

    def weight(self, *shape: int, around: float = 0.0) -> str:
        fan = int(np.prod(shape[1:])) if self.kind == "conv" and len(shape) > 1 else shape[0]
        spread = _GAIN / np.sqrt(fan) if len(shape) > 1 else 0.1
        values = self.chance.standard_normal(shape, np.float32) * np.float32(spread) + np.float32(around)
        self.weights.append(numpy_helper.from_array(np.abs(values) if around else values, f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def constant(self, value: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value), f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        self.value = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs or [self.value], [self.value], **attributes))
        return self.value

    def model(self, shape: list[int]) -> onnx.ModelProto:
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        gives = helper.make_tensor_value_info(self.value, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, self.kind, [given], [gives], self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(made, full_check=True)
        return made


def convolutional(number: int) -> onnx.ModelProto:
    """A stem, stages of blocks of one style that halve the picture and widen the channels, and a classifier."""
    side = int(np.random.default_rng(number).choice([32, 48, 64, 96, 128, 160, 224]))
    net = _Net("conv", number, [1, 3, side, side])
    style = ("plain", "residual", "inverted", "branches", "grouped")[number % 5]
    normed, active = net.pick(True, False), net.pick("Relu", "Relu", "HardSwish", "Sigmoid")
    width = 8 * net.between(1, 6)

    def convolve(
        value: str, into: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> str:
        inputs = [value, net.weight(out, into // groups, kernel, kernel)] + ([] if normed else [net.weight(out)])
        made = net.node("Conv", *inputs, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
        if normed:
            stats = [net.weight(out, around=1), net.weight(out), net.weight(out), net.weight(out, around=1)]
            made = net.node("BatchNormalization", made, *stats)
        return net.node(active, made) if act else made

    def block(value: str, into: int, out: int, stride: int) -> str:
        if style == "plain":
            return convolve(value, into, out, net.pick(3, 3, 5, 1), stride)
        if style == "inverted":
            wide = into * net.pick(2, 4, 6)
            found = convolve(convolve(value, into, wide, 1), wide, wide, net.pick(3, 5), stride, wide)
            found = convolve(found, wide, out, 1, act=False)
        elif style == "branches":
            parts = [convolve(value, into, out // 2, 1, stride), convolve(value, into, out // 4, 3, stride)]
            parts.append(convolve(convolve(value, into, out // 4, 1), out // 4, out - out // 2 - out // 4, 5, stride))
            return net.node("Concat", *parts, axis=1)
        else:
            middle = max(8, out // 2)
            groups = 4 if style == "grouped" else 1
            found = convolve(convolve(value, into, middle, 1), middle, middle, 3, stride, groups)
            found = convolve(found, middle, out, 1, act=False)
        if stride == 1 and into == out:
            return net.node("Relu", net.node("Add", found, value))
        return found

    value, into = convolve("x", 3, width, net.pick(3, 5, 7), 2 if side > 64 else 1), width
    side //= 2 if side > 64 else 1
    for _ in range(net.between(2, 5)):
        if side < 8:
            break
        if net.pick(True, False):
            value, stride = net.node("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2]), 1
        else:
            stride = 2
        out = min(512, 8 * round(into * net.pick(1.5, 2.0) / 8))
        for repeat in range(net.between(1, 4)):
            value = block(value, into, out, stride if repeat == 0 else 1)
            into = out
        side //= 2
    value = net.node("Flatten", net.node("GlobalAveragePool", value))
    classes = net.between(4, 1000)
    net.node("Gemm", value, net.weight(classes, into), net.weight(classes), transB=1)
    return net.model([1, classes])


def transformer(number: int) -> onnx.ModelProto:
    """Encoder layers on vectors that are looked up already; the mean of the last layer is the answer."""
    sizes = np.random.default_rng(number)
    tokens, width = int(sizes.choice([16, 32, 64, 128, 256])), int(sizes.choice([64, 128, 192, 256, 384, 512]))
    net = _Net("transformer", number, [1, tokens, width])
    layers, heads, wide = net.between(1, 8), width // net.pick(32, 64), net.pick(2, 4) * width
    shape = net.constant(np.array([1, tokens, heads, width // heads]))
    flat = net.constant(np.array([1, tokens, width]))
    scale, half, one = (net.constant(np.float32(v)) for v in ((width / heads) ** -0.5, 0.5, 1.0))
    root = net.constant(np.float32(2**0.5))

    def linear(value: str, into: int, out: int) -> str:
        return net.node("Add", net.node("MatMul", value, net.weight(into, out)), net.weight(out))

    def normed(value: str) -> str:
        return net.node("LayerNormalization", value, net.weight(width, around=1), net.weight(width), axis=-1)

    value = "x"
    for _ in range(layers):
        split = [net.node("Reshape", linear(value, width, width), shape) for _ in range(3)]
        query, key, kept = (
            net.node("Transpose", part, perm=perm)
            for part, perm in zip(split, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
        )
        scores = net.node("Softmax", net.node("Mul", net.node("MatMul", query, key), scale), axis=-1)
        mixed = net.node("Transpose", net.node("MatMul", scores, kept), perm=[0, 2, 1, 3])
        value = normed(net.node("Add", linear(net.node("Reshape", mixed, flat), width, width), value))
        inner = linear(value, width, wide)
        gate = net.node("Mul", net.node("Add", net.node("Erf", net.node("Div", inner, root)), one), half)
        value = normed(net.node("Add", linear(net.node("Mul", inner, gate), wide, width), value))
    net.node("ReduceMean", value, axes=[1], keepdims=0)
    return net.model([1, width])


def dense(number: int) -> onnx.ModelProto:
    """Layers of products with a vector."""
    into = int(np.exp(np.random.default_rng(number).uniform(np.log(8), np.log(2048))))
    net = _Net("dense", number, [1, into])
    active, value = net.pick("Relu", "Tanh", "Sigmoid"), "x"
    for _ in range(net.between(1, 6)):
        out = net.between(16, 3000)
        value = net.node(active, net.node("Gemm", value, net.weight(into, out), net.weight(out)))
        into = out
    net.node("Softmax", net.node("Gemm", value, net.weight(into, 10), net.weight(10)), axis=1)
    return net.model([1, 10])


def forest(number: int) -> onnx.ModelProto:
    """A random forest of scikit-learn, as `planner` converts it."""
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    from compiler.frontends import frontend_of

    chance = np.random.default_rng(number)
    x, y = make_classification(2000, 20, n_informative=10, n_classes=3, random_state=number)
    x = x.astype(np.float32)
    trees, depth = int(np.exp(chance.uniform(np.log(5), np.log(500)))), int(chance.integers(3, 11))
    kind = (RandomForestClassifier, RandomForestRegressor)[number % 2]
    fitted = kind(trees, max_depth=depth, random_state=number).fit(x, y)
    return frontend_of(fitted).convert(fitted, None).model

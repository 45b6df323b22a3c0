"""The operators that a model runs, fused as backends fuse them: kind, floating-point operations, bytes moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final, Literal

import numpy as np
import onnx
from onnx import helper

Kind = Literal["conv", "pointwise", "depthwise", "grouped", "dense", "product", "pool", "reduce", "elementwise", "move",
               "lookup", "forest", "other"]  # fmt: skip
"""`dense` multiplies a few rows with weights, `product` many rows, or two activations; `move` only rearranges."""

FEW_ROWS: Final = 4
"""Up to which a product with weights is bound by reading them."""
FEW_CHANNELS: Final = 16
"""Groups of fewer do not fill vector registers; wider ones are as good as convolutions of their own."""
_ITEM: Final = 4
_VIEWS: Final = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Shape", "Constant",
                 "ConstantOfShape", "Cast", "ZipMap"}  # fmt: skip
"""Nothing is computed, or so little that it is seen as a part of what reads it."""
_POOLS: Final = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"}
_MOVES: Final = {"Transpose", "Concat", "Slice", "Split", "Pad", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
                 "Resize", "Upsample"}  # fmt: skip
_LOOKUPS: Final = {"Gather", "GatherElements", "GatherND", "ScatterND", "ScatterElements", "OneHot", "Where"}
_ROWS: Final = {"Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "LRN", "ArgMax", "ArgMin",
                "TopK", "CumSum", "Normalizer", "RMSNormalization", "GroupNormalization"}  # fmt: skip
_HARD: Final = {"Erf", "Tanh", "Sigmoid", "Exp", "Log", "Pow", "Sqrt", "Softmax", "LogSoftmax", "Gelu", "HardSwish",
                "Sin", "Cos", "Mish", "LRN"}  # fmt: skip
"""Functions that take about ten operations an element, or more."""
_PLAIN: Final = {"Relu", "Add", "Sub", "Mul", "Div", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "HardSigmoid", "Neg",
                 "Abs", "Min", "Max", "Sum", "BatchNormalization", "Reciprocal", "Floor", "Ceil", "Round", "Not",
                 "And", "Or", "Equal", "Greater", "Less", "Softplus", "ThresholdedRelu", "QuantizeLinear",
                 "DequantizeLinear", "Scaler", "Sign", "Softsign", "GreaterOrEqual", "LessOrEqual"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of a backend: an operator and what is fused into it.

    `flops` counts a multiply-add as two, `fused` the operations of what is fused into it; `weights` are bytes of
    constants that it reads, `read` and `written` those of activations. `name` is the node's, or its output's.
    """

    name: str
    kind: Kind
    flops: float
    weights: float
    read: float
    written: float
    fused: float = 0.0

    @property
    def activations(self) -> float:
        return self.read + self.written


@dataclass(frozen=True, slots=True)
class Work:
    """What a model does: its steps, and the bytes that it stores."""

    steps: tuple[Operator, ...]
    stored: float


def work_of(model: onnx.ModelProto) -> Work:
    """Of a prepared model."""
    return Work(operators(model), float(model.ByteSize()))


def operators(model: onnx.ModelProto) -> tuple[Operator, ...]:
    """Of a prepared model (static shapes, inferred: `compiler.model.prepare`), in its order.

    Element-wise operators join the step that makes their input where nothing else reads it. What constants alone
    decide is computed when the model is compiled, and is left out.
    """
    graph = _Graph.of(model)
    steps: dict[str, Operator] = {}
    maker: dict[str, str] = {}
    for node in model.graph.node:
        if all(value in graph.constants for value in node.input if value):
            graph.constants.update(node.output)
            continue
        if node.op_type in _VIEWS:
            source = next((v for v in node.input if v in maker), None)
            maker |= dict.fromkeys(node.output, maker[source]) if source is not None else {}
            continue
        made = _operator(node, graph)
        into = _joined(node, graph, maker) if made.kind == "elementwise" else None
        if into is None:
            steps[node.output[0]] = made
            maker |= dict.fromkeys(node.output, node.output[0])
        else:
            steps[into] = _fused(steps[into], made, graph.size(node.output[0]))
            maker |= dict.fromkeys(node.output, into)
    return tuple(steps.values())


@dataclass(frozen=True)
class _Graph:
    """`readers` counts what reads a value, the model's outputs included; `constants` grows while it is walked."""

    shapes: Mapping[str, tuple[int, ...]]
    constants: set[str]
    readers: Mapping[str, int]
    tables: Mapping[str, int]

    @staticmethod
    def of(model: onnx.ModelProto) -> _Graph:
        graph = model.graph
        values = (*graph.value_info, *graph.input, *graph.output)
        shapes = {v.name: tuple(max(1, d.dim_value) for d in v.type.tensor_type.shape.dim) for v in values}
        shapes |= {i.name: tuple(i.dims) for i in graph.initializer}
        readers: dict[str, int] = {}
        for name in [v for node in graph.node for v in node.input] + [v.name for v in graph.output]:
            readers[name] = readers.get(name, 0) + 1
        constants = {i.name for i in graph.initializer}
        constants |= {o for n in graph.node if n.op_type == "Constant" for o in n.output}
        return _Graph(shapes, constants, readers, {i.name: int(np.prod(i.dims)) for i in graph.initializer})

    def shape(self, value: str) -> tuple[int, ...]:
        return self.shapes.get(value, (1,))

    def size(self, value: str) -> float:
        """Bytes; all numbers are taken to be of four."""
        return float(_ITEM * prod(self.shape(value)))


def _joined(node: onnx.NodeProto, graph: _Graph, maker: Mapping[str, str]) -> str | None:
    """The step that `node` is fused into: that of an input as large as its output that nothing else reads."""
    for value in node.input:
        alone = graph.readers.get(value, 0) == 1
        if value in maker and alone and graph.size(value) == graph.size(node.output[0]):
            return maker[value]
    return None


def _fused(step: Operator, added: Operator, shared: float) -> Operator:
    """`step` with `added` in it, which reads in registers what it shares of `shared` bytes."""
    return replace(
        step,
        fused=step.fused + added.flops,
        weights=step.weights + added.weights,
        read=step.read + max(0.0, added.read - shared),
    )


def _operator(node: onnx.NodeProto, graph: _Graph) -> Operator:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    outs = [value for value in node.output if value]
    given = [value for value in node.input if value]
    elements = float(prod(graph.shape(outs[0])))
    weights = sum(graph.size(v) for v in given if v in graph.constants)
    read = sum(graph.size(v) for v in given if v not in graph.constants)
    written = sum(graph.size(v) for v in outs)
    kind, flops = _meaning(node, graph, attributes, elements, read / _ITEM)
    if kind in ("lookup", "move"):
        weights, read = min(weights, written), min(read, written)
    if kind == "forest":
        weights = float(8 * len(attributes.get("nodes_featureids", ())))
    return Operator(node.name or outs[0], kind, flops, weights, read, written)


def _meaning(
    node: onnx.NodeProto, graph: _Graph, attributes: Mapping[str, Any], elements: float, inputs: float
) -> tuple[Kind, float]:
    """(kind, floating-point operations)."""
    what = node.op_type
    if what in ("Conv", "ConvTranspose"):
        return _convolution(node, graph, int(attributes.get("group", 1)))
    if what in ("Gemm", "MatMul"):
        return _product(node, graph, bool(attributes.get("transB", 0)))
    if what.startswith("TreeEnsemble"):
        return "forest", _visits(attributes)
    if what in _POOLS:
        window = prod(attributes["kernel_shape"]) if "kernel_shape" in attributes else inputs / elements
        return "pool", elements * window
    if what.startswith("Reduce") or what in _ROWS:
        return "reduce", max(inputs, elements) * (12 if what in _HARD else 4)
    if what in _MOVES:
        return "move", elements
    if what in _LOOKUPS:
        return "lookup", elements
    if what in _PLAIN or what in _HARD:
        return "elementwise", elements * (12 if what in _HARD else 1)
    return "other", 4 * max(inputs, elements)


def _convolution(node: onnx.NodeProto, graph: _Graph, groups: int) -> tuple[Kind, float]:
    out, into, *kernel = graph.shape(node.input[1])
    elements, window = prod(graph.shape(node.output[0])), prod(kernel)
    flops = 2.0 * elements * window * into
    if groups > 1 and min(into, out // groups) < FEW_CHANNELS:
        return ("depthwise" if groups >= out else "grouped"), flops
    return ("pointwise" if window == 1 else "conv"), flops


def _product(node: onnx.NodeProto, graph: _Graph, transposed: bool) -> tuple[Kind, float]:
    right = graph.shape(node.input[1])
    depth = right[-1] if transposed else right[-2] if len(right) > 1 else right[-1]
    elements = prod(graph.shape(node.output[0]))
    rows = elements / max(1, graph.shape(node.output[0])[-1])
    few = node.input[1] in graph.constants and rows <= FEW_ROWS
    return ("dense" if few else "product"), 2.0 * elements * depth


def _visits(attributes: Mapping[str, Any]) -> float:
    """Nodes that one row visits: of each tree about the logarithm of its nodes."""
    trees = list(attributes.get("nodes_treeids", ()))
    _, counts = np.unique(np.asarray(trees or [0]), return_counts=True)
    return float(np.log2(1 + counts).sum())

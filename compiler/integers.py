"""Quantized models in ONNX: which products integers compute, found in the graph before it is imported.

A quantized model says QuantizeLinear, then DequantizeLinear, around operators on float32 (QDQ); the operators that take
integers (QLinearConv, QLinearMatMul) are first written so. What becomes a product of integers is a node of our own:

    IntegerProduct  (q uint8, w int8, scale, offset int32, bias) -> float32(sum q w + offset) scale + bias
    RoundTrip       (x, scale, zero point) -> x rounded as QuantizeLinear does, in float32 again

The first has the attributes of Conv, or none for a matrix; the offset takes off what the zero point of q adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compiler.constants import constants_of

PRODUCT: Final = "IntegerProduct"
ROUND_TRIP: Final = "RoundTrip"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """value = (integer - zero) * step, of a whole tensor."""

    step: float
    zero: int


def use_integers(graph: onnx.GraphProto, widest: int) -> onnx.GraphProto:
    """`graph` with products by constant weights of magnitude up to `widest` computed by integers; with 0, none is.

    What is quantized but not computed by integers is computed in float32 as the graph says. A graph that is not
    quantized is returned as it is.
    """
    if not any(n.op_type in ("QuantizeLinear", "DequantizeLinear", *_LINEAR) for n in graph.node):
        return graph
    return _Rewriting(graph, widest).result()


_LINEAR: Final = {"QLinearConv": "Conv", "QLinearMatMul": "MatMul"}


class _Rewriting:
    def __init__(self, graph: onnx.GraphProto, widest: int) -> None:
        self._graph = graph
        self._widest = widest
        self._constants: dict[str, Array] = {n: numpy_helper.to_array(t) for n, t in constants_of(graph).items()}
        self._new: dict[str, Array] = {}
        self._outputs = {value.name for value in graph.output}
        self._taken = {name for node in graph.node for name in (*node.input, *node.output)}

    def result(self) -> onnx.GraphProto:
        nodes = [new for node in self._graph.node for new in self._spelled_out(node)]
        nodes = self._unsigned(nodes)
        self._index(nodes)
        nodes = [self._pool(node) or self._product(node) or node for node in nodes]
        nodes = self._needed(nodes)
        self._index(nodes)
        nodes = [new for node in nodes for new in self._round_trip(node)]
        nodes = [new for node in self._needed(nodes) for new in self._constant(node)]
        return self._written(self._needed(nodes))

    def _index(self, nodes: list[onnx.NodeProto]) -> None:
        self._by_output = {name: node for node in nodes for name in node.output}
        self._uses: dict[str, list[onnx.NodeProto]] = {}
        for node in nodes:
            for name in node.input:
                self._uses.setdefault(name, []).append(node)

    def _spelled_out(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """QLinearConv and QLinearMatMul as DequantizeLinear, the operator and QuantizeLinear."""
        if node.op_type not in _LINEAR or not self._known(node.input[1], node.input[4]):
            yield node
            return
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero, *bias = node.input
        name = node.output[0]
        axis = 0 if node.op_type == "QLinearConv" else -1
        left, right, result = (self._fresh(f"{name}:{part}") for part in ("left", "right", "float"))
        yield helper.make_node("DequantizeLinear", [a, a_scale, a_zero], [left])
        yield helper.make_node("DequantizeLinear", [b, b_scale, b_zero], [right], axis=axis)
        inputs = [left, right]
        if bias:
            step = self._constants[a_scale] * self._constants[b_scale]
            inputs.append(self._add(f"{name}:bias", (self._constants[bias[0]] * step).astype(np.float32)))
        made = helper.make_node(_LINEAR[node.op_type], inputs, [result], name=node.name)
        made.attribute.extend(node.attribute)
        yield made
        yield helper.make_node("QuantizeLinear", [result, y_scale, y_zero], [name])

    def _unsigned(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Signed bytes that only DequantizeLinear reads become unsigned ones: the same values, 128 higher."""
        self._index(nodes)
        moved: set[str] = set()
        for node in nodes:
            if node.op_type == "QuantizeLinear" and self._zero(node).dtype == np.int8:
                readers = self._uses.get(node.output[0], [])
                if node.output[0] not in self._outputs and all(r.op_type == "DequantizeLinear" for r in readers):
                    moved.add(node.output[0])
        found = []
        for node in nodes:
            if (node.op_type == "QuantizeLinear" and node.output[0] in moved) or (
                node.op_type == "DequantizeLinear" and node.input[0] in moved
            ):
                zero = (self._zero(node).astype(np.int16) + 128).astype(np.uint8)
                changed = onnx.NodeProto()
                changed.CopyFrom(node)
                del changed.input[2:]
                changed.input.append(self._add(f"{node.output[0]}:zero", zero))
                node = changed
            found.append(node)
        return found

    def _pool(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """QuantizeLinear after MaxPool after DequantizeLinear, all of one scale: the maximum of the bytes."""
        pool = self._by_output.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if pool is None or pool.op_type != "MaxPool" or len(self._uses[pool.output[0]]) != 1:
            return None
        before = self._by_output.get(pool.input[0])
        if before is None or before.op_type != "DequantizeLinear":
            return None
        scale = self._scale(before)
        if scale is None or scale != self._scale(node) or self._zero(before).dtype != self._zero(node).dtype:
            return None
        made = helper.make_node("MaxPool", [before.input[0]], [node.output[0]], name=pool.name)
        made.attribute.extend(pool.attribute)
        return made

    def _product(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """`node` as a product of integers, None where it is none or integers cannot compute it exactly."""
        if node.op_type not in ("Conv", "MatMul", "Gemm"):
            return None
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        data, weight = (self._by_output.get(name) for name in node.input[:2])
        scale = self._scale(data) if data is not None and data.op_type == "DequantizeLinear" else None
        if scale is None or weight is None or weight.op_type != "DequantizeLinear":
            return None
        assert data is not None
        if self._zero(data).dtype != np.uint8 or not _plain(node.op_type, attributes):
            return None
        found = self._weights(weight, node.op_type, bool(attributes.get("transB", 0)))
        bias = self._value(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.float32)
        if found is None or bias is None or bias.ndim > 1:
            return None
        values, steps = found
        channels = values.shape[0] if node.op_type == "Conv" else values.shape[1]
        axes = (1, 2, 3) if node.op_type == "Conv" else (0,)
        offset = -scale.zero * values.astype(np.int32).sum(axes)
        name = node.output[0]
        inputs = [
            data.input[0],
            self._add(f"{name}:weight", values),
            self._add(f"{name}:scale", np.broadcast_to(np.float32(scale.step) * steps, channels).astype(np.float32)),
            self._add(f"{name}:offset", offset.astype(np.int32)),
            self._add(
                f"{name}:bias",
                np.broadcast_to(bias * np.float32(attributes.get("beta", 1.0)), channels).astype(np.float32),
            ),
        ]
        made = helper.make_node(PRODUCT, inputs, [name], name=node.name, zero=scale.zero)
        made.attribute.extend(a for a in node.attribute if node.op_type == "Conv")
        return made

    def _weights(self, node: onnx.NodeProto, operator: str, transposed: bool) -> tuple[Array, Array] | None:
        """(int8 values [O, I, H, W] or [K, N], a step for each output channel or for all), or None."""
        values = self._constants.get(node.input[0])
        steps, zero = self._constants.get(node.input[1]), self._zero(node)
        rank = 4 if operator == "Conv" else 2
        if values is None or steps is None or values.ndim != rank or values.dtype not in (np.int8, np.uint8):
            return None
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % rank
        wanted = 0 if operator == "Conv" or transposed else rank - 1
        if steps.size > 1 and (steps.ndim != 1 or axis != wanted):
            return None
        shape = [-1 if i == axis else 1 for i in range(rank)] if zero.size > 1 else [1] * rank
        whole = values.astype(np.int16) - zero.astype(np.int16).reshape(shape)
        if np.abs(whole).max(initial=0) > min(self._widest, 127 if whole.max(initial=0) > 127 else 128):
            return None
        whole = whole.astype(np.int8)
        return (whole.T if transposed else whole), steps.reshape(-1)

    def _round_trip(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """QuantizeLinear that one DequantizeLinear undoes, as one node: the bytes are never written."""
        if node.op_type == "QuantizeLinear":
            readers = self._uses.get(node.output[0], [])
            if self._undone(node, readers):
                yield helper.make_node(ROUND_TRIP, node.input, readers[0].output, name=node.name)
                return
        if node.op_type == "DequantizeLinear":
            before = self._by_output.get(node.input[0])
            quantizes = before is not None and before.op_type == "QuantizeLinear"
            if quantizes and self._undone(before, self._uses.get(node.input[0], [])):
                return
        yield node

    def _undone(self, node: Any, readers: list[onnx.NodeProto]) -> bool:
        return (
            len(readers) == 1
            and readers[0].op_type == "DequantizeLinear"
            and node.output[0] not in self._outputs
            and (scale := self._scale(node)) is not None
            and scale == self._scale(readers[0])
        )

    def _constant(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """DequantizeLinear of a constant is one; anything else stays."""
        value = self._value(node.output[0], node) if node.op_type == "DequantizeLinear" else None
        if value is None:
            yield node
        else:
            self._new[node.output[0]] = value

    def _value(self, name: str, node: onnx.NodeProto | None = None) -> Array | None:
        """A constant in float32, through DequantizeLinear; None where it is none."""
        if name in self._constants:
            return self._constants[name]
        node = node or self._by_output.get(name)
        if node is None or node.op_type != "DequantizeLinear" or not self._known(*node.input[:2]):
            return None
        values, steps = self._constants[node.input[0]], self._constants[node.input[1]]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [1] * values.ndim
        if steps.size > 1:
            if steps.ndim != 1:
                return None
            shape[axis] = -1
        zero = self._zero(node).astype(np.int64)
        centred = values.astype(np.int64) - (zero.reshape(shape) if zero.size > 1 else zero.reshape(()))
        return (centred.astype(np.float32) * steps.reshape(shape if steps.size > 1 else ())).astype(np.float32)

    def _scale(self, node: onnx.NodeProto) -> Scale | None:
        """The scale of a whole tensor in bytes; None where it is by channel, not constant, or of other integers."""
        step, zero = self._constants.get(node.input[1]), self._zero(node)
        if step is None or step.size != 1 or zero.size != 1 or zero.dtype not in (np.uint8, np.int8):
            return None
        return Scale(float(step.reshape(-1)[0]), int(zero.reshape(-1)[0]))

    def _zero(self, node: onnx.NodeProto) -> Array:
        if len(node.input) > 2 and node.input[2]:
            return self._constants.get(node.input[2], np.zeros(2, np.float32))
        if node.op_type == "DequantizeLinear" and node.input[0] in self._constants:
            return np.zeros((), self._constants[node.input[0]].dtype)
        return np.zeros((), np.uint8)

    def _known(self, *names: str) -> bool:
        return all(name in self._constants for name in names)

    def _needed(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """Those that something reads."""
        wanted, kept = set(self._outputs), []
        for node in reversed(nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(node.input)
        return kept[::-1]

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name

    def _add(self, name: str, value: Array) -> str:
        name = self._fresh(name)
        self._constants[name] = self._new[name] = np.ascontiguousarray(value)
        return name

    def _written(self, nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
        result = onnx.GraphProto()
        result.CopyFrom(self._graph)
        del result.node[:]
        result.node.extend(nodes)
        used = {name for node in nodes for name in node.input} | self._outputs
        kept = [tensor for tensor in result.initializer if tensor.name in used]
        del result.initializer[:]
        result.initializer.extend(kept)
        result.initializer.extend(numpy_helper.from_array(v, k) for k, v in self._new.items() if k in used)
        return result


def _plain(operator: str, attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes are those of a plain product."""
    if operator == "Conv":
        return attributes.get("group", 1) == 1 and attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", "NOTSET")
    return attributes.get("alpha", 1.0) == 1.0 and not attributes.get("transA", 0)

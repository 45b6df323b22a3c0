"""Which nodes of a model are computed with integers: products by constant weights, and what stands between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx

_PRODUCTS: Final = ("Conv", "MatMul", "Gemm")
_BETWEEN: Final = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat")
"""Between convolutions, these keep their values in eight bits."""


@dataclass(frozen=True, slots=True)
class Quantizable:
    """Names of nodes: those that multiply integers, those between them, and products that stay in float32, and why."""

    products: tuple[str, ...]
    between: tuple[str, ...]
    floats: Mapping[str, str]


def quantizable(graph: onnx.GraphProto) -> Quantizable:
    """What of `graph`, whose nodes have names of their own, to quantize.

    A product of two activations (attention) stays in float32: both would lose precision, for the least of the work. So
    does a convolution of few channels a group (depthwise): its error is the largest in practice (Krishnamoorthi 2018,
    section 3.2), and it has no sum that instructions for integers could take.

    The result of a product by a matrix stays in float32, that of a convolution is rounded: it goes to memory, which
    the eight bits spare, and what follows it mostly is another convolution.
    """
    constants = {tensor.name for tensor in graph.initializer}
    ranks = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    products, between, floats = [], [], {}
    eight_bits: set[str] = set()
    for node in graph.node:
        if node.op_type in _PRODUCTS:
            reason = _stays(node, ranks)
            if reason:
                floats[node.name] = reason
                continue
            products.append(node.name)
            if node.op_type == "Conv":
                eight_bits.add(node.output[0])
        elif node.op_type in _BETWEEN and all(i in eight_bits and i not in constants for i in node.input):
            between.append(node.name)
            eight_bits.update(node.output)
    return Quantizable(tuple(products), tuple(between), floats)


def _stays(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Why a product is left in float32; empty where it is not."""
    if node.input[0] in shapes:
        return "a constant on the left"
    if node.input[1] not in shapes:
        return "a product of two activations"
    shape = shapes[node.input[1]]
    attributes: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Conv":
        if len(shape) != 4:
            return "a convolution over other than two dimensions"
        return "groups of few channels" if attributes.get("group", 1) > 1 and shape[1] < 16 else ""
    if len(shape) != 2:
        return "weights of other than two dimensions"
    if node.op_type == "Gemm" and (attributes.get("alpha", 1.0) != 1.0 or attributes.get("transA", 0)):
        return "a scaled or transposed left side"
    return ""

"""What a model means, in float64: onnx's reference evaluator on doubles, with convolution and pooling as matrix work.

The evaluator's own convolution takes minutes for an image model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

Array = np.ndarray[Any, Any]


def exact(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of `model` by name, floats computed as doubles."""
    doubled = onnx.ModelProto()
    doubled.CopyFrom(model)
    for tensor in doubled.graph.initializer:
        _double(tensor)
    for value in (*doubled.graph.input, *doubled.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    del doubled.graph.value_info[:]
    for node in doubled.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
            if attribute.type == onnx.AttributeProto.TENSOR:
                _double(attribute.t)
    given = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in inputs.items()}
    version = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    operators = [Conv, MaxPool, AveragePool, BatchNormalization, LRN]
    if version < 13:
        operators.append(Softmax)
        for node in doubled.graph.node:
            if node.op_type == "Softmax" and not node.attribute:
                node.attribute.append(helper.make_attribute("axis", 1))  # the default of those days
    evaluator = ReferenceEvaluator(doubled, new_ops=operators)
    names = [output.name for output in model.graph.output]
    return dict(zip(names, evaluator.run(names, given), strict=True))


def error(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The root mean square error of the worst output of floats, as a share of that output's root mean square."""
    worst = 0.0
    for name, value in expected.items():
        if value.dtype.kind == "f":
            gap = np.sqrt(np.mean((found[name].astype(np.float64) - value) ** 2))
            worst = max(worst, float(gap / max(float(np.sqrt(np.mean(value**2))), 1e-30)))
    return worst


def _double(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))


def _windows(x: Array, kernel: Any, strides: Any, pads: Any, dilations: Any, fill: float, ceil: bool = False) -> Array:
    """[N, C, H, W] -> [N, C, OH, OW, KH, KW]."""
    (sh, sw), (dh, dw), (kh, kw) = strides or (1, 1), dilations or (1, 1), kernel
    top, left, bottom, right = pads or (0, 0, 0, 0)
    if ceil:
        bottom += -(x.shape[2] + top + bottom - dh * (kh - 1) - 1) % sh
        right += -(x.shape[3] + left + right - dw * (kw - 1) - 1) % sw
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    view = sliding_window_view(padded, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(2, 3))
    return view[:, :, ::sh, ::sw, ::dh, ::dw]


class Conv(OpRun):
    def _run(self, x: Array, w: Array, b: Array | None = None, **attrs: Any) -> tuple[Array]:
        groups = attrs.get("group") or 1
        windows = _windows(x, w.shape[2:], attrs["strides"], attrs["pads"], attrs["dilations"], 0.0)
        n, _, rows, columns = windows.shape[:4]
        parts = []
        for part, weight in zip(np.split(windows, groups, axis=1), np.split(w, groups), strict=True):
            flat = part.transpose(0, 2, 3, 1, 4, 5).reshape(n * rows * columns, -1)
            parts.append((flat @ weight.reshape(len(weight), -1).T).reshape(n, rows, columns, -1))
        result = np.concatenate(parts, axis=-1).transpose(0, 3, 1, 2)
        return (result if b is None else result + b.reshape(1, -1, 1, 1),)


class MaxPool(OpRun):
    def _run(self, x: Array, **attrs: Any) -> tuple[Array]:
        attrs.setdefault("dilations", None)
        kernel, ceil = attrs["kernel_shape"], bool(attrs.get("ceil_mode"))
        windows = _windows(x, kernel, attrs["strides"], attrs["pads"], attrs["dilations"], -np.inf, ceil)
        return (windows.max(axis=(-2, -1)),)


class AveragePool(OpRun):
    def _run(self, x: Array, **attrs: Any) -> tuple[Array]:
        kernel, strides, pads = attrs["kernel_shape"], attrs["strides"], attrs["pads"]
        total = _windows(x, kernel, strides, pads, None, 0.0).sum(axis=(-2, -1))
        if attrs.get("count_include_pad"):
            return (total / np.prod(kernel),)
        return (total / _windows(np.ones_like(x), kernel, strides, pads, None, 0.0).sum(axis=(-2, -1)),)


class BatchNormalization(OpRun):
    """For inference; the evaluator takes statistics of the batch where the model is of an early opset."""

    def _run(self, x: Array, scale: Array, bias: Array, mean: Array, var: Array, **attrs: Any) -> tuple[Array]:
        factor = scale / np.sqrt(var + attrs["epsilon"])
        return (x * factor.reshape(1, -1, 1, 1) + (bias - mean * factor).reshape(1, -1, 1, 1),)


class LRN(OpRun):
    def _run(self, x: Array, **attrs: Any) -> tuple[Array]:
        before, after = (attrs["size"] - 1) // 2, attrs["size"] // 2
        squares = np.pad(x**2, ((0, 0), (before, after), (0, 0), (0, 0)))
        total = sliding_window_view(squares, attrs["size"], axis=1).sum(axis=-1)
        return (x / (attrs["bias"] + attrs["alpha"] / attrs["size"] * total) ** attrs["beta"],)


class Softmax(OpRun):
    """As before opset 13: over all axes from `axis` on, which the evaluator reads in the newer way."""

    def _run(self, x: Array, **attrs: Any) -> tuple[Array]:
        flat = x.reshape(int(np.prod(x.shape[: attrs["axis"]])), -1)
        powers = np.exp(flat - flat.max(axis=1, keepdims=True))
        return ((powers / powers.sum(axis=1, keepdims=True)).reshape(x.shape),)

"""The operators of quantized models in Relax: rounding to bytes and back, and products of bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import tvm
from tvm import relax

from compiler.integers import PRODUCT, ROUND_TRIP

_RANGES: Final = {"uint8": (0, 255), "int8": (-128, 127)}


def quantize(bb: Any, inputs: Any, attrs: Mapping[str, Any]) -> Any | None:
    """QuantizeLinear of a whole tensor to bytes; None for what TVM's importer does."""
    found = _scale(inputs)
    if found is None or inputs[0].ty.dtype != "float32":
        return None
    step, zero, kind = found
    return relax.op.astype(_rounded(bb, inputs[0], step, zero, kind), kind)


def dequantize(bb: Any, inputs: Any, attrs: Mapping[str, Any]) -> Any | None:
    """DequantizeLinear of a whole tensor of bytes; None for what TVM's importer does."""
    found = _scale(inputs)
    if found is None or str(inputs[0].ty.dtype) not in _RANGES:
        return None
    step, zero, _ = found
    return _value_of(bb, bb.emit(relax.op.astype(inputs[0], "float32")), step, zero)


def round_trip(bb: Any, inputs: Any, attrs: Mapping[str, Any]) -> Any:
    """QuantizeLinear and DequantizeLinear, without the bytes between them."""
    found = _scale(inputs)
    assert found is not None
    step, zero, kind = found
    return _value_of(bb, bb.emit(_rounded(bb, inputs[0], step, zero, kind)), step, zero)


def product(bb: Any, inputs: Any, attrs: Mapping[str, Any]) -> Any:
    """float32(sum q w + offset) scale + bias (see `compiler.integers`)."""
    data, weight, *rest = inputs[:5]
    rank = len(weight.ty.shape)
    if rank == 4:
        padding = [int(p) for p in attrs.get("pads", (0, 0, 0, 0))]
        zero = int(attrs["zero"])
        if zero and any(padding):  # what stands around the image means zero
            top, left, bottom, right = padding
            widths = [0, 0, 0, 0, top, bottom, left, right]
            data, padding = bb.emit(relax.op.nn.pad(data, widths, pad_value=zero)), [0, 0, 0, 0]
        sums = relax.op.nn.conv2d(
            data,
            weight,
            strides=[int(s) for s in attrs.get("strides", (1, 1))],
            padding=padding,
            dilation=[int(d) for d in attrs.get("dilations", (1, 1))],
            out_dtype="int32",
        )
    else:
        sums = relax.op.matmul(data, weight, out_dtype="int32")
    scale, offset, bias = (_by_channel(constant, rank) for constant in rest)
    total = bb.emit(relax.op.add(bb.emit(sums), offset))
    scaled = bb.emit(relax.op.multiply(bb.emit(relax.op.astype(total, "float32")), scale))
    return relax.op.add(scaled, bias)


CONVERTERS: Final[dict[str, Callable[[Any, Any, Mapping[str, Any]], Any]]] = {PRODUCT: product, ROUND_TRIP: round_trip}
PREFERRED: Final[dict[str, Callable[[Any, Any, Mapping[str, Any]], Any | None]]] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
}
"""Instead of TVM's own, whose rounding and layouts differ; None leaves an operator to it."""


def _rounded(bb: Any, data: Any, step: float, zero: int, kind: str) -> Any:
    """round(x / step) + zero within the range of `kind`, in float32; ties go to even, as in ONNX."""
    low, high = _RANGES[kind]
    scaled = bb.emit(relax.op.multiply(data, _float(1.0 / step)))
    value = bb.emit(relax.op.round(scaled))
    if zero:
        value = bb.emit(relax.op.add(value, _float(zero)))
    return relax.op.minimum(bb.emit(relax.op.maximum(value, _float(low))), _float(high))


def _value_of(bb: Any, value: Any, step: float, zero: int) -> Any:
    if zero:
        value = bb.emit(relax.op.subtract(value, _float(zero)))
    return relax.op.multiply(value, _float(step))


def _scale(inputs: Any) -> tuple[float, int, str] | None:
    """(step, zero point, type) of a constant scale of a whole tensor; None for any other."""
    given = [*inputs, None][:3]
    step, zero = given[1], given[2]
    if not isinstance(step, tvm.ir.GenericConst) or step.value.numpy().size != 1:
        return None
    if zero is None:
        return float(step.value.numpy().reshape(-1)[0]), 0, "uint8"
    if not isinstance(zero, tvm.ir.GenericConst) or zero.value.numpy().size != 1 or str(zero.ty.dtype) not in _RANGES:
        return None
    return float(step.value.numpy().reshape(-1)[0]), int(zero.value.numpy().reshape(-1)[0]), str(zero.ty.dtype)


def _by_channel(constant: Any, rank: int) -> Any:
    """A constant [C] that broadcasts over images (rank 4) or rows."""
    values = constant.value.numpy()
    return relax.const(np.ascontiguousarray(values.reshape(1, -1, 1, 1) if rank == 4 else values), str(values.dtype))


def _float(value: float) -> Any:
    return relax.const(value, "float32")

"""Encodes a tensor for the wire and decodes it again; `specs.codec` says which codecs there are.

An encoded tensor is u8[n]. The receiver knows the tensor's type, so that what was encoded neither has to say it nor can
make the receiver allocate more than that type takes.
"""

from __future__ import annotations

import struct
import zlib
from math import isfinite
from typing import Any, Final

import numpy as np

from runtime.values import Array
from specs.errors import InputError, Issue
from specs.tensors import TensorType

_FP16_MOST: Final = float(np.finfo(np.float16).max)
_RANGE: Final = struct.Struct("<ff")
"""Before the values of int8: the least value, and the step between neighbours."""
_STEPS: Final = 255
_LEVEL: Final = 1
"""zlib's fastest: on a narrow link to a slow device, the next ones cost more time than their bytes are worth."""


class NotEncodable(InputError):
    """A tensor whose values a codec has no room for. `component` is whose it is, "" where that is not known."""

    def __init__(self, *issues: Issue | str, component: str = "") -> None:
        super().__init__(*issues)
        self.component = component


def encode(array: Array, codec: str) -> Array:
    """`array` as u8[n]. Raises NotEncodable for values that are not finite in int8.

    fp16 keeps infinities and NaN, and takes finite values beyond its range for the nearest that it has.
    """
    if codec == "fp16":
        limited = np.where(np.isfinite(array), np.clip(array, -_FP16_MOST, _FP16_MOST), array)
        return _bytes(limited.astype("<f2").tobytes())
    if codec == "int8":
        return _bytes(_int8(array))
    return _bytes(zlib.compress(np.ascontiguousarray(array).tobytes(), _LEVEL))


def decode(data: Array, codec: str, kind: TensorType) -> Array:
    """The tensor of type `kind` that `data`, u8[n], was made of: equal to it where the codec is lossless.

    Raises InputError where no tensor of that type is encoded so.
    """
    try:
        return _decoded(data.tobytes(), codec, kind)
    except (ValueError, zlib.error) as error:
        raise InputError(Issue(f"not a {kind} encoded with {codec}: {error}")) from error


def _decoded(data: bytes, codec: str, kind: TensorType) -> Array:
    shape: Any = kind.shape
    count = (kind.size or 0) // np.dtype(kind.numpy).itemsize
    if codec == "fp16":
        _expect(len(data), 2 * count)
        return np.frombuffer(data, "<f2").astype(np.float32).reshape(shape)
    if codec == "int8":
        _expect(len(data), _RANGE.size + count)
        least, step = _RANGE.unpack_from(data)
        if not (isfinite(least) and isfinite(step) and step >= 0):
            raise ValueError(f"the values begin at {least:g} in steps of {step:g}")
        steps = np.frombuffer(data, np.uint8, offset=_RANGE.size)
        return (least + step * steps.astype(np.float64)).astype(np.float32).reshape(shape)
    size = kind.size or 0
    inflate = zlib.decompressobj()
    raw = inflate.decompress(data, size + 1)  # one byte more shows what is too long, and no more is ever made
    _expect(len(raw), size)
    if not inflate.eof or inflate.unused_data:
        raise ValueError("it does not end where the tensor does")
    return np.frombuffer(raw, kind.numpy).reshape(shape)


def _int8(array: Array) -> bytes:
    """Affine quantization of the whole tensor: no value is off by more than half a step, rounding to f32 aside."""
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise NotEncodable(Issue("a tensor with values that are not finite cannot be encoded with int8"))
    least = np.float32(values.min(initial=np.inf)) if values.size else np.float32(0)
    step = np.float32((values.max() - float(least)) / _STEPS) if values.size else np.float32(0)
    if step:
        steps = np.clip(np.rint((values - float(least)) / float(step)), 0, _STEPS).astype(np.uint8)
    else:
        steps = np.zeros(values.shape, np.uint8)
    return _RANGE.pack(least, step) + steps.tobytes()


def _bytes(data: bytes) -> Array:
    return np.frombuffer(data, np.uint8)


def _expect(got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(f"expected {expected} bytes, got {'more' if got == expected + 1 else got}")

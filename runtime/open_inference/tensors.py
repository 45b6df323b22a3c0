"""Values as the protocol writes them: datatype, shape, and the data as JSON or as raw bytes.

Blobs and scalars have the shape [1]; [] is accepted as well. Raw data is little-endian; an element of type BYTES
follows its length in four bytes. JSON carries text as it is; bytes that are no text are written in base64 and marked so
by the tensor's parameter ``content_type``.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from runtime.open_inference.models import Port
from runtime.open_inference.protocol import Code, ProtocolError
from runtime.values import Array, Value
from specs.tensors import TensorType

DATATYPES: Final = {
    "bool": "BOOL",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "u8": "UINT8",
    "f16": "FP16",
    "f32": "FP32",
    "f64": "FP64",
}
BYTES: Final = "BYTES"
BASE64: Final = "base64"
MOST_NESTED: Final = 32
"""Levels of lists: as many as numpy has axes."""
_LENGTH: Final = struct.Struct("<I")
_MOST: Final = 2**31


def datatype(kind: TensorType) -> str:
    """The protocol's name of the element type."""
    return BYTES if kind.is_blob else DATATYPES[kind.dtype]


def declared_shape(kind: TensorType) -> list[int]:
    """As metadata tells it: -1 for a size that has only a name."""
    return [d if isinstance(d, int) else -1 for d in kind.shape] or [1]


def shape_of(value: Value) -> list[int]:
    return [1] if isinstance(value, (bytes, str)) else list(value.shape) or [1]


def check_header(port: Port, given: object, shape: Sequence[object]) -> tuple[int, ...]:
    """The shape of the value itself, once datatype and shape agree with the port. Raises ProtocolError."""
    wanted = datatype(port.type)
    if given != wanted:
        raise _wrong(port, f"expected datatype {wanted}, got {given!r:.40}")
    if len(shape) > 16 or any(isinstance(d, bool) or not isinstance(d, int) or not 1 <= d < _MOST for d in shape):
        raise _wrong(port, f"expected a shape of positive sizes such as {declared_shape(port.type)}")
    dims = tuple(d for d in shape if isinstance(d, int))
    if not port.type.shape:
        if dims not in ((), (1,)):
            raise _wrong(port, f"expected shape [1], got {list(dims)}")
        return ()
    named: dict[str, int] = {}
    agrees = len(dims) == len(port.type.shape) and all(
        have == want if isinstance(want, int) else named.setdefault(want, have) == have
        for have, want in zip(dims, port.type.shape, strict=True)
    )
    if not agrees:
        raise _wrong(port, f"expected shape {declared_shape(port.type)} ({port.type}), got {list(dims)}")
    for name, have, most in zip(port.type.shape, dims, port.most, strict=False):
        if most is not None and have > most:
            raise _wrong(port, f"{name} is {have}, but the largest bucket is {most}")
    return dims


def from_raw(port: Port, shape: tuple[int, ...], data: bytes | memoryview) -> Value:
    """A value from raw data. Raises ProtocolError where it is too long, too short, or not of that type."""
    if port.type.is_blob:
        return _blob_from_raw(port, data)
    expected = math.prod(shape) * np.dtype(port.type.numpy).itemsize
    if len(data) != expected:
        raise _wrong(port, f"expected {expected} bytes for shape {list(shape) or [1]}, got {len(data)}")
    if port.type.dtype == "bool" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise _wrong(port, "expected bytes of 0 or 1 for BOOL")
    little = np.dtype(port.type.numpy).newbyteorder("<")
    return np.frombuffer(data, little).reshape(shape).astype(port.type.numpy)  # a copy, and so aligned


def _blob_from_raw(port: Port, data: bytes | memoryview) -> Value:
    if len(data) < _LENGTH.size or _LENGTH.unpack_from(data)[0] != len(data) - _LENGTH.size:
        raise _wrong(port, "expected one element after its length in four bytes (little-endian)")
    return _blob(port, bytes(data[_LENGTH.size :]))


def _blob(port: Port, data: bytes) -> Value:
    if port.type.dtype != "string":
        return data
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _wrong(port, f"expected text in UTF-8: {error.reason}") from error


def to_raw(value: Value) -> bytes:
    """The inverse of `from_raw`."""
    if isinstance(value, (bytes, str)):
        data = value.encode() if isinstance(value, str) else value
        return _LENGTH.pack(len(data)) + data
    return np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


def from_json(port: Port, shape: tuple[int, ...], data: object, content_type: object = None) -> Value:
    """A value from a flat or nested list. Raises ProtocolError where it does not hold what the type needs."""
    if not isinstance(data, list):
        raise _wrong(port, f"expected data as a list, got {type(data).__name__}")
    if port.type.is_blob:
        return _blob_from_json(port, data, content_type)
    if not _is_numbers(data, MOST_NESTED):  # of one long text among many numbers, numpy would make many long texts
        raise _wrong(port, f"expected numbers for {datatype(port.type)}, got something else")
    try:
        array = np.asarray(data)
    except (ValueError, OverflowError) as error:
        raise _wrong(port, "expected a list of numbers, flat or nested as the shape says") from error
    return from_numbers(port, shape, array)


def _is_numbers(data: list[Any], levels: int) -> bool:
    """Whether it holds nothing but numbers, in lists of so many levels."""
    kinds = set(map(type, data))
    if not kinds <= {int, float, bool, list}:
        return False
    return list not in kinds or (
        levels > 1 and all(type(each) is not list or _is_numbers(each, levels - 1) for each in data)
    )


def from_numbers(port: Port, shape: tuple[int, ...], array: Array) -> Array:
    """Numbers of any width as the port's type; refuses what that cannot hold. Raises ProtocolError."""
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[np.dtype(port.type.numpy).kind]
    if array.dtype.kind not in kinds:
        raise _wrong(port, f"expected numbers for {datatype(port.type)}, got something else")
    if array.size != math.prod(shape):
        raise _wrong(port, f"expected {math.prod(shape)} elements for shape {list(shape) or [1]}, got {array.size}")
    with np.errstate(over="ignore"):
        made = array.astype(port.type.numpy)
    held = made == array if made.dtype.kind in "iu" else np.isfinite(made) | ~np.isfinite(array)
    if not np.all(held):
        raise _wrong(port, f"a number does not fit into {datatype(port.type)}")
    return made.reshape(shape)


def _blob_from_json(port: Port, data: list[Any], content_type: object) -> Value:
    if len(data) != 1 or not isinstance(data[0], str):
        raise _wrong(port, "expected a list of one string")
    if content_type == BASE64:
        try:
            return _blob(port, base64.b64decode(data[0], validate=True))
        except (binascii.Error, ValueError) as error:
            raise _wrong(port, "expected base64, as content_type says") from error
    if content_type is not None:
        raise _wrong(port, f"content_type: expected {BASE64!r}, got {content_type!r:.40}")
    try:
        return _blob(port, data[0].encode())
    except UnicodeEncodeError as error:
        raise _wrong(port, "the string is not sound Unicode") from error


def to_json(name: str, value: Value) -> tuple[list[Any], str]:
    """(flat list, content_type or ""). Raises ProtocolError for numbers that JSON does not have."""
    if isinstance(value, str):
        return [value], ""
    if isinstance(value, bytes):
        return [base64.b64encode(value).decode()], BASE64
    if value.dtype.kind == "f" and not np.all(np.isfinite(value)):
        raise ProtocolError(Code.invalid, f"{name} holds a number that JSON does not have: ask for binary_data")
    return value.ravel().tolist(), ""


def _wrong(port: Port, what: str) -> ProtocolError:
    return ProtocolError(Code.invalid, f"{port.name}: {what}")

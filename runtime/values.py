"""Values as they flow between stages, their size on the wire, and how they are written into a message.

A value is `bytes` (jpeg, png, bytes), `str` (string) or a numpy array of the declared element type and shape (no batch
dimension; a scalar is an array without dimensions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from specs.application import Ref
from specs.errors import InputError, Issue
from specs.tensors import TensorType, from_numpy_name

Array = NDArray[Any]
Value = bytes | str | Array

_DIGITS: Final = "a number, a list of numbers or an array"


def size(value: Value) -> int:
    """Bytes of `value` on the wire."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, str):
        return len(value.encode())
    return int(value.nbytes)


def conform(value: object, expected: TensorType, what: str) -> Value:
    """`value` as the canonical form of `expected`; plain numbers and lists become arrays.

    Raises InputError that names `what`, the type expected and the one found.
    """
    if expected.is_blob:
        wanted = str if expected.dtype == "string" else bytes
        if not isinstance(value, wanted):
            raise InputError(_mismatch(what, expected, type(value).__name__))
        if isinstance(value, str) and not _is_text(value):
            raise InputError(_mismatch(what, expected, "one with half of a surrogate pair, which UTF-8 cannot hold"))
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
    elif isinstance(value, (bool, int, float, list, tuple)):
        array = _from_plain(value, expected, what)
    else:
        raise InputError(_mismatch(what, expected, type(value).__name__))
    if array.dtype.name != expected.numpy or not _fits(array.shape, expected.shape):
        batched = array.shape[:1] == (1,) and _fits(array.shape[1:], expected.shape)
        hint = "leave out the batch, which is no dimension of a value" if batched else ""
        raise InputError(_mismatch(what, expected, describe(array), hint))
    return array


def _from_plain(value: object, expected: TensorType, what: str) -> Array:
    """Numbers as an array of the expected type; refuses what that type cannot hold, such as 0.5 for an integer."""
    try:
        raw = np.asarray(value)
        array = raw.astype(expected.numpy)
        same_kind = np.can_cast(raw.dtype, array.dtype, "same_kind") or raw.size == 0
        held = bool(np.array_equal(raw, array)) or array.dtype.kind == "f"
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(_mismatch(what, expected, f"{type(value).__name__}: {error}")) from error
    if not (held and (same_kind or (raw.dtype.kind in "iu" and array.dtype.kind in "iuf"))):
        raise InputError(_mismatch(what, expected, f"{type(value).__name__} of {raw.dtype.name}"))
    return array


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: json.loads and os.fsdecode may give what cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fits(shape: tuple[int, ...], expected: tuple[int | str, ...]) -> bool:
    """Whether `shape` agrees with `expected`, in which one name stands for one size."""
    named: dict[str, int] = {}
    return len(shape) == len(expected) and all(
        have == want if isinstance(want, int) else named.setdefault(want, have) == have
        for have, want in zip(shape, expected, strict=True)
    )


def describe(value: object) -> str:
    """The type of `value` in the words of the spec, such as ``f32[384]``."""
    if isinstance(value, (np.ndarray, np.generic)):
        try:
            name = from_numpy_name(value.dtype.name)
        except ValueError:
            name = value.dtype.name
        return str(TensorType(name, tuple(value.shape)))
    return "string" if isinstance(value, str) else type(value).__name__


def _mismatch(what: str, expected: TensorType, found: str, hint: str = "") -> Issue:
    return Issue(f"{what}: expected {expected}, got {found}", hint=hint)


def filled(expected: TensorType, number: float, what: str) -> Array:
    """What stands for a skipped input: `number` everywhere. Raises InputError where the type has no fixed shape."""
    if expected.is_blob or any(isinstance(d, str) for d in expected.shape):
        raise InputError(Issue(f"{what}: if_skipped needs a tensor of fixed shape, got {expected}"))
    return np.full(cast(tuple[int, ...], expected.shape), number, dtype=expected.numpy)


def sink_fills(sink: str, refs: Mapping[str, Ref], types: Mapping[str, TensorType]) -> dict[str, Value]:
    """What stands for the skipped inputs of a sink; `types` by reference. Raises InputError as `filled` does."""
    return {
        key: filled(types[ref.from_], ref.if_skipped, f"{sink}.{key}")
        for key, ref in refs.items()
        if ref.if_skipped is not None
    }


def with_batch(value: Value) -> Array:
    """As a model takes it: a leading batch dimension of 1. Raises InputError for a blob."""
    if isinstance(value, (bytes, str)):
        raise InputError(Issue(f"a model takes tensors, got {describe(value)}"))
    return np.asarray(value, order="C")[np.newaxis]  # ascontiguousarray would give a scalar an axis


def without_batch(array: Array, expected: TensorType, what: str) -> Array:
    """One item of a model's output as the declared type.

    A model may leave the batch of a scalar out or repeat a last dimension of 1; only the batch of 1 is dropped here.
    Raises InputError where what is left differs from `expected`.
    """
    found = np.asarray(array)
    item = found[0] if found.ndim == len(expected.shape) + 1 and found.shape[0] == 1 else found
    return cast(Array, conform(np.asarray(item), expected, what))


def equal(ours: Value, other: Value, tolerance: float = 1e-4) -> bool:
    """Whether two answers are the same: blobs, integers and booleans exactly, floats within `tolerance`."""
    if isinstance(ours, (bytes, str)) or isinstance(other, (bytes, str)):
        return type(ours) is type(other) and bool(ours == other)
    if ours.dtype != other.dtype or ours.shape != other.shape:
        return False
    if ours.dtype.kind == "f":
        return bool(np.allclose(ours, other, rtol=tolerance, atol=tolerance, equal_nan=True))
    return bool(np.array_equal(ours, other))


def pack(values: Mapping[str, Value]) -> tuple[list[list[Any]], list[bytes | memoryview]]:
    """`values` as a JSON header (name, type, shape, bytes) and the buffers that it describes, in order."""
    header: list[list[Any]] = []
    buffers: list[bytes | memoryview] = []
    for name, value in values.items():
        if isinstance(value, bytes):
            header.append([name, "bytes", [], len(value)])
            buffers.append(value)
        elif isinstance(value, str):
            text = value.encode()
            header.append([name, "string", [], len(text)])
            buffers.append(text)
        else:
            array = value if value.flags.c_contiguous else np.ascontiguousarray(value).reshape(value.shape)
            header.append([name, array.dtype.str, list(array.shape), array.nbytes])
            buffers.append(array.data if array.ndim and array.size else array.tobytes())
    return header, buffers


def unpack(header: list[list[Any]], data: memoryview) -> dict[str, Value]:
    """The inverse of `pack`; arrays are read-only views of `data`. Raises ValueError where the header is not sound."""
    values: dict[str, Value] = {}
    at = 0
    for name, kind, shape, count in header:
        part = data[at : at + count]
        if len(part) != count:
            raise ValueError(f"the message ends within {name!r}")
        at += count
        values[name] = restored(name, kind, shape, part)
    return values


def restored(name: str, kind: str, shape: Sequence[int], part: memoryview) -> Value:
    """One value as `pack` describes it. Raises ValueError where `part` does not hold it."""
    if kind == "bytes":
        return bytes(part)
    if kind == "string":
        return str(part, "utf-8")
    try:
        dtype = np.dtype(kind)
    except (TypeError, SyntaxError) as error:  # NumPy reads a language of its own there
        raise ValueError(f"{name!r} has no type {kind!r}") from error
    if dtype.hasobject:
        raise ValueError(f"{name!r} is not plain data")
    return np.frombuffer(part, dtype).reshape(shape)

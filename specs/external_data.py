"""Which other files hold weights of an ONNX model (its external data), read without loading ONNX or the weights.

Only the messages that can hold a tensor are walked, by the wire format of Protocol Buffers; what they hold is skipped
by its length. The numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from specs.errors import InputError, Issue, Place
from specs.input_file import open_input

_INSIDE: Final = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""By message: its fields that are messages which may hold a tensor."""
_EXTERNAL_DATA: Final = 13
_DATA_LOCATION: Final = 14
_DEEPEST: Final = 64
_QUICK: Final = 16_000_000
"""Bytes up to which a model is searched before it is walked; larger ones hold large tensors, which are skipped."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def external_files(model: Path) -> tuple[str, ...]:
    """Where the model says that its external data lies, sorted; none for a model that holds its weights.

    Raises InputError where the file cannot be read or is no protocol buffer.
    """
    try:
        with open_input(model) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if len(data) < _QUICK and data.find(b"location") < 0:
                return ()  # every external tensor has an entry of that name; walking a forest's numbers takes longer
            return tuple(sorted(set(_locations(data, 0, len(data), "model", 0))))
    except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise InputError(Issue(f"not an ONNX model: {error}", Place(str(model)), "export the model again")) from error


def _locations(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("its graphs are nested too deeply")
    if message == "tensor":
        yield from _of_tensor(data, start, end)
        return
    for field, begin, stop, _ in _fields(data, start, end):
        if (inner := _INSIDE[message].get(field)) is not None:
            yield from _locations(data, begin, stop, inner, depth + 1)


def _of_tensor(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    external, location = False, ""
    for field, begin, stop, number in _fields(data, start, end):
        if field == _DATA_LOCATION:
            external = number == 1
        elif field == _EXTERNAL_DATA:
            entry = {f: data[b:s] for f, b, s, _ in _fields(data, begin, stop)}
            if entry.get(1) == b"location":
                location = entry.get(2, b"").decode()
    if external:
        yield location


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, begin, end, value) of each field: begin and end of its bytes, or the value of a varint."""
    while at < end:
        tag, at = _varint(data, at)
        kind, value, begin = tag & 7, 0, at
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind == _BYTES:
            size, begin = _varint(data, at)
            at = begin + size
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at > end:
            raise ValueError("it is cut off")
        yield tag >> 3, begin, at, value


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number is too long")

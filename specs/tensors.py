"""Types of the values that flow between components: ``f32[3,64,64]``, ``bool``, ``jpeg``, ``string``.

A tensor's type leaves the batch out: ``f32[3,64,64]`` in YAML is ``float32[N,3,64,64]`` in an ONNX model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DTYPES: Final = {
    "bool": "bool",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
}
"""Short names, as written in YAML, to numpy's names."""

BLOBS: Final = ("jpeg", "png", "string", "bytes")
"""Values without a shape, whose size in bytes varies from request to request."""

_TYPE = re.compile(r"^(?P<name>[a-z][a-z0-9]*)(\[(?P<dims>[^\]]*)\])?$")


@dataclass(frozen=True, slots=True)
class TensorType:
    """A value's type. `dtype` is a short name of `DTYPES` or one of `BLOBS`; a dimension may be a name."""

    dtype: str
    shape: tuple[int | str, ...] = ()

    @property
    def is_blob(self) -> bool:
        return self.dtype in BLOBS

    @property
    def numpy(self) -> str:
        """numpy's name of the element type. Raises KeyError for a blob, which has none."""
        return DTYPES[self.dtype]

    @property
    def size(self) -> int | None:
        """Bytes of one item of a batch, or None where a dimension is a name or the value is a blob."""
        if self.is_blob or any(isinstance(d, str) for d in self.shape):
            return None
        count = 1
        for dim in self.shape:
            count *= int(dim)
        bits = {"bool": 8, "f16": 16, "f32": 32, "f64": 64}.get(self.dtype)
        return count * (bits or int(self.dtype[1:])) // 8

    @property
    def item(self) -> TensorType:
        """Of one entry of the first axis. Raises ValueError where there is no axis."""
        if not self.shape:
            raise ValueError(f"{self} has no first axis")
        return TensorType(self.dtype, self.shape[1:])

    def stacked(self, size: int | str) -> TensorType:
        """Of `size` such values along a new first axis."""
        return TensorType(self.dtype, (size, *self.shape))

    def sized(self, name: str, size: int) -> TensorType:
        """With `size` where a dimension has this name."""
        return TensorType(self.dtype, tuple(size if dim == name else dim for dim in self.shape))

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]" if self.shape else self.dtype


def parse_type(text: str) -> TensorType:
    """Read a type such as ``u8[3,64,64]``. Raises ValueError saying what was expected."""
    match = _TYPE.match(text.replace(" ", ""))
    name = match["name"] if match else ""
    if not match or (name not in DTYPES and name not in BLOBS):
        raise ValueError(f"expected a type such as f32[384], bool or jpeg, got {text!r}{_meant(text)}")
    dims = [d for d in (match["dims"] or "").split(",") if d]
    if name in BLOBS and dims:
        raise ValueError(f"{name} has no shape, got {text!r}")
    shape = tuple(int(d) if d.isdigit() else d for d in dims)
    if any(d == 0 or (isinstance(d, str) and not d.isidentifier()) for d in shape) or len(shape) > 8:
        raise ValueError(f"expected positive sizes or names as dimensions (8 at most), got {text!r}")
    return TensorType(name, shape)


def from_numpy_name(name: str) -> str:
    """The short name of a numpy element type. Raises ValueError where there is none."""
    for short, long in DTYPES.items():
        if long == name:
            return short
    raise ValueError(f"element type {name} is not supported; expected one of {', '.join(DTYPES.values())}")


def _meant(text: str) -> str:
    """The way out where `text` names an element as numpy and ONNX do."""
    element, bracket, dims = text.partition("[")
    short = {"float": "f32", "double": "f64"} | {name: short for short, name in DTYPES.items()}
    found = short.get(element.strip().lower())
    return f"; did you mean {f'{found}{bracket}{dims}'!r}?" if found else ""

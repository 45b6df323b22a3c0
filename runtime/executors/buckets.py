"""An artefact with buckets as one executor: the smallest bucket that holds an input, filled up, and its outputs cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from specs.artefact import Artefact, Buckets, Executor
from specs.errors import InputError, Issue
from specs.tensors import TensorType

Arrays = Mapping[str, Any]


class PaddedExecutor:
    """An executor for each size. What fills an input up must mean nothing to the model (a mask of 0, say)."""

    def __init__(self, artefact: Artefact, buckets: Buckets, by_size: Mapping[int, Executor]) -> None:
        self._lengths = Lengths(artefact, buckets)
        self._by_size = by_size

    def run(self, inputs: Arrays) -> dict[str, Any]:
        """Raises InputError for a length that no bucket holds, and for inputs of different lengths."""
        length = self._lengths.of(inputs)
        size = self._lengths.holding(length)
        found = self._by_size[size].run(self._lengths.filled(inputs, length, size))
        return self._lengths.cut(found, length)


class OpenExecutor:
    """An executor that takes any length, but none that no bucket holds: so do all backends the same."""

    def __init__(self, artefact: Artefact, buckets: Buckets, executor: Executor) -> None:
        self._lengths = Lengths(artefact, buckets)
        self._executor = executor

    def run(self, inputs: Arrays) -> dict[str, Any]:
        """Raises InputError as `PaddedExecutor` does."""
        self._lengths.holding(self._lengths.of(inputs))
        return self._executor.run(inputs)


class Lengths:
    """Where the dimension of an artefact's buckets is in its inputs and outputs, whose first axis is the batch."""

    def __init__(self, artefact: Artefact, buckets: Buckets) -> None:
        self._buckets = buckets
        self._inputs = {key: axes for key, kind in artefact.inputs.items() if (axes := _axes(kind, buckets.name))}
        self._outputs = {key: axes for key, kind in artefact.outputs.items() if (axes := _axes(kind, buckets.name))}

    def of(self, inputs: Arrays) -> int:
        """The one length of the dimension in all inputs. Raises InputError where they differ, or it is 0."""
        name = self._buckets.name
        found: dict[int, str] = {}
        for key, axes in self._inputs.items():
            shape = np.shape(inputs[key]) if key in inputs else ()
            for axis in axes:
                if axis >= len(shape):
                    raise InputError(Issue(f"input {key!r} has no dimension {name!r}: its shape is {list(shape)}"))
                found.setdefault(int(shape[axis]), key)
        if len(found) > 1:
            (a, first), (b, second), *_ = found.items()
            raise InputError(Issue(f"{name!r} is {a} in {first!r}, but {b} in {second!r}"))
        (length,) = found
        if length < 1:
            raise InputError(Issue(f"{name!r} is 0: expected at least 1"))
        return length

    def holding(self, length: int) -> int:
        """The smallest bucket for `length`. Raises InputError where none holds it."""
        size = self._buckets.holding(length)
        if size is None:
            message = f"{self._buckets.name!r} is {length}, but the largest bucket is {self._buckets.sizes[-1]}"
            raise InputError(Issue(message, None, "shorten the input, or add a bucket to dims"))
        return size

    def filled(self, inputs: Arrays, length: int, size: int) -> dict[str, Any]:
        """`inputs` with the dimension at `size`."""
        if length == size:
            return dict(inputs)
        found = dict(inputs)
        for key, axes in self._inputs.items():
            value = np.asarray(inputs[key])
            shape = tuple(size if axis in axes else n for axis, n in enumerate(value.shape))
            found[key] = np.full(shape, self._buckets.pad.get(key, 0), value.dtype)
            found[key][tuple(slice(n) for n in value.shape)] = value
        return found

    def brought_to(self, size: int, inputs: Arrays) -> dict[str, Any]:
        """`inputs` filled up or cut to `size`: no request, but one that takes as long."""
        length = self.of(inputs)
        if length <= size:
            return self.filled(inputs, length, size)
        return _cut(inputs, self._inputs, size)

    def cut(self, outputs: Arrays, length: int) -> dict[str, Any]:
        """`outputs` with the dimension at `length` again."""
        return _cut(outputs, self._outputs, length)


def _cut(values: Arrays, axes_of: Mapping[str, tuple[int, ...]], length: int) -> dict[str, Any]:
    found = dict(values)
    for key, axes in axes_of.items():
        value = np.asarray(values[key])
        found[key] = value[tuple(slice(length) if axis in axes else slice(None) for axis in range(value.ndim))]
    return found


def _axes(kind: TensorType, name: str) -> tuple[int, ...]:
    """Of a value with its batch in front."""
    return tuple(axis for axis, size in enumerate(kind.shape, 1) if size == name)

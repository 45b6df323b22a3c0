"""Items of a fan-out (`specs.fan_out`): a component's inputs apart by item, and what it gave for each as one stack.

Both happen at the component's own queue: a request's items come to it at once, each is a task of its own, and one
message with all of their results leaves it when the last is done.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from runtime.message import StageTime
from runtime.values import Value, describe
from specs.errors import InputError, Issue
from specs.tensors import TensorType

Inputs = dict[str, Value | None]


def split(inputs: Mapping[str, Value | None], items: frozenset[str], component: str) -> list[Inputs]:
    """The inputs of each item: of those named in `items` an entry of the first axis, of all others the whole.

    Raises InputError where a value has no first axis, or two have different numbers of items.
    """
    counts: dict[str, int] = {}
    for name in sorted(items):
        value = inputs[name]
        if not isinstance(value, np.ndarray) or not value.ndim:
            found = "nothing" if value is None else describe(value)
            raise InputError(Issue(f"{component}: {name} has no first axis of items: {found}"))
        counts[name] = len(value)
    if len(set(counts.values())) != 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(Issue(f"{component}: its inputs have different numbers of items: {told}"))
    return [
        {name: np.asarray(value[index]) if name in items else value for name, value in inputs.items()}  # type: ignore[index]
        for index in range(next(iter(counts.values())))
    ]


def stack(made: Sequence[Mapping[str, Value]], outputs: Mapping[str, TensorType]) -> dict[str, Value]:
    """Each output of all items along a new first axis; of no items, an empty one. `outputs` are types of one item.

    Raises InputError for an output without a fixed shape.
    """
    found: dict[str, Value] = {}
    for name, kind in outputs.items():
        if kind.size is None:
            raise InputError(Issue(f"what is given for each item is stacked: {name} is {kind}, without a fixed shape"))
        entries = [np.asarray(each[name]) for each in made]
        found[name] = np.stack(entries) if entries else np.empty((0, *map(int, kind.shape)), kind.numpy)
    return found


@dataclass(slots=True)
class Gather:
    """What the `count` items of one request have given so far. May be used by several threads."""

    count: int
    _made: dict[int, Mapping[str, Value]] = field(default_factory=dict)
    _times: list[StageTime] = field(default_factory=list)
    _ended: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, index: int, made: Mapping[str, Value], time: StageTime) -> bool:
        """Keep what item `index` gave; whether it was the last, so that `results` is complete."""
        with self._lock:
            self._made[index] = made
            self._times.append(time)
            return len(self._made) == self.count and not self._ended

    def end(self) -> bool:
        """The request goes no further because of one of its items; whether this is the first to say so."""
        with self._lock:
            first, self._ended = not self._ended, True
            return first

    @property
    def ended(self) -> bool:
        """Whether what the other items would give is of no use."""
        return self._ended

    @property
    def results(self) -> list[Mapping[str, Value]]:
        """By item, in their order."""
        return [self._made[index] for index in range(self.count)]

    @property
    def times(self) -> tuple[StageTime, ...]:
        return tuple(self._times)

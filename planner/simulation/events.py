"""The list of what is to happen: a binary heap in two arrays, compiled.

An event is its time and a key: (order of insertion, kind, subject) in one integer, so that what is due at the same time
happens in the order in which it was put in.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.simulation.compiling import compiled

Times: TypeAlias = NDArray[np.float64]
Keys: TypeAlias = NDArray[np.int64]

KIND_SHIFT: Final = 31
ORDER_SHIFT: Final = 34
SUBJECT_MASK: Final = (1 << KIND_SHIFT) - 1
KIND_MASK: Final = (1 << (ORDER_SHIFT - KIND_SHIFT)) - 1
MOST_EVENTS: Final = 1 << (63 - ORDER_SHIFT)
"""Insertions that keys can count."""


@compiled
def kind_of(key: int) -> int:
    return (key >> KIND_SHIFT) & KIND_MASK


@compiled
def subject_of(key: int) -> int:
    return key & SUBJECT_MASK


@compiled
def push(times: Times, keys: Keys, size: int, time: float, order: int, kind: int, subject: int) -> None:
    """Put an event into a heap of `size` events."""
    key = (order << ORDER_SHIFT) | (kind << KIND_SHIFT) | subject
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if times[above] < time or (times[above] == time and keys[above] < key):
            break
        times[at], keys[at] = times[above], keys[above]
        at = above
    times[at], keys[at] = time, key


@compiled
def remove_first(times: Times, keys: Keys, size: int) -> None:
    """Take the first event out of a heap of `size` events."""
    last = size - 1
    time, key = times[last], keys[last]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= last:
            break
        other = below + 1
        if other < last and (
            times[other] < times[below] or (times[other] == times[below] and keys[other] < keys[below])
        ):
            below = other
        if time < times[below] or (time == times[below] and key < keys[below]):
            break
        times[at], keys[at] = times[below], keys[below]
        at = below
    times[at], keys[at] = time, key

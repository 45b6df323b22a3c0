"""Dual feasible functions: what rules out that replicas fit whose cores would, in total.

Such a function gives each item a weight, so that what fits on one device weighs at most one. So the weights of all
items are at most the number of devices: of replicas with 4 threads, two fit on a device of 10 cores, not 2.5.
Lueker (1983), Bin packing with items uniformly distributed over intervals [a, b]; Fekete and Schepers (2001), New
classes of fast lower bounds for bin packing problems.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd
from typing import Final

MOST: Final = 64
"""Functions that are tried: with more of the smallest on a device, what is wasted is a small part of it."""


@dataclass(frozen=True, slots=True)
class Weights:
    """`of` an item with so many threads; what is on one device weighs at most `device`."""

    of: dict[int, int]
    device: int


def weights(threads: Iterable[int], cores: int) -> tuple[Weights, ...]:
    """The functions that are worth a row for items of these `threads`, each at most `cores`; the first is the total.

    Theirs is `u(x) = floor((k + 1) x) / k`, but `x` where `(k + 1) x` is whole, with `x = threads / cores`.
    """
    sizes = sorted(set(threads))
    if not sizes:
        return (Weights({}, cores),)
    found = [Weights({t: t for t in sizes}, cores)]
    for k in range(1, min(MOST, cores // sizes[0]) + 1):
        of = {t: k * t if (k + 1) * t % cores == 0 else (k + 1) * t // cores * cores for t in sizes}
        divisor = gcd(k * cores, *of.values())
        new = Weights({t: w // divisor for t, w in of.items()}, k * cores // divisor)
        if not any(_no_more(new, known) for known in found):
            found = [known for known in found if known is found[0] or not _no_more(known, new)] + [new]
    return tuple(found)


def _no_more(a: Weights, b: Weights) -> bool:
    """Whether every item is as heavy by `b` as by `a`, or heavier."""
    return all(a.of[t] * b.device <= b.of[t] * a.device for t in a.of)

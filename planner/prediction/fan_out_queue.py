"""The queue of a fan-out: a request's items come to several servers at once (M^X/G/c), and it waits for the last.

No formula is known for more than one server. The servers' free times are played instead, as Kiefer and Wolfowitz (1955)
say: an item goes to the server that is free first. Arrivals are Poisson, so that what a request finds does not depend
on how many items it brings (PASTA); from each state found, requests of every size are sent through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapreplace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.prediction.distribution import Reals

PLAYED: Final = 40_000
"""Requests at least; more where the queue is busy, since what they find is then alike for longer."""
MOST_PLAYED: Final = 200_000
STATES: Final = 8192
"""How many of the states found are kept."""
SEED: Final = 7


class Brought(NamedTuple):
    """A class of requests: how many a second, the items that each brings, and equally likely times of one item."""

    rate: float
    items: int
    values: Reals


@dataclass(frozen=True)
class FanOutQueue:
    """`servers` alike servers, first come first served. The load must be below 1."""

    servers: int
    brought: tuple[Brought, ...]
    found: NDArray[np.float64] = field(init=False)
    """Seconds until each server is free, sorted, by state and server."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", self._play())

    @property
    def first(self) -> Reals:
        """Equally likely waits until the first item is served."""
        waits: Reals = self.found[:, 0]
        return waits

    def last(self, items: int, values: Reals) -> Reals:
        """Equally likely times from the arrival of `items` items until the last of them is done."""
        return finish(self.found, items, values, np.random.default_rng(SEED + items))

    def _play(self) -> NDArray[np.float64]:
        load = sum(b.rate * b.items * float(b.values.mean()) for b in self.brought) / self.servers
        count = min(MOST_PLAYED, int(PLAYED / (1 - load) ** 2))
        random = np.random.default_rng(SEED)
        rates = np.array([b.rate for b in self.brought])
        kinds = random.choice(len(rates), count, p=rates / rates.sum())
        gaps = random.exponential(1 / rates.sum(), count)
        services = [random.choice(b.values, int((kinds == k).sum()) * b.items) for k, b in enumerate(self.brought)]
        return _found(kinds.tolist(), gaps.tolist(), [s.tolist() for s in services], self)


def _found(
    kinds: Sequence[int], gaps: Sequence[float], services: Sequence[Sequence[float]], queue: FanOutQueue
) -> NDArray[np.float64]:
    free = [0.0] * queue.servers
    items = [b.items for b in queue.brought]
    taken = [0] * len(items)
    every = max(1, len(kinds) // STATES)
    states: list[list[float]] = []
    now = 0.0
    for number, (kind, gap) in enumerate(zip(kinds, gaps, strict=True)):
        now += gap
        if number % every == every - 1:
            states.append([max(0.0, at - now) for at in free])
        first = taken[kind]
        for place in range(first, first + items[kind]):
            heapreplace(free, max(now, free[0]) + services[kind][place])
        taken[kind] = first + items[kind]
    return np.sort(np.array(states), axis=1)


def finish(free: NDArray[np.float64], items: int, values: Reals, random: np.random.Generator) -> Reals:
    """When the last of `items` items is done, for each row of times until servers are free; each goes to the first."""
    left = free.copy()
    rows = np.arange(len(left))
    done = np.zeros(len(left))
    for _ in range(items):
        server = left.argmin(axis=1)
        ends = left[rows, server] + random.permutation(evenly(values, len(rows)))
        left[rows, server] = ends
        done = np.maximum(done, ends)
    return done


def evenly(values: Reals, count: int) -> Reals:
    """`count` of the equally likely `values`, from all parts of their distribution alike."""
    picked: Reals = np.sort(values)[((np.arange(count) + 0.5) * len(values) / count).astype(np.int64)]
    return picked

"""The queue of a fan-out: a request's items come to servers at once (M^X/G^[1..b]/c), and it waits for the last.

No formula is known but for one server that takes one item at a time. The servers' free times are played instead, as
Kiefer and Wolfowitz (1955) say: an item goes to the server that is free first. Where servers take up to `batch` items
at once, of whichever requests, items that fill a batch are bound to its server when they come: only the last batch may
be open, and what it waits for (a server, more items, its oldest item's patience) is part of the state. Arrivals are
Poisson, so that what a request finds does not depend on how many items it brings (PASTA); from each state found,
requests of every size are sent through.
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
    """A class of requests: how many a second, the items that each brings, and equally likely times of one service."""

    rate: float
    items: int
    values: Reals


class Batches(NamedTuple):
    """Up to `most` items are served at once; the oldest of them waits up to `patience` seconds for others."""

    most: int = 1
    patience: float = 0.0


ALONE: Final = Batches()


class Found(NamedTuple):
    """States by row. `free`: seconds until each server is free, sorted; `open`: items in a batch that has not left, of
    which the oldest has waited `age` seconds.
    """

    free: NDArray[np.float64]
    open: NDArray[np.int64]
    age: NDArray[np.float64]


@dataclass(frozen=True)
class FanOutQueue:
    """`servers` alike servers, first come first served. The load, of full batches, must be below 1."""

    servers: int
    brought: tuple[Brought, ...]
    batches: Batches = ALONE
    found: Found = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", self._play())

    @property
    def first(self) -> Reals:
        """Equally likely waits until the first item is served."""
        if self.batches == ALONE:
            waits: Reals = self.found.free[:, 0]
            return waits
        random = np.random.default_rng(SEED)
        items = random.choice([b.items for b in self.brought], len(self.found.open), p=self._shares)
        return self._sent(items, self.brought[0].values, random)[0]

    def last(self, items: int, values: Reals) -> Reals:
        """Equally likely times from the arrival of `items` items until the last of them is done."""
        random = np.random.default_rng(SEED + items)
        if self.batches == ALONE:
            return finish(self.found.free, items, values, random)
        return self._sent(np.full(len(self.found.open), items), values, random)[1]

    def _sent(self, items: NDArray[np.int64], values: Reals, random: np.random.Generator) -> tuple[Reals, Reals]:
        """As `sent`, where what comes later comes by chance."""
        lacking = -(self.found.open + items) % self.batches.most
        return sent(self.found, items, self.batches, Services(values, self._filled(lacking, random), random))

    def _filled(self, lacking: NDArray[np.int64], random: np.random.Generator) -> Reals:
        """Seconds until requests bring so many more items, at least one."""
        shape = (len(lacking), self.batches.most)
        times = np.cumsum(random.exponential(1 / sum(b.rate for b in self.brought), shape), axis=1)
        items = random.choice([b.items for b in self.brought], shape, p=self._shares)
        enough = (np.cumsum(items, axis=1) >= lacking[:, None]).argmax(axis=1)
        filled: Reals = times[np.arange(len(lacking)), enough]
        return filled

    @property
    def _shares(self) -> NDArray[np.float64]:
        rates = np.array([b.rate for b in self.brought])
        shares: NDArray[np.float64] = rates / rates.sum()
        return shares

    def _play(self) -> Found:
        load = sum(b.rate * b.items * float(b.values.mean()) for b in self.brought) / (self.servers * self.batches.most)
        count = min(MOST_PLAYED, int(PLAYED / (1 - load) ** 2))
        random = np.random.default_rng(SEED)
        kinds = random.choice(len(self.brought), count, p=self._shares)
        gaps = random.exponential(1 / sum(b.rate for b in self.brought), count)
        if self.batches == ALONE:
            services = [random.choice(b.values, int((kinds == k).sum()) * b.items) for k, b in enumerate(self.brought)]
            return _found(kinds.tolist(), gaps.tolist(), [s.tolist() for s in services], self)
        items = np.array([b.items for b in self.brought])[kinds]
        times = random.choice(self.brought[0].values, int(items.sum()))
        return found_in_batches(gaps.tolist(), items.tolist(), times.tolist(), self.servers, self.batches)


def _found(
    kinds: Sequence[int], gaps: Sequence[float], services: Sequence[Sequence[float]], queue: FanOutQueue
) -> Found:
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
    return Found(np.sort(np.array(states), axis=1), np.zeros(len(states), np.int64), np.zeros(len(states)))


def found_in_batches(
    gaps: Sequence[float], items: Sequence[int], services: Sequence[float], servers: int, batches: Batches
) -> Found:
    """States before requests that come with these gaps and numbers of items; the k-th batch takes the k-th service."""
    free = [0.0] * servers
    most, patience = batches
    every = max(1, len(gaps) // STATES)
    states: list[list[float]] = []
    opened: list[tuple[int, float]] = []
    taken = waiting = 0
    now = since = 0.0
    for number, (gap, brought) in enumerate(zip(gaps, items, strict=True)):
        now += gap
        if waiting and (leaves := max(free[0], since + patience)) <= now:
            heapreplace(free, leaves + services[taken])
            taken += 1
            waiting = 0
        if number % every == every - 1:
            states.append([max(0.0, at - now) for at in free])
            opened.append((waiting, now - since))
        if not waiting:
            since = now
        waiting += brought
        while waiting >= most:
            heapreplace(free, max(free[0], now) + services[taken])
            taken += 1
            waiting -= most
            since = now
    waits, ages = zip(*opened, strict=True)
    return Found(np.sort(np.array(states), axis=1), np.array(waits, np.int64), np.array(ages))


class Services(NamedTuple):
    """What a request cannot know when it comes: times of services, and by state when its last batch will be full."""

    values: Reals
    filled: Reals
    random: np.random.Generator


def sent(found: Found, items: NDArray[np.int64], batches: Batches, later: Services) -> tuple[Reals, Reals]:
    """Of a request in each state with so many items: when its first batch leaves, and when its last one is done."""
    free, values = found.free.copy(), np.sort(later.values)
    rows = np.arange(len(free))
    full, rest = np.divmod(found.open + items, batches.most)
    oldest = np.where((full == 0) & (found.open > 0), -found.age, 0.0)
    due = np.minimum(later.filled, oldest + batches.patience)
    first, done = np.zeros(len(free)), np.zeros(len(free))
    for number in range(int((full + (rest > 0)).max())):
        goes = (number < full) | ((number == full) & (rest > 0))
        server = free.argmin(axis=1)
        leaves = np.maximum(free[rows, server], np.where(number < full, 0.0, due))
        ends = leaves + _drawn(values, len(rows), later.random)
        free[rows, server] = np.where(goes, ends, free[rows, server])
        done = np.where(goes, np.maximum(done, ends), done)
        first = leaves if number == 0 else first
    return first, done


def finish(free: NDArray[np.float64], items: int, values: Reals, random: np.random.Generator) -> Reals:
    """When the last of `items` items is done, for each row of times until servers are free; each goes to the first."""
    left, values = free.copy(), np.sort(values)
    rows = np.arange(len(left))
    done = np.zeros(len(left))
    for _ in range(items):
        server = left.argmin(axis=1)
        ends = left[rows, server] + _drawn(values, len(rows), random)
        left[rows, server] = ends
        done = np.maximum(done, ends)
    return done


def _drawn(values: Reals, count: int, random: np.random.Generator) -> Reals:
    """`count` of equally likely values, sorted, from all parts of their distribution alike, in any order."""
    return random.permutation(values[((np.arange(count) + 0.5) * len(values) / count).astype(np.int64)])

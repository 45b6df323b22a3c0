"""The table of servers: executors of `time` pools, directions of links, rates that links share, and pairings.

What visits a server is collected while options and transfers are made; its wait levels follow at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Final

from planner.formulation.names import ConstraintTable
from planner.formulation.numbers import sayable
from planner.moments import Moments
from planner.prediction.queueing import MAX_UTILISATION
from planner.problem import LIMIT, PPB, Server, Visit, WaitLevel

WAIT_RATIO: Final = 1.4
"""Between a server's wait levels; waits are rounded up to the next level."""
FINE: Final = 1000
"""Waits shorter than the tightest limit divided by this are not told apart."""
LONGEST: Final = 60.0
"""No wait (seconds) beyond this is promised."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Executors:
    """Of the pool of that index, which has at most so many devices."""

    pool: int
    most: int


@dataclass
class ServerTable:
    """`tightest` is the shortest limit of any path, in seconds."""

    constraints: ConstraintTable
    tightest: float
    _named: list[tuple[str, int]] = field(default_factory=list)
    _index: dict[Key, int] = field(default_factory=dict)
    _visits: dict[int, list[tuple[Visit, float]]] = field(default_factory=dict)
    _claimed: set[int] = field(default_factory=set)
    _executors: dict[int, Executors] = field(default_factory=dict)

    def add(self, key: Key, name: str, constraint: int, executors: Executors | None = None) -> int:
        """The index of the server that `key` stands for, which is added where it is new."""
        if key not in self._index:
            self._index[key] = len(self._named)
            self._named.append((name, constraint))
            if executors is not None:
                self._executors[self._index[key]] = executors
        return self._index[key]

    def of(self, key: Key) -> int:
        return self._index[key]

    def visit(self, server: int, rate: float, service: Moments) -> Visit:
        """What `rate` requests a second of `service` ask of a server. Raises InputError where it cannot be said."""
        name, constraint = self._named[server]
        place = self.constraints.place(constraint)
        work, load = (sayable(x, name, place) for x in (rate * service.second / 2 * 1e9, rate * service.mean * PPB))
        visit = Visit(server, max(1, work), max(1, load))
        spread = service.third / service.second if service.second > 0 else 0.0
        self._visits.setdefault(server, []).append((visit, spread))
        return visit

    def claim(self, key: Key, name: str, constraint: int) -> Visit:
        """A visit that fills the server that `key` stands for and takes no time: of its visits one can be chosen."""
        server = self.add(key, name, constraint)
        self._claimed.add(server)
        return Visit(server, 0, 1)

    def rows(self) -> tuple[Server, ...]:
        most = int(MAX_UTILISATION * PPB)
        return tuple(
            Server(name, constraint, 1 if i in self._claimed else most, self._levels(i), self._pools(i))
            for i, (name, constraint) in enumerate(self._named)
        )

    def _pools(self, server: int) -> tuple[int, ...]:
        return (self._executors[server].pool,) if server in self._executors else ()

    def _levels(self, server: int) -> tuple[WaitLevel, ...]:
        """Waits w rise by `WAIT_RATIO`. Var = w^2 + (2/3) w S with S the largest E[S^3]/E[S^2] of the visits:
        E[W^2] = 2 w^2 + sum(l E[S^3]) / (3 (1-r)), and sum(l E[S^3]) <= S sum(l E[S^2]) = S 2 w (1-r).
        """
        visits = self._visits.get(server, [])
        devices = max(1, self._executors[server].most) if server in self._executors else 1
        levels = [WaitLevel(0, 0)]
        if not visits:
            return tuple(levels)
        worst = max(spread for _, spread in visits)
        high = min(LONGEST, sum(v.work_ns for v, _ in visits) * 1e-9 / (1 - MAX_UTILISATION))
        wait = max(1e-6, min(high, max(self.tightest / FINE, min(v.work_ns for v, _ in visits) * 1e-9 / devices)))
        while True:
            rounded = ceil(wait * 1e6)
            variance = ceil(((rounded * 1e-6) ** 2 + 2 / 3 * worst * rounded * 1e-6) * 1e12)
            if variance > LIMIT:
                break  # a longer wait than a Problem can say is not promised
            levels.append(WaitLevel(rounded, variance))
            if wait >= high:
                break
            wait *= WAIT_RATIO
        return tuple(levels)

"""When a search ends, and what it tells on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """The first objective's best value and bound so far (None: none yet), `seconds` after the beginning."""

    seconds: float
    objective: int | None
    bound: int | None

    @property
    def gap(self) -> float | None:
        """The relative distance of the objective from its bound."""
        if self.objective is None or self.bound is None:
            return None
        return abs(self.objective - self.bound) / max(1, abs(self.objective))


def silent(_: Progress) -> None:
    """Tells nobody."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End after `time_limit` seconds, or within the relative `gap` of a bound. `tell` hears of progress.

    Equal seeds give equal choices as long as the time limit does not bind. The exact strategies look only for choices
    with a first objective of `at_most`, if it is given; `infeasible` then means that there is none of these.
    """

    time_limit: float = 60.0
    gap: float = 0.0
    seed: int = 0
    tell: Callable[[Progress], None] = silent
    at_most: int | None = None


class Clock:
    """Seconds since it was made, what is left, and the first objective's standing, told as it changes."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.started = time.perf_counter()
        self.objective: int | None = None
        self.bound: int | None = None
        self.first: float | None = None
        self.best: float | None = None

    @property
    def spent(self) -> float:
        return time.perf_counter() - self.started

    @property
    def left(self) -> float:
        return self.stop.time_limit - self.spent

    def found(self, objective: int) -> None:
        """A plan that keeps all constraints has this first objective."""
        if self.objective is None or objective < self.objective:
            self.objective = objective
            self.best = self.spent
            self.first = self.best if self.first is None else self.first
            self._tell()

    def proven(self, bound: int) -> None:
        """No plan has a first objective below this."""
        if self.bound is None or bound > self.bound:
            self.bound = bound
            self._tell()

    def _tell(self) -> None:
        self.stop.tell(Progress(self.spent, self.objective, self.bound))

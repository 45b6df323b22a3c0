"""Laws of service times and sizes that are known in full, and the profile that a measurement would leave of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from specs.behaviour import PayloadSize
from specs.profile import Distribution
from specs.statistics import PROBABILITIES

Reals = NDArray[np.float64]
WITHIN: Final = 0.1
"""Coefficient of variation of each of the two modes of a bimodal law."""
RUNS: Final = 100_000


@dataclass(frozen=True)
class Lognormal:
    """Of this mean (seconds or bytes) and coefficient of variation."""

    mean: float
    cv: float

    @cached_property
    def _log(self) -> NormalDist:
        s2 = log(1 + self.cv**2)
        return NormalDist(log(self.mean) - s2 / 2, sqrt(s2))

    def moment(self, k: int) -> float:
        return exp(k * self._log.mean + k**2 * self._log.variance / 2)

    def below(self, x: float) -> float:
        return self._log.cdf(log(x)) if x > 0 else 0.0

    def drawn(self, random: np.random.Generator, n: int) -> Reals:
        return random.lognormal(self._log.mean, self._log.stdev, n)

    def times(self, factor: float) -> Lognormal:
        return Lognormal(self.mean * factor, self.cv)


@dataclass(frozen=True)
class Bimodal:
    """A share `slow` takes longer than the rest by what gives the whole this coefficient of variation.

    It is at least `WITHIN`, which either mode has of its own.
    """

    mean: float
    cv: float
    slow: float

    @cached_property
    def modes(self) -> tuple[Lognormal, Lognormal]:
        """The quick one and the slow one."""

        def second(ratio: float) -> float:
            mean = 1 - self.slow + self.slow * ratio
            return (1 + WITHIN**2) * (1 - self.slow + self.slow * ratio**2) / mean**2

        ratio = _root(lambda r: second(r) - 1 - self.cv**2, 1.0, 1e6)
        quick = self.mean / (1 - self.slow + self.slow * ratio)
        return Lognormal(quick, WITHIN), Lognormal(quick * ratio, WITHIN)

    def moment(self, k: int) -> float:
        quick, slow = self.modes
        return (1 - self.slow) * quick.moment(k) + self.slow * slow.moment(k)

    def below(self, x: float) -> float:
        quick, slow = self.modes
        return (1 - self.slow) * quick.below(x) + self.slow * slow.below(x)

    def drawn(self, random: np.random.Generator, n: int) -> Reals:
        quick, slow = self.modes
        return np.where(random.random(n) < self.slow, slow.drawn(random, n), quick.drawn(random, n))

    def times(self, factor: float) -> Bimodal:
        return Bimodal(self.mean * factor, self.cv, self.slow)


Law = Lognormal | Bimodal
Kind = Literal["lognormal", "bimodal"]


def quantile(law: Law, level: float) -> float:
    """The value that a share `level` of all is below."""
    return _root(lambda x: law.below(x) - level, 0.0, 1e4 * law.mean)


def measured(law: Law) -> Distribution:
    """What a long measurement of times would write into a profile."""
    at = {str(p): quantile(law, p) for p in PROBABILITIES}
    m1, m2, m3 = (law.moment(k) for k in (1, 2, 3))
    return Distribution(mean=m1, second=m2, third=m3, quantiles=at, n=RUNS, spread=0.0)


def sized(law: Law) -> PayloadSize:
    """The same of sizes."""
    of = measured(law)
    return PayloadSize(mean=of.mean, second=of.second, third=of.third, quantiles=of.quantiles)


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising `f` passes 0, by bisection."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    return high

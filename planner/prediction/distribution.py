"""Distributions of times on a grid, as Fourier transforms: sums are products.

A value between two grid points is split between them so that the mean is kept. Mass beyond the horizon is put at its
end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Transform = NDArray[np.complex128]

POINTS: Final = 4096
"""Equally likely values that stand for a distribution known by its quantiles."""
_LEVELS: Final[Reals] = np.asarray((np.arange(POINTS) + 0.5) / POINTS, dtype=np.float64)


@dataclass(frozen=True)
class Grid:
    """`size` steps of `step` seconds; transforms have room for twice that, so that sums do not wrap around."""

    step: float
    size: int = 8192

    def transform(self, values: Reals) -> Transform:
        """Of equally likely `values` in seconds."""
        at = np.clip(values / self.step, 0.0, self.size - 1.0)
        low = np.floor(at).astype(np.int64)
        part = at - low
        mass = np.bincount(low, 1.0 - part, self.size) + np.bincount(
            np.minimum(low + 1, self.size - 1), part, self.size
        )
        return self._forward(mass / len(values))

    def masses(self, transform: Transform) -> Reals:
        """The probability at each grid point; sums to 1."""
        mass = np.maximum(np.fft.irfft(transform, 2 * self.size), 0.0)
        kept: Reals = mass[: self.size].copy()
        kept[-1] += mass[self.size :].sum()
        kept /= kept.sum()
        return kept

    def slowest(self, transforms: Sequence[Transform]) -> Transform:
        """Of the largest of independent times."""
        if len(transforms) == 1:
            return transforms[0]
        below = np.prod([np.cumsum(self.masses(t)) for t in transforms], axis=0)
        return self._forward(np.diff(below, prepend=0.0))

    def waiting(self, service: Transform, busy: float, load: float) -> Transform:
        """Of a wait: 0 with probability 1 - `busy`, else an M/G/1 wait at utilisation `load` of those who wait at all.

        Pollaczek and Khinchine: that is a geometric number (from 1 on) of residual services, whose density is the
        probability that a service is longer, divided by its mean.
        """
        one = np.ones_like(service)
        if busy <= 0 or load <= 0:
            return one
        mass = self.masses(service)
        longer = np.concatenate([np.cumsum(mass[::-1])[::-1][1:], [0.0]])
        if longer.sum() <= 0:
            return one
        cells = longer / longer.sum()
        residual = np.zeros(self.size)
        residual += cells / 2
        residual[1:] += cells[:-1] / 2
        residual[-1] += cells[-1] / 2
        through = self._forward(residual)
        queue = through * (1 - load) / (1 - load * through)
        return (1 - busy) + busy * queue

    def times(self, transform: Transform, factor: int) -> Transform:
        """Of `factor` times the time."""
        mass = self.masses(transform)
        at = np.minimum(np.arange(self.size) * factor, self.size - 1)
        return self._forward(np.bincount(at, mass, self.size).astype(np.float64))

    def mean(self, transform: Transform) -> float:
        return float(np.dot(self.masses(transform), np.arange(self.size)) * self.step)

    def quantiles(self, transform: Transform, levels: Sequence[float]) -> list[float]:
        """Seconds. Each grid point's mass counts as spread around it, half on either side."""
        mass = self.masses(transform)
        below = np.cumsum(mass) - mass / 2
        first = float(mass[0])
        found = np.interp(levels, below, np.arange(self.size) * self.step)
        return [0.0 if level <= first else float(x) for level, x in zip(levels, found, strict=True)]

    def below(self, transform: Transform, seconds: float) -> float:
        """The probability of no more than so many seconds, as `quantiles` says it; 1 from the end of the grid on."""
        if seconds >= (self.size - 1) * self.step:
            return 1.0
        mass = self.masses(transform)
        return float(np.interp(seconds, np.arange(self.size) * self.step, np.cumsum(mass) - mass / 2))

    def _forward(self, mass: Reals) -> Transform:
        return np.fft.rfft(mass, 2 * self.size)


def from_quantiles(points: Sequence[tuple[float, float]], mean: float) -> Reals:
    """Equally likely values of a distribution known by (probability, value) points and its mean.

    Between points values are spread evenly. Above the last point (if below 1) they reach as far as the mean asks for;
    below the first they end where the first two points, prolonged, say.
    """
    known = sorted(points)
    if not known:
        return np.full(POINTS, mean)
    p = [a for a, _ in known]
    x = [b for _, b in known]
    if p[0] > 0:
        slope = (x[1] - x[0]) / (p[1] - p[0]) if len(p) > 1 else 0.0
        x.insert(0, max(0.0, x[0] - slope * p[0]))
        p.insert(0, 0.0)
    if p[-1] < 1:
        rest = 1 - p[-1]
        flat = sum((b - a) * (u + v) / 2 for a, b, u, v in zip(p, p[1:], x, x[1:], strict=False)) + rest * x[-1]
        x.append(x[-1] + max(0.0, 2 * (mean - flat) / rest))
        p.append(1.0)
    values: Reals = np.interp(_LEVELS, p, x)
    shift = mean / float(values.mean()) if values.mean() > 0 else 1.0
    # The mean is exact, the quantiles are rounded: a small difference is taken out, a large one is not hidden.
    scaled: Reals = values * (shift if 0.95 <= shift <= 1.05 else 1.0)
    return scaled


def independent_sum(parts: Sequence[Reals]) -> Reals:
    """Equally likely values of the sum of independent times: each is added in a shuffled (but fixed) order."""
    total = parts[0]
    for number, values in enumerate(parts[1:], 1):
        total = total + np.random.default_rng(number).permutation(values)
    return total


def normal(mean: float, deviation: float) -> Reals:
    """Equally likely values of a normal distribution cut off at 0."""
    if deviation <= 0:
        return np.full(1, mean)
    values: Reals = np.maximum(0.0, mean + deviation * _standard_normal())
    return values


@cache
def _standard_normal() -> Reals:
    from statistics import NormalDist

    inverse = NormalDist().inv_cdf
    values: Reals = np.array([inverse(float(u)) for u in _LEVELS[::8]])
    return values

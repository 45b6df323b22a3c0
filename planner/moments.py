"""The first moments of a time or a size, and of sums of independent ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Moments:
    """The raw moments E[x], E[x^2] and E[x^3] of a time in seconds (or of a size in bytes)."""

    mean: float
    second: float
    third: float

    @property
    def variance(self) -> float:
        return max(0.0, self.second - self.mean**2)

    def scaled(self, factor: float) -> Moments:
        """Of `factor` times the value."""
        return Moments(self.mean * factor, self.second * factor**2, self.third * factor**3)

    def plus(self, other: Moments) -> Moments:
        """Of the sum with an independent value."""
        return Moments(
            self.mean + other.mean,
            self.second + 2 * self.mean * other.mean + other.second,
            self.third + 3 * self.second * other.mean + 3 * self.mean * other.second + other.third,
        )

    def times(self, count: int) -> Moments:
        """Of the sum of `count` independent values."""
        total = ZERO
        for _ in range(count):
            total = total.plus(self)
        return total


ZERO: Final = Moments(0.0, 0.0, 0.0)

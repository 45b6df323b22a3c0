"""What moments and quantiles of a quantity that is never negative must satisfy, whoever wrote them into a file."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

ROUNDING: Final = 1e-4
"""Relative: files keep six significant digits, and a cube triples the error."""

LARGEST: Final = 1e15
"""Seconds or bytes: beyond what anything takes, and its cube is still a number."""


def check_moments(mean: float, second: float, third: float) -> None:
    """Raises ValueError where no random variable X >= 0 has E[X], E[X^2], E[X^3] as given.

    They are at most `LARGEST` and its powers; E[X^2] >= E[X]^2; E[X] E[X^3] >= E[X^2]^2 (Cauchy-Schwarz on X^(1/2)
    and X^(3/2)).
    """
    if min(mean, second, third) < 0:
        raise ValueError(f"expected moments of at least 0, got {min(mean, second, third):g}")
    for power, moment in enumerate((mean, second, third), 1):
        if moment > LARGEST**power:
            raise ValueError(f"expected a moment of order {power} of at most {LARGEST**power:g}, got {moment:g}")
    if second < mean**2 * (1 - ROUNDING) or mean * third < second**2 * (1 - ROUNDING):
        raise ValueError(f"nothing has the moments {mean:g}, {second:g}, {third:g}")


def check_quantiles(quantiles: Mapping[str, float]) -> None:
    """Raises ValueError where a key is no probability, or the values are negative or do not rise."""
    points: list[tuple[float, float]] = []
    for text, value in quantiles.items():
        try:
            probability = float(text)
        except ValueError:
            probability = -1.0
        if not 0 <= probability <= 1:
            raise ValueError(f"expected quantiles by probability from 0 to 1, got {text[:20]!r}")
        points.append((probability, value))
    points.sort()
    values = [0.0, *(value for _, value in points)]
    if any(before > after for before, after in pairwise(values)):
        raise ValueError("expected quantiles that rise from 0 or above")

"""A sample of service times as the Distribution that a profile keeps, and how sure a share is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from specs.profile import Distribution

PROBABILITIES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_BLOCKS = 5
Z: Final = 1.959963984540054
"""Of the normal distribution: 95 % lie within so many standard deviations."""


def summarise(seconds: Sequence[float]) -> Distribution:
    """Moments, quantiles and spread of at least two service times, in the order in which they were measured.

    Of PROBABILITIES those appear of which the sample holds at least one value beyond; the least and the greatest value
    stand at (1/2)/n and 1 - (1/2)/n (Hazen's plotting positions), so that tails of short samples are not cut off.
    """
    times = np.asarray(seconds, np.float64)
    n = len(times)
    inside = [p for p in PROBABILITIES if min(p, 1 - p) * n >= 1 - 1e-9]
    edges = (round(0.5 / n, 6), round(1 - 0.5 / n, 6))
    probabilities = sorted({*inside, *edges, 0.5})
    values = np.quantile(times, probabilities, method="hazen")
    medians = [float(np.median(block)) for block in np.array_split(times, min(_BLOCKS, n))]
    return Distribution(
        mean=float(times.mean()),
        second=float((times**2).mean()),
        third=float((times**3).mean()),
        quantiles={f"{p:g}": float(v) for p, v in zip(probabilities, values, strict=True)},
        n=n,
        spread=(max(medians) - min(medians)) / 2,
    )


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share of `right` in `n`.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n); E. B. Wilson, 1927.
    """
    p, z2 = right / n, Z**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half))

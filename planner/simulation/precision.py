"""Whether a simulation knows percentiles well enough to hold a prediction against them.

A prediction may be off by `TOLERANCE`. Two simulations of the same plan that each know a percentile to half of that
differ by less in all but one of a hundred cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from planner.prediction.distribution import Reals
from planner.simulation.figures import half_width
from specs.plan import Percentiles

TOLERANCE: Final[Mapping[str, float]] = {"p50": 0.03, "p99": 0.05}
"""Share of a percentile by which a prediction of it and a simulation may differ."""
LEVELS: Final[Mapping[str, float]] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
Interval = tuple[float, float]


def intervals(seconds: Reals, simulated: Percentiles) -> dict[str, Interval]:
    """Milliseconds: the 95 % confidence interval of each percentile that has one, by its name; `simulated` are those
    of `seconds`."""
    found: dict[str, Interval] = {}
    for name, level in LEVELS.items():
        half = half_width(seconds, level)
        if half is not None:
            middle = getattr(simulated, f"{name}_ms")
            found[name] = (max(0.0, middle - half * 1e3), middle + half * 1e3)
    return found


def uncertainty(known: Mapping[str, Interval]) -> dict[str, float]:
    """Of each percentile of `TOLERANCE`: half the width of its interval, as a share; infinite where it has none."""
    return {name: _share(*known[name]) if name in known else math.inf for name in TOLERANCE}


def imprecision(known: Mapping[str, Interval]) -> float:
    """The worst `uncertainty`, in multiples of what it may be: 1 is just well enough."""
    return max(share / (TOLERANCE[name] / 2) for name, share in uncertainty(known).items())


def _share(low: float, high: float) -> float:
    return (high - low) / (high + low) if high > 0 else 0.0

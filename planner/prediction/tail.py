"""When a path of known mean and variance keeps a limit: tables by the lognormal distribution (Fenton and Wilkinson).

A path's time is taken as lognormal with the path's mean and variance. A path with a smaller mean than a row's is sooner
than itself plus a constant that makes up the difference, which has the row's mean and the same variance; so the row's
promise holds for it too, and rounding is to the safe side.
"""

from __future__ import annotations

from math import exp, log, sqrt
from statistics import NormalDist
from typing import Final

from planner.problem import LIMIT, PPB, TailRow

MEANS: Final = 16
"""Steps of the mean between 0 and the limit."""
SHARES: Final = (1.0, 0.9, 0.6, 0.3, 0.05)
"""Parts of the allowed excess that one path of one branch pattern may take, where there are several."""


def largest_variance(mean: float, limit: float, excess: float) -> float | None:
    """The largest variance at which a lognormal time of this `mean` exceeds `limit` with probability <= `excess`.

    With s^2 = log(1 + v/mean^2), the quantile is mean exp(z s - s^2/2). It rises in s up to s = z, and only that
    branch is used. None where even variance 0 is too much.
    """
    if mean > limit:
        return None
    if mean <= 0:
        return 0.0
    z = NormalDist().inv_cdf(1 - excess)
    room = log(limit / mean)
    if z <= 0:
        return limit**2 * 100  # at the median and below, more variance only lowers the quantile
    inside = z * z - 2 * room
    s = z if inside <= 0 else z - sqrt(inside)
    return mean**2 * (exp(min(s * s, 40.0)) - 1)


def tail_rows(limit_us: int, allowed: float, probability: float, alone: bool) -> tuple[TailRow, ...]:
    """Rows for one branch pattern of `probability` among the requests, of which a share `allowed` may be late.

    `alone` says that it has one path and that there is no other pattern: it may take all that is allowed.
    """
    rows: list[TailRow] = []
    if probability <= allowed:
        rows.append(TailRow(LIMIT, LIMIT, _ceil(probability * PPB)))
    for share in (1.0,) if alone else SHARES:
        excess = share * allowed / probability
        if excess >= 1:
            continue
        best = -1
        for step in range(MEANS, 0, -1):
            mean = limit_us * step // MEANS
            variance = largest_variance(mean, limit_us, excess)
            if variance is None or mean < 1:
                continue
            bounded = min(LIMIT, int(variance))
            if bounded > best:  # a smaller mean that allows no more variance is of no use
                rows.append(TailRow(mean, bounded, _ceil(share * allowed * PPB)))
                best = bounded
    return tuple(rows)


def _ceil(x: float) -> int:
    return -int(-(x - 1e-6) // 1)

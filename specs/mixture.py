"""Times of requests that go to one of several buckets: a mixture of the times in each, weighted by the shares.

Moments of a mixture are the weighted sums of moments. So is its distribution function: with those of the parts linear
between their quantiles, it is linear between all of their quantiles, and its own are read off there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from specs.profile import BucketTimes, Distribution, Record

_STEP: Final = 1e-7
"""Between the two probabilities at which a mixture jumps from the times of one bucket to those of the next."""
_STANDARD: Final = (0.5, 0.9, 0.95, 0.99)


def shares_of(lengths: Iterable[Mapping[str, float]], sizes: Sequence[int]) -> dict[int, float]:
    """The share of requests in each bucket, by its size; `lengths` has shares by length, a mapping a case.

    Where cases differ (of other variants before the component), no length may be promised to be rarer than in any of
    them: of the requests up to each size, the smallest share counts. Lengths beyond the largest size count in that.
    """
    cases = list(lengths)
    shares: dict[int, float] = {}
    before = 0.0
    for size in sizes[:-1]:
        up_to = min((sum(p for length, p in case.items() if int(length) <= size) for case in cases), default=0.0)
        shares[size] = max(0.0, min(1.0, up_to) - before)
        before += shares[size]
    shares[sizes[-1]] = max(0.0, 1 - before)
    return rounded(shares)


def rounded(shares: Mapping[int, float]) -> dict[int, float]:
    """As a file keeps them: what is read back from it is then the same."""
    return {size: float(f"{share:.6g}") for size, share in shares.items()}


def remixed(record: Record, shares: Mapping[int, float]) -> Record:
    """`record` as if `shares` of requests, by size, were in its buckets; the same where they are."""
    if record.buckets is None or record.shares == shares:
        return record
    buckets = tuple(BucketTimes(size=b.size, share=shares[b.size], latency=b.latency) for b in record.buckets)
    return record.model_copy(update={"buckets": buckets, "latency": mixture(buckets)})


def mixture(buckets: Sequence[BucketTimes]) -> Distribution:
    """The times of all requests together.

    `n` is the number of runs that would tell as much of a sample that is not stratified: 1 / sum(share^2 / n).
    """
    parts = [(b.share, b.latency) for b in buckets if b.share > 0]
    if len(parts) == 1:
        return parts[0][1]
    runs = sum(share**2 / of.n for share, of in parts) if all(of.n for _, of in parts) else 0.0
    return Distribution(
        mean=sum(share * of.mean for share, of in parts),
        second=sum(share * of.second for share, of in parts),
        third=sum(share * of.third for share, of in parts),
        quantiles=_quantiles([(share, _whole(of)) for share, of in parts]),
        n=int(1 / runs) if runs else 0,
        spread=sum(share * of.spread for share, of in parts),
    )


def _whole(of: Distribution) -> list[tuple[float, float]]:
    """Points (probability, seconds) from 0 to 1.

    Below the first point times end where the first two, prolonged, say; above the last they reach as far as the mean
    asks for: as the planner reads quantiles of one distribution.
    """
    points = of.points()
    (p, x), *others = points
    if p > 0:
        slope = (others[0][1] - x) / (others[0][0] - p) if others else 0.0
        points.insert(0, (0.0, max(0.0, x - slope * p)))
    p, x = points[-1]
    if p < 1:
        flat = sum((b - a) * (u + v) / 2 for (a, u), (b, v) in pairwise(points)) + (1 - p) * x
        points.append((1.0, x + max(0.0, 2 * (of.mean - flat) / (1 - p))))
    return points


def _quantiles(parts: Sequence[tuple[float, list[tuple[float, float]]]]) -> dict[str, float]:
    """Of the mixture, by probability: everywhere where the density of a part changes, and at the usual ones."""
    found: list[tuple[float, float]] = []
    for x in sorted({x for _, points in parts for _, x in points}):
        below = sum(share * _reached(points, x, under=True) for share, points in parts)
        up_to = sum(share * _reached(points, x, under=False) for share, points in parts)
        found += [(below, x), (up_to, x)]
    found += [(p, _at(found, p)) for p in _STANDARD]
    quantiles: dict[str, float] = {}
    last = -1.0
    for p, x in sorted(found):
        p = min(1.0, round(p, 7))
        if quantiles and p <= last and x == quantiles[f"{last:.7g}"]:
            continue
        if p > last or not quantiles:
            quantiles[f"{p:.7g}"] = x
            last = p
        elif last + _STEP < 1:  # a jump: no time lies between those of two buckets
            last = round(last + _STEP, 7)
            quantiles[f"{last:.7g}"] = x
        else:
            quantiles["1"] = x
            last = 1.0
    return quantiles


def _reached(points: Sequence[tuple[float, float]], x: float, under: bool) -> float:
    """The probability of times up to `x`, or below it."""
    times = [v for _, v in points]
    if x < times[0] or (under and x == times[0]):
        return 0.0
    i = bisect_right(times, x)
    if under and x in times:
        return points[times.index(x)][0]
    if i == len(points):
        return 1.0
    (p, u), (q, v) = points[i - 1], points[i]
    return p + (q - p) * (x - u) / (v - u)


def _at(points: Sequence[tuple[float, float]], p: float) -> float:
    """The time at probability `p`, between the points (which rise)."""
    for (a, u), (b, v) in pairwise(points):
        if b >= p:
            return u if b == a or p <= a else u + (v - u) * (p - a) / (b - a)
    return points[-1][1]

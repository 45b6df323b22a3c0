"""That the times of models with buckets are mixed as the lengths of their inputs are: the other way round.

Shares come from the lengths themselves, length by length, and each time at which a quantile is stated is looked up in
every bucket.
"""

from __future__ import annotations

import numpy as np

from planner.verification.claims import Claims
from planner.verification.reading import Reading
from specs.profile import BucketTimes, Distribution, Record

_EXACT = 1e-4
"""Relative: what six digits in a file leave."""
_PROBABILITY = 2e-3
"""Of a quantile: where distributions are steep, rounding a time moves its probability."""


def check_mixes(reading: Reading, claims: Claims) -> None:
    for a in reading.plan.assignments:
        record = reading.records[a.record]
        if record.buckets is not None:
            _check(reading, claims, f"{a.component} at {a.site}", a.component, record, record.buckets)


def _check(
    reading: Reading, claims: Claims, name: str, component: str, record: Record, buckets: tuple[BucketTimes, ...]
) -> None:
    up_to = _up_to(reading, component, [b.size for b in buckets])
    said = np.cumsum([b.share for b in buckets])
    for bucket, found, claimed in zip(buckets, up_to, said, strict=True):
        claims.equal(f"{name}: share of lengths up to {bucket.size}", float(claimed), found, _EXACT, 1e-5)
    total = np.zeros(3)
    for b in buckets:
        total += b.share * np.array([b.latency.mean, b.latency.second, b.latency.third])
    own = (record.latency.mean, record.latency.second, record.latency.third)
    for what, claimed, found in zip(("mean", "second moment", "third moment"), own, total.tolist(), strict=True):
        claims.equal(f"{name}: {what} of all buckets together", claimed, found, _EXACT, 0.0)
    points = record.latency.points()
    inner = [(p, x) for p, x in points if all(_within(b.latency, x) for b in buckets if b.share > 0)]
    for p, x in inner:
        found = sum(b.share * float(np.interp(x, *_curve(b.latency))) for b in buckets)
        claims.add(f"{name}: share of times up to {1e3 * x:.3g} ms", p, found, abs(p - found) <= _PROBABILITY)


def _up_to(reading: Reading, component: str, sizes: list[int]) -> list[float]:
    """The least share of inputs of at most each size, over the combinations of variants; all are within the last."""
    dimension = reading.app.components[component].dimension
    if dimension is not None and dimension[1].mix is not None:
        return [float(x) for x in np.cumsum(dimension[1].mix)[:-1]] + [1.0]
    cases = [dict(b.lengths or {}).get(component, {}) for b in reading.situation.behaviours]
    shares = [
        min((sum(case[n] for n in case if int(n) <= size) for case in cases if case), default=0.0) for size in sizes
    ]
    return [*np.maximum.accumulate(shares[:-1]).tolist(), 1.0]


def _within(latency: Distribution, x: float) -> bool:
    """Whether it is stated how probable times up to `x` are, rather than prolonged."""
    points = latency.points()
    return points[0][1] < x < points[-1][1]


def _curve(latency: Distribution) -> tuple[list[float], list[float]]:
    """Seconds and the probabilities of times up to them."""
    points = latency.points()
    return [x for _, x in points], [p for p, _ in points]

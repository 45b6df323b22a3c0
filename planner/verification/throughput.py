"""What a placement carries, by load of each source at each queue."""

from __future__ import annotations

import math

from planner.verification.capacity import HIGHEST_LOAD
from planner.verification.claims import Claims
from planner.verification.reading import Reading
from specs.application import ThroughputConstraint


def asked(reading: Reading) -> dict[str, float]:
    """By source, the rate of one member that is to be carried: its peak at least."""
    found = {source: spec.rate.peak for source, spec in reading.app.sources.items()}
    for c in reading.app.constraints.values():
        if isinstance(c, ThroughputConstraint):
            source = c.from_ or next(iter(found))
            found[source] = max(found[source], c.throughput)
    return found


def highest_rate(reading: Reading, source: str) -> float:
    """Of one member of `source`, by halving: the others ask what is to be carried of them."""
    low, high = 0.0, 1e18
    while high - low > 1e-9 * high:
        middle = math.sqrt(low * high) if low > 0 else high / 1e3
        rates = asked(reading) | {source: middle}
        fits = max(reading.loads(rates).values()) <= HIGHEST_LOAD
        low, high = (middle, high) if fits else (low, middle)
        if high < 1e-9:
            return 0.0
    return low


def check_carried(reading: Reading, claims: Claims) -> None:
    """The multiple of all peaks that a plan says it carries, and the queue that stops more."""
    limits = [c for c in reading.app.constraints.values() if isinstance(c, ThroughputConstraint)]
    claim = reading.plan.carries
    if not limits and "throughput" not in reading.app.objective:
        claims.holds("carries: not asked for", claim is None)
    elif claims.holds("carries: said", claim is not None) and claim is not None:
        fullest = max(reading.loads().values())
        claims.equal("carries: multiple", claim.multiple, HIGHEST_LOAD / fullest, 1e-4)

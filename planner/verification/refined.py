"""What a plan says that a simulation gave is what the same simulation gives again."""

from __future__ import annotations

import math
from typing import Final

from planner.verification.claims import Claims
from planner.verification.reading import Reading
from specs.plan import Refinement

AGAIN: Final = 1e-3
"""Relative difference allowed of one simulation, played twice; figures in a plan are rounded."""


def check_refined(reading: Reading, claims: Claims) -> None:
    """The one claim that is played again with the code that made it: what it speaks of is that simulation."""
    refined = reading.plan.refined
    if refined is not None:
        _played_again(reading, refined, claims)


def _played_again(reading: Reading, refined: Refinement, claims: Claims) -> None:
    from planner.refinement import MOST_REQUESTS, simulated  # numba, which no other claim needs

    if not claims.holds("refined: as many requests as may be played", refined.requests <= MOST_REQUESTS):
        return
    found = simulated(reading.situation, reading.plan, refined.requests, refined.seed)
    names = [r.name for r in refined.limits]
    if not claims.holds("refined: every limit, once", sorted(names) == sorted(found)):
        return
    if not claims.holds("refined: enough requests for intervals", all(p.half < math.inf for p in found.values())):
        return
    for r in refined.limits:
        now = found[r.name]
        claims.equal(f"refined {r.name}: limit", r.limit_ms, now.limit * 1e3, 1e-5)
        claims.equal(f"refined {r.name}: simulated", r.simulated_ms, now.simulated * 1e3, AGAIN)
        claims.equal(f"refined {r.name}: low", r.low_ms, max(0.0, now.simulated - now.half) * 1e3, AGAIN)
        claims.equal(f"refined {r.name}: high", r.high_ms, now.high * 1e3, AGAIN)
        claims.at_most(f"refined {r.name}: kept", now.high, now.limit * (1 + 1e-5))

"""What a plan says that a simulation gave is what the same simulation gives again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from planner.verification.claims import Claims
from planner.verification.reading import Reading
from specs.plan import Percentiles, Plan, Refinement

if TYPE_CHECKING:
    from planner.refinement import ComparedPath

AGAIN: Final = 1e-3
"""Relative difference allowed of one simulation, played twice; figures in a plan are rounded."""


def check_refined(reading: Reading, claims: Claims) -> None:
    """The one claim that is played again with the code that made it: what it speaks of is that simulation."""
    refined = reading.plan.refined
    if refined is not None:
        _played_again(reading, refined, claims)


def _played_again(reading: Reading, refined: Refinement, claims: Claims) -> None:
    from planner.refinement import MOST_REQUESTS, compared  # numba, which no other claim needs

    longer = refined.missed_at
    known = longer is None or (longer > refined.requests and reading.plan.status == "feasible")
    claims.holds("refined: feasible if a longer simulation missed", known)
    if not claims.holds("refined: as many requests as may be played", refined.requests <= MOST_REQUESTS):
        return
    again = compared(reading.situation, reading.plan, refined.requests, refined.seed)
    _paths_again(reading.plan, refined, again.paths, claims)
    found = again.limits
    names = [r.name for r in refined.limits]
    if not claims.holds("refined: every limit, once", sorted(names) == sorted(found)):
        return
    if not claims.holds("refined: enough requests for intervals", all(p.high < math.inf for p in found.values())):
        return
    for r in refined.limits:
        now = found[r.name]
        claims.equal(f"refined {r.name}: limit", r.limit_ms, now.limit * 1e3, 1e-5)
        claims.equal(f"refined {r.name}: simulated", r.simulated_ms, now.simulated * 1e3, AGAIN)
        claims.equal(f"refined {r.name}: predicted", r.predicted_ms, now.predicted * 1e3, AGAIN)
        claims.equal(f"refined {r.name}: low", r.low_ms, now.low * 1e3, AGAIN)
        claims.equal(f"refined {r.name}: high", r.high_ms, now.high * 1e3, AGAIN)
        claims.at_most(f"refined {r.name}: kept", now.high, now.limit * (1 + 1e-5))
        if now.is_share:  # never loosened; of other limits the sampled sums are held against what was corrected
            claims.at_most(f"refined {r.name}: corrected", r.corrected_ms, now.limit * 1e3 * (1 + 1e-5))
            claims.at_most(f"refined {r.name}: predicted enough", now.predicted * 1e3, r.corrected_ms * (1 + 1e-5))


def _paths_again(plan: Plan, refined: Refinement, again: Sequence[ComparedPath], claims: Claims) -> None:
    """What sums predict of them is compared where latency is sampled."""
    found = {path.sums.key: path for path in again}
    claimed = {path.key: path.predicted for path in plan.paths}
    named = sorted(path.key for path in refined.paths)
    if not claims.holds("refined: every path, once", named == sorted(found) == sorted(path.key for path in plan.paths)):
        return
    for path in refined.paths:
        now = found[path.key]
        name = f"refined {path.flow} to {path.to} over {path.over}"
        for figure in Percentiles.model_fields:
            corrected = getattr(now.corrected.predicted, figure)
            claims.equal(f"{name}: {figure}", getattr(claimed[path.key], figure), corrected, AGAIN)
        if claims.holds(f"{name}: intervals", set(path.interval_ms) == set(now.known)):
            for percentile, ends in path.interval_ms.items():
                for end, value in zip(ends, now.known[percentile], strict=True):
                    claims.equal(f"{name}: interval of {percentile}", end, value, AGAIN)

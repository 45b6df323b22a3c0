"""The plan for what was observed: it moves only to what would be better had it been observed too.

What runs is observed, what else could run is not. In service most things are slower than profiled (caches are cold,
others work beside them), so that whatever was not observed looks better than it is, and solving with the new records
alone moves to it. So the placement is the best one where what did not run is taken to be off by as much as what did,
by component; its figures are then those of the records themselves.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from planner.answers.again import Again
from planner.answers.forced import as_planned
from planner.observation import alike, is_observed, placement
from planner.plan import limits_asked, solve
from planner.situation import Situation
from planner.solver.solution import relative_gap
from specs.errors import AnswerIsNo, InputError, NotKnown
from specs.plan import Plan
from specs.profile import Record


@dataclass(frozen=True, slots=True)
class Replanned:
    """`tempting` is the best plan by the records alone, where its placement is another one than that of `plan`.

    Not `certain`: were what did not run off by as much as what did, nothing would keep all constraints.
    """

    plan: Plan
    tempting: Plan | None = None
    certain: bool = True


def replan(situation: Situation, old: Plan, records: Sequence[Record], *, time_limit: float, seed: int) -> Replanned:
    """The plan for `situation` in place of `old`.

    `records` are all that there are: what was observed, of which `situation` has the newest, and the profiles before.
    Limits that refining `old` tightened are as much tighter here.

    Raises as `planner.plan.solve` does.
    """
    ends = time.perf_counter() + time_limit
    tightened = _tightened(situation, old)
    best = solve(situation, time_limit=time_limit, seed=seed, corrected=tightened)
    if not best.assignments or placement(best) == placement(old) or not any(map(is_observed, situation.records)):
        return Replanned(best)
    try:
        fair = solve(alike(situation, records), time_limit=_left(ends), seed=seed, corrected=tightened, proofs=False)
    except (AnswerIsNo, InputError, NotKnown):
        return Replanned(best, certain=False)
    if placement(fair) == placement(best):
        return Replanned(best)
    kept = None
    if fair.assignments:
        ends = time.perf_counter() + _left(ends)
        again = Again(situation, ends, seed, dominated=True, corrected=tightened)
        kept = again.plan(restrict=as_planned(fair))
    if kept is None:
        return Replanned(best, certain=False)
    return Replanned(_beside(kept, best), tempting=best)


def _tightened(situation: Situation, old: Plan) -> dict[str, float]:
    """Seconds, by the name of the limit: those of which sums promised too much of `old`.

    None is longer than the user's: nobody has simulated the new plan, so its sums are what keeps the limits.
    """
    refined = old.refined.limits if old.refined else ()
    shares = {r.name: r.corrected_ms / r.limit_ms for r in refined if 0 < r.corrected_ms < r.limit_ms}
    return {name: limit * shares[name] for name, limit in limits_asked(situation).items() if name in shares}


def _left(ends: float) -> float:
    return max(1.0, ends - time.perf_counter())


def _beside(kept: Plan, best: Plan) -> Plan:
    """`kept` was the best of one placement alone: the bound is that of all, and it is optimal only if it reaches it.

    What binds is a matter of all placements too.
    """
    binding = {c.name: c.binding for c in best.constraints}
    constraints = tuple(c.model_copy(update={"binding": binding.get(c.name, c.binding)}) for c in kept.constraints)
    bound = [min(b, o) for b, o in zip(best.bound, kept.objective, strict=True)]
    gap = relative_gap(kept.objective, bound, 1e-5)
    status = "feasible" if gap else kept.status
    return kept.model_copy(update={"bound": bound, "gap": gap, "status": status, "constraints": constraints})

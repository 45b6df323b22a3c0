"""Random worlds under load, with limits close to what is just possible: where predictions matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.plan import solve
from planner.prediction.timings import Timings
from planner.situation import Situation
from specs.application import PathConstraint
from specs.errors import TierplanError
from tests.planner.worlds import world

FOUND = ("optimal", "feasible")


def pressed(seed: int, load: float, room: float = 1.001) -> Situation | None:
    """World `seed` with rates at which its plan's busiest queue has `load`, and limits at `room` times what the plan of
    those rates predicts. None where there is no plan.
    """
    given = world(seed)
    busiest = _busiest(given)
    faster = with_rates(given, load / busiest) if busiest else None
    if faster is None:
        return None
    try:
        plan = solve(faster, time_limit=10)
    except TierplanError:
        return None
    if plan.status not in FOUND:
        return None
    limits: dict[str, dict[float, float]] = {}
    for name, c in faster.app.value.constraints.items():
        if isinstance(c, PathConstraint):
            over = "all" if c.over == "all" else c.over.when
            paths = [p for p in plan.paths if (p.from_, p.to, p.over) == (c.from_, c.to, over)]
            limits[name] = {
                q: max((getattr(p.predicted, f"p{q * 100:.0f}_ms") for p in paths), default=1e3) / 1e3 * room
                for q in c.limits
            }
    return with_limits(faster, limits)


def _busiest(given: Situation) -> float:
    try:
        plan = solve(given, time_limit=10)
    except TierplanError:
        return 0.0
    if plan.status not in FOUND:
        return 0.0
    return max(q.load for q in Timings(plan_layout(given, plan), Demand(given)).queues.values())


def with_rates(given: Situation, factor: float) -> Situation:
    app = given.app.value
    sources = {
        n: s.model_copy(
            update={"rate": s.rate.model_copy(update={"mean": s.rate.mean * factor, "peak": s.rate.peak * factor})}
        )
        for n, s in app.sources.items()
    }
    return _changed(given, sources=sources)


def with_limits(given: Situation, limits: dict[str, dict[float, float]]) -> Situation:
    fields = {0.5: "p50", 0.95: "p95", 0.99: "p99"}
    constraints = {
        n: c.model_copy(update={fields[q]: limit for q, limit in limits[n].items()}) if n in limits else c
        for n, c in given.app.value.constraints.items()
    }
    return _changed(given, constraints=constraints)


def _changed(given: Situation, **update: Any) -> Situation:
    app = replace(given.app, value=given.app.value.model_copy(update=update))
    return replace(given, app=app)

"""What the planner says of a slice, before it runs."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from planner.demand import Demand
from planner.distribution import Reals
from planner.latency import Latency
from planner.layout import FlowLayout, Layout, plan_layout
from planner.pipeline import relevant
from planner.simulation import Simulated, Simulation
from planner.situation import Situation
from specs.application import OverBranch, PathConstraint
from specs.plan import PathPrediction, Percentiles, Plan, StagePrediction
from specs.run_result import Prediction, Slice

Kind = Literal["stage", "transfer"]

REQUESTS: Final = 100_000
"""Requests that are played: a p99 is then known within about 1 %."""
SEED: Final = 1
MOSTLY_LEFT_OUT: Final = 20.0
"""Requests left out for each of the slice's own, from which on the slice is not simulated."""


def predict(situation: Situation, plan: Plan, part: Slice) -> Prediction:
    """Latency by path and by stage when `plan` serves the slice `part`.

    By simulation of the discipline that runs: at the load of a slice, the waits of one request at different queues
    follow from one another. Only where the members left out ask far more than the slice does itself are the sums of
    distributions used that solving uses too (`planner.latency`, waits taken as independent): few requests then meet
    one of the slice's twice, and a simulation would play little else than background.

    Raises InputError, naming the stage or link, where the slice overloads a queue, and for a plan that places nothing.
    """
    layout = plan_layout(situation, plan)
    demand = Demand(situation, part)
    latency = Latency(layout, demand)
    stages = latency.stages()
    if _left_out(layout, demand) > MOSTLY_LEFT_OUT:
        return Prediction(plan=plan.digest, slice=part, paths=latency.paths(), stages=stages)
    played = Simulation(layout, demand, SEED).run(REQUESTS).flows
    paths = tuple(p for of in layout.flows for p in _paths(situation, of, played[of.flow.name]))
    shares = {(s.kind, s.name, s.site): s.share for s in stages}
    return Prediction(plan=plan.digest, slice=part, paths=paths, stages=_stages(layout, played, shares))


def _left_out(layout: Layout, demand: Demand) -> float:
    """How many requests of members left out come to sites of the slice for each request of its own."""
    own = sum(demand.total(of.flow) for of in layout.flows)
    part = demand.part
    assert part is not None
    return sum(rate * part.members.get(site, 1) for site, rate in part.background.items()) / own


def _paths(situation: Situation, of: FlowLayout, played: Simulated) -> list[PathPrediction]:
    """One for each path constraint of the flow that some request takes, then one for each sink that none speaks of."""
    constraints = list(relevant(situation, of.flow).values())
    spoken = {c.to for c in constraints}
    rest = [
        PathConstraint.model_construct(from_=of.flow.source, to=sink, over="all", limits={})
        for sink in of.flow.sinks
        if sink not in spoken
    ]
    found: list[PathPrediction] = []
    for constraint in (*constraints, *rest):
        runs = [shape.runs for shape in of.pipeline.requests(constraint)]
        if runs:
            patterns = [i for i, shape in enumerate(of.pipeline.shapes) if shape.runs in runs]
            found.append(_path(of, constraint, played.times(constraint.to, patterns)))
    return found


def _path(of: FlowLayout, constraint: PathConstraint, seconds: Reals) -> PathPrediction:
    return PathPrediction.model_validate(
        {
            "flow": of.flow.name,
            "from": constraint.from_,
            "to": constraint.to,
            "over": constraint.over.when if isinstance(constraint.over, OverBranch) else "all",
            "predicted": percentiles(seconds),
            "limit_ms": {f"p{q * 100:.0f}": limit * 1e3 for q, limit in constraint.limits.items()},
        }
    )


def _stages(
    layout: Layout, played: dict[str, Simulated], shares: dict[tuple[Kind, str, str], float]
) -> tuple[StagePrediction, ...]:
    """Every stage, and every message that crosses sites (once for flows that name it alike)."""
    found: list[StagePrediction] = []
    for index, stage in enumerate(layout.stages):
        mine = [played[of.flow.name] for of in layout.flows if index in of.stages]
        found.append(_times("stage", stage.name, stage.assignment.site, mine, index, shares))
    ways: dict[tuple[str, str], list[Simulated]] = {}
    for of in layout.flows:
        for leg in of.legs:
            if leg.route:
                ways.setdefault((leg.name, f"{leg.start} -> {leg.end}"), []).append(played[of.flow.name])
    found += [_times("transfer", name, where, mine[:1], name, shares) for (name, where), mine in ways.items()]
    return tuple(found)


def _times(
    kind: Kind,
    name: str,
    site: str,
    played: list[Simulated],
    what: int | str,
    shares: dict[tuple[Kind, str, str], float],
) -> StagePrediction:
    waits = [p.waits[what] for p in played if what in p.waits]
    services = [p.services[what] for p in played if what in p.services]
    return StagePrediction.model_validate(
        {
            "name": name,
            "kind": kind,
            "site": site,
            "wait": percentiles(np.concatenate(waits)) if waits else percentiles(np.zeros(1)),
            "service": percentiles(np.concatenate(services)) if services else percentiles(np.zeros(1)),
            "share": shares[kind, name, site],
        }
    )


def percentiles(seconds: Reals) -> Percentiles:
    """In milliseconds."""
    ms = seconds * 1e3
    p50, p95, p99 = (float(np.quantile(ms, q)) for q in (0.5, 0.95, 0.99))
    return Percentiles(p50_ms=p50, p95_ms=p95, p99_ms=p99, mean_ms=float(ms.mean()))

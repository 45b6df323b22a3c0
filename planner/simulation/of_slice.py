"""What the planner says of a slice, before it runs."""

from __future__ import annotations

from typing import Final

from planner.placement.demand import Demand
from planner.placement.layout import FlowLayout, Layout, plan_layout
from planner.prediction.distribution import Reals
from planner.prediction.latency import Latency
from planner.simulation import Simulation
from planner.simulation.figures import asked, percentiles, stage_times
from planner.situation import Situation
from specs.application import PathConstraint
from specs.plan import PathPrediction, Plan, StagePrediction
from specs.run_result import Prediction, Slice

REQUESTS: Final = 100_000
"""Requests that are played: a p99 is then known within about 1 %."""
SEED: Final = 1
MOSTLY_LEFT_OUT: Final = 20.0
"""Requests left out for each of the slice's own, from which on the slice is not simulated."""


def predict(situation: Situation, plan: Plan, part: Slice) -> Prediction:
    """Latency by path and by stage when `plan` serves the slice `part`.

    By simulation of the discipline that runs: at the load of a slice, the waits of one request at different queues
    follow from one another. Only where the members left out ask far more than the slice does itself are the sums of
    distributions used that solving uses too (`planner.prediction.latency`, waits taken as independent): few requests
    then meet one of the slice's twice, and a simulation would play little else than background.

    Raises InputError, naming the stage or link, where the slice overloads a queue, and for a plan that places nothing.
    """
    layout = plan_layout(situation, plan)
    demand = Demand(situation, part)
    latency = Latency(layout, demand)
    stages = latency.stages()
    if _left_out(layout, demand) > MOSTLY_LEFT_OUT:
        return Prediction(plan=plan.digest, slice=part, paths=latency.paths(), stages=stages)
    played = Simulation(layout, demand, SEED).run(REQUESTS)
    paths = tuple(
        _path(of, constraint, played.flows[of.flow.name].times(constraint.to, patterns))
        for of in layout.flows
        for constraint, patterns in asked(layout, of)
    )
    shares = {(s.kind, s.name, s.site): s.share for s in stages}
    timed = tuple(
        StagePrediction.model_validate(
            {"name": name, "kind": kind, "site": site, "share": shares[kind, name, site]}
            | {"wait": percentiles(waits), "service": percentiles(services)}
        )
        for kind, name, site, waits, services in stage_times(layout, played)
    )
    return Prediction(plan=plan.digest, slice=part, paths=paths, stages=timed)


def _left_out(layout: Layout, demand: Demand) -> float:
    """How many requests of members left out come to sites of the slice for each request of its own."""
    own = sum(demand.total(of.flow) for of in layout.flows)
    part = demand.part
    assert part is not None
    return sum(rate * part.members.get(site, 1) for site, rate in part.background.items()) / own


def _path(of: FlowLayout, constraint: PathConstraint, seconds: Reals) -> PathPrediction:
    return PathPrediction.model_validate(
        {
            "flow": of.flow.name,
            "from": constraint.from_,
            "to": constraint.to,
            "over": constraint.about,
            "predicted": percentiles(seconds),
            "limit_ms": {f"p{q * 100:.0f}": limit * 1e3 for q, limit in constraint.limits.items()},
        }
    )

"""The result of a simulation, in the words of a run's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf

import numpy as np
from numpy.typing import NDArray

from planner.placement.demand import Demand
from planner.placement.layout import FlowLayout, Layout
from planner.prediction.distribution import Reals
from planner.prediction.latency import Latency
from planner.prediction.timings import Timings
from planner.simulation.faults import Fault
from planner.simulation.figures import asked, percentiles, stage_times
from planner.simulation.play import Played, Simulated
from planner.simulation.precision import intervals
from planner.simulation.tables import ANSWERED, FAILED, PENDING, REFUSED, UNSENT
from specs.application import ShareConstraint
from specs.errors import InputError
from specs.plan import PathKey, PathPrediction, Percentiles, Plan
from specs.run_result import MeasuredShare, Requests
from specs.share import measured_share
from specs.simulation_result import Period, SimulatedLoad, SimulatedPath, SimulatedStage, SimulationResult


def result_of(
    plan: Plan,
    layout: Layout,
    demand: Demand,
    played: Played,
    *,
    arrivals: Mapping[str, str],
    faults: Mapping[str, Fault],
    seed: int,
    elapsed: float,
) -> SimulationResult:
    """`arrivals` by source and `faults` by the words that the user gave."""
    late = {of.flow.name: _late(layout, of, played.flows[of.flow.name]) for of in layout.flows}
    status = np.concatenate([f.status for f in played.flows.values()])
    good = (status == ANSWERED) & ~np.concatenate([late[name] for name in played.flows])
    devices, links = loads_of(plan, layout, demand, played)
    return SimulationResult(
        plan=plan.digest,
        slice=demand.part,
        arrivals=dict(arrivals),
        seed=seed,
        seconds=played.seconds,
        warm_up=played.seconds - played.counted,
        requests=_count(status),
        throughput=int((status == ANSWERED).sum()) / played.counted,
        goodput=int(good.sum()) / played.counted,
        shares=tuple(shares_of(layout, played)),
        paths=paths_of(layout, demand, played, plan.paths if plan.refined and demand.part is None else ()),
        stages=tuple(
            SimulatedStage.model_validate(
                {"kind": kind, "name": name, "site": site, "n": len(waits)}
                | {"wait": percentiles(waits), "service": percentiles(services)}
            )
            for kind, name, site, waits, services in stage_times(layout, played)
        ),
        devices=devices,
        links=links,
        periods=_periods(layout, played, late, faults) if faults else (),
        elapsed=elapsed,
    )


def _count(status: NDArray[np.int8]) -> Requests:
    """A request of which nothing more was heard is lost."""
    answered, refused, failed, lost, unsent = (
        int((status == s).sum()) for s in (ANSWERED, REFUSED, FAILED, PENDING, UNSENT)
    )
    return Requests(sent=len(status) - unsent, answered=answered, refused=refused, failed=failed, lost=lost)


def shares_of(layout: Layout, played: Played) -> Iterator[MeasuredShare]:
    """Of each constraint on a share, the requests of branch patterns that come to its sink."""
    for name, c in layout.situation.app.value.constraints.items():
        if isinstance(c, ShareConstraint):
            answered = n = 0
            for of in layout.flows:
                flow = played.flows[of.flow.name]
                if of.flow.source == c.from_:
                    ways = [i for i, shape in enumerate(of.pipeline.shapes) if of.pipeline.reached(shape, c.to)]
                    sent = np.isin(flow.pattern, ways) & (flow.status != UNSENT)
                    n += int(sent.sum())
                    answered += int((sent & (flow.status == ANSWERED)).sum())
            if n:
                yield measured_share(name, c, answered, n)


def paths_of(
    layout: Layout, demand: Demand, played: Played, corrected: Sequence[PathPrediction] = ()
) -> tuple[SimulatedPath, ...]:
    """Every path constraint of every flow, and every sink that none speaks of, beside what is predicted: by sums, or
    what those predictions were `corrected` to.
    """
    predicted = _by_path(corrected) or _predicted(layout, demand)
    found: list[SimulatedPath] = []
    for of in layout.flows:
        for constraint, patterns in asked(layout, of):
            seconds = played.flows[of.flow.name].times(constraint.to, patterns)
            key = (of.flow.name, constraint.from_, constraint.to, constraint.about)
            simulated = percentiles(seconds)
            found.append(
                SimulatedPath(
                    flow=of.flow.name,
                    **{"from": constraint.from_},
                    to=constraint.to,
                    over=constraint.about,
                    n=len(seconds),
                    predicted=predicted.get(key),
                    simulated=simulated,
                    interval_ms=intervals(seconds, simulated),
                    limit_ms={f"p{q * 100:.0f}": limit * 1e3 for q, limit in constraint.limits.items()},
                )
            )
    return tuple(found)


def _predicted(layout: Layout, demand: Demand) -> dict[PathKey, Percentiles]:
    try:
        return _by_path(Latency(layout, demand).paths())
    except InputError:  # a queue without end has no percentiles
        return {}


def _by_path(paths: Sequence[PathPrediction]) -> dict[PathKey, Percentiles]:
    return {p.key: p.predicted for p in paths}


def _late(layout: Layout, of: FlowLayout, flow: Simulated) -> NDArray[np.bool_]:
    """Which requests were answered after the longest limit of some path that they are under."""
    late: NDArray[np.bool_] = np.zeros(len(flow.status), bool)
    for constraint, patterns in asked(layout, of):
        longest = max(constraint.limits.values(), default=inf)
        late |= np.isin(flow.pattern, patterns) & (flow.ends[constraint.to] > longest)
    late &= flow.status == ANSWERED
    return late


def loads_of(
    plan: Plan, layout: Layout, demand: Demand, played: Played
) -> tuple[tuple[SimulatedLoad, ...], tuple[SimulatedLoad, ...]]:
    """Of devices (by pool, as `Plan.devices` counts) and of links, over the members that take part."""
    timings = Timings(layout, demand)
    infra = layout.situation.infra.value
    bought = {(d.site, d.pool): d.bought for d in plan.devices}
    pools: dict[tuple[str, str], dict[str, Reals]] = {}
    for index, stage in enumerate(layout.stages):
        a = stage.assignment
        queue = timings.executor(index)
        cores = infra.hardware[a.hardware].cores * max(1, bought.get((a.site, a.pool), 1))
        share = 1.0 if infra.hardware[a.hardware].sharing == "time" else a.threads * a.replicas / cores
        pools.setdefault((a.site, a.pool), {})[queue] = played.loads[queue][: _taking_part(demand, a.site)] * share
    devices = [_load(f"{site}.{pool}", np.sum([*queues.values()], axis=0)) for (site, pool), queues in pools.items()]
    links = [
        _load(name.removeprefix("link "), played.loads[name][: _taking_part(demand, owner)])
        for name, owner in sorted(_owners(timings).items())
    ]
    return tuple(devices), tuple(links)


def _taking_part(demand: Demand, site: str) -> int:
    members = demand.situation.infra.value.members(site)
    return members if demand.part is None else demand.part.members.get(site, members)


def _owners(timings: Timings) -> dict[str, str]:
    return {
        name: site
        for of in timings.layout.flows
        for leg in of.legs
        for passage in leg.route
        for name, _, site in timings.link_servers(passage)
    }


def _load(name: str, busy: Reals) -> SimulatedLoad:
    return SimulatedLoad(name=name, load=float(busy.mean()), busiest=float(busy.max()))


def _periods(
    layout: Layout, played: Played, late: Mapping[str, NDArray[np.bool_]], faults: Mapping[str, Fault]
) -> tuple[Period, ...]:
    """Between the times at which some fault begins or ends."""
    changes = {t for f in faults.values() for t in (f.since, f.until) if 0 < t < played.seconds}
    borders = [0.0, *sorted(changes), played.seconds]
    return tuple(
        _period(layout, played, late, since, until, [w for w, f in faults.items() if f.since <= since < f.until])
        for since, until in pairwise(borders)
    )


def _period(
    layout: Layout,
    played: Played,
    late: Mapping[str, NDArray[np.bool_]],
    since: float,
    until: float,
    words: Sequence[str],
) -> Period:
    chosen = {name: (f.started >= since) & (f.started < until) for name, f in played.flows.items()}
    counts = _count(np.concatenate([f.status[chosen[name]] for name, f in played.flows.items()]))
    times: list[Reals] = []
    for of in layout.flows:
        for constraint, patterns in asked(layout, of):
            started, seconds = played.flows[of.flow.name].timed(constraint.to, patterns)
            times.append(seconds[(started >= since) & (started < until)])
    seconds = np.concatenate(times)
    p50, p99 = (float(x) * 1e3 for x in np.quantile(seconds, (0.5, 0.99))) if len(seconds) else (None, None)
    return Period(
        since=since, until=until, faults=tuple(words), sent=counts.sent, answered=counts.answered,
        late=sum(int(late[name][chosen[name]].sum()) for name in played.flows),
        refused=counts.refused, failed=counts.failed + counts.lost, p50_ms=p50, p99_ms=p99,
    )  # fmt: skip

"""The constraints hold, and the proof is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from planner.verification.capacity import HIGHEST_LOAD
from planner.verification.claims import Claims
from planner.verification.meeting import shared_queues
from planner.verification.money import HOURS
from planner.verification.reading import Flow, Pattern, Reading
from planner.verification.tandem import feeders_of
from planner.verification.throughput import highest_rate
from specs.application import (
    AccuracyConstraint,
    CostConstraint,
    EnergyConstraint,
    LatencyObjective,
    MemoryConstraint,
    PathConstraint,
    ResidencyConstraint,
    ThroughputConstraint,
)
from specs.plan import ConstraintCheck

TABLES: Final = "the solver's tables round waits up and take each branch's slowest way: 25 % below to 35 % above holds"


def check_constraints(reading: Reading, claims: Claims, month: float, kwh: float) -> None:
    """`month` is what a month was found to cost, `kwh` the energy that it was found to take."""
    claimed = {c.name: c for c in reading.plan.constraints}
    refined = {r.name: r for r in reading.plan.refined.limits} if reading.plan.refined else {}
    for name, c in reading.app.constraints.items():
        if isinstance(c, PathConstraint):
            for q, limit in c.limits.items():
                p = f"p{q * 100:.0f}"
                paths = [x for x in reading.plan.summed_paths if (x.from_, x.to, x.over) == (c.from_, c.to, c.about)]
                value = max((getattr(x.predicted, f"{p}_ms") for x in paths), default=0.0)
                by = refined.get(f"{name}.{p}")
                if by is not None:  # the prediction keeps what the simulation says that it must
                    claims.equal(f"constraint {by.name}: predicted", by.predicted_ms, value, 1e-4, 1e-6)
                    claims.at_most(f"constraint {by.name}: corrected", value, by.corrected_ms * (1 + 1e-5))
                    value = by.simulated_ms
                _constraint(reading, claims, claimed, f"{name}.{p}", "ms", value, limit * 1e3, 1e-4)
        elif isinstance(c, CostConstraint):
            unit = f"{reading.infra.currency}/month"
            _constraint(reading, claims, claimed, name, unit, month, c.cost * HOURS, 1e-4)
        elif isinstance(c, MemoryConstraint):
            _constraint(reading, claims, claimed, name, "MB", _megabytes(reading, c), c.memory / 1e6, 1e-4)
        elif isinstance(c, EnergyConstraint):
            _constraint(reading, claims, claimed, name, "kWh/month", kwh, c.energy, 1e-4)
        elif isinstance(c, AccuracyConstraint):
            found = [a.value for f in reading.flows for a in f.behaviour.accuracy if a.data == c.on]
            _constraint(reading, claims, claimed, name, "share", min(found, default=0.0), c.accuracy, 1e-5, floor=True)
        elif isinstance(c, ThroughputConstraint):
            value = highest_rate(reading, c.from_ or next(iter(reading.app.sources)))
            _constraint(reading, claims, claimed, name, "/s", value, c.throughput, 1e-4, floor=True)
        elif isinstance(c, ResidencyConstraint):
            claims.holds(f"constraint {name} is listed", name in claimed)
    _sites(reading, claims)
    limits = _limit_names(reading)
    known = limits | {n for n, c in reading.app.constraints.items() if not isinstance(c, PathConstraint)}
    words = {"at": "at", "requires": "requires", "with": "with_", "apart_from": "apart_from"}
    said = {f"components.{n}.{w}" for n, c in reading.app.components.items() for w, f in words.items() if getattr(c, f)}
    claims.holds("no other constraint is listed", set(claimed) <= known | said)
    tightened = reading.plan.tightened
    claims.holds("what was tightened is a limit", set(tightened) <= limits and all(v > 0 for v in tightened.values()))


def _limit_names(reading: Reading) -> set[str]:
    paths = ((name, c) for name, c in reading.app.constraints.items() if isinstance(c, PathConstraint))
    return {f"{name}.p{q * 100:.0f}" for name, c in paths for q in c.limits}


def _sites(reading: Reading, claims: Claims) -> None:
    """Pins and residency have no figure: they hold, which is checked with the placement."""
    for c in reading.plan.constraints:
        path = c.name.split(".") if c.name.startswith("components.") else ["constraints", c.name]
        of_sites = len(path) == 3 or isinstance(reading.app.constraints.get(c.name), ResidencyConstraint)
        if of_sites:
            claims.holds(f"constraint {c.name}: no figure", (c.unit, c.value, c.limit, c.slack) == ("sites", 0, 0, 0))
            _place(reading, claims, c, path)


def _constraint(
    reading: Reading,
    claims: Claims,
    claimed: Mapping[str, ConstraintCheck],
    name: str,
    unit: str,
    value: float,
    limit: float,
    close: float,
    floor: bool = False,
) -> None:
    """`value` is at most `limit`, or with `floor` at least."""
    (claims.at_least if floor else claims.at_most)(f"constraint {name} is kept", value, limit)
    if not claims.holds(f"constraint {name} is listed", name in claimed):
        return
    claim = claimed[name]
    claims.equal(f"constraint {name}: value", claim.value, value, close, 1e-6)
    claims.equal(f"constraint {name}: limit", claim.limit, limit, 1e-5, 1e-9)
    slack = value - limit if floor else limit - value
    claims.equal(f"constraint {name}: slack", claim.slack, slack, 1e-3, 1e-3 * abs(limit) * 0.1 + 1e-6)
    claims.holds(f"constraint {name}: unit", claim.unit == unit)
    _place(reading, claims, claim, ["constraints", *name.rsplit(".", 1)])


def _place(reading: Reading, claims: Claims, claim: ConstraintCheck, path: Sequence[str]) -> None:
    """The file's digest was compared: how its path is written says nothing."""
    place = reading.situation.app.place(*path)
    same = (Path(claim.file).name, claim.line) == (Path(place.file).name, place.line)
    claims.holds(f"constraint {claim.name}: place", same)


def check_proof(reading: Reading, claims: Claims, month: float, kwh: float) -> None:
    """Objective, bound, gap and status agree with one another and with what was found."""
    plan = reading.plan
    if not claims.holds(
        "objective and bound have all terms", len(plan.objective) == len(reading.app.objective) == len(plan.bound)
    ):
        return
    below = all(b <= o * (1 + 1e-5) + 1e-9 for o, b in zip(plan.objective, plan.bound, strict=True))
    claims.holds("no bound is above its objective", below)
    gaps = [abs(o - b) / abs(o) if o else 0.0 for o, b in zip(plan.objective, plan.bound, strict=True)]
    first = next((gap for gap in gaps if gap >= 1e-5), 0.0)  # an objective after it is not bounded yet
    claims.equal("gap", plan.gap if plan.gap is not None else -1.0, first, 1e-3, 2e-5)
    claims.holds("optimal only without a gap", plan.status != "optimal" or max(gaps) < 1e-5)
    for term, value in zip(reading.app.objective, plan.objective, strict=True):
        if isinstance(term, LatencyObjective):
            _mean_objective(reading, claims, term.latency, value)
        elif term == "accuracy":
            claims.equal("objective accuracy", value, _wrong(reading), 1e-4, 1e-6)
        elif term == "throughput":
            claims.equal("objective throughput", value, max(reading.loads().values()) / HIGHEST_LOAD, 1e-3, 1e-8)
        elif term == "energy":
            claims.equal("objective energy", value, kwh, 1e-3, 1e-3)
        elif month < math.inf:
            claims.equal("objective cost", value, month, 1e-3, 1e-3)


def _megabytes(reading: Reading, c: MemoryConstraint) -> float:
    """Of all replicas at a member of the fullest site that the constraint is about."""
    found: dict[str, float] = {}
    for a in reading.plan.assignments:
        site = reading.infra.sites[a.site]
        asked = {"tier": site.tier, "site": a.site}
        if all(asked.get(key, site.labels.get(key)) == word for key, word in (c.at or {}).items()):
            time = reading.infra.hardware[a.hardware].sharing == "time"  # then idle ones stand by on each device
            loaded = a.replicas * (1 + a.standby) if time else a.replicas + a.standby
            found[a.site] = found.get(a.site, 0.0) + loaded * reading.records[a.record].memory / 1e6
    return max(found.values(), default=0.0)


def _wrong(reading: Reading) -> float:
    """The share of requests answered wrong, on the first data set that a constraint names, or the only one."""
    named = [c.on for c in reading.app.constraints.values() if isinstance(c, AccuracyConstraint)]
    rates = [f.mean * f.members for f in reading.flows]
    weights = rates if sum(rates) > 0 else [float(f.members) for f in reading.flows]
    wrong = 0.0
    for flow, weight in zip(reading.flows, weights, strict=True):
        measured = {a.data: a.value for a in flow.behaviour.accuracy}
        wrong += weight / sum(weights) * (1 - measured[named[0] if named else min(measured)])
    return wrong


def _mean_objective(reading: Reading, claims: Claims, name: str, value: float) -> None:
    """The claim rests on the solver's tables, which are not exact: it is close."""
    c = reading.app.constraints[name]
    assert isinstance(c, PathConstraint)
    paths = {p.flow: p for p in reading.plan.summed_paths if (p.from_, p.to, p.over) == (c.from_, c.to, c.about)}
    flows = [f for f in reading.flows if f.source == c.from_]
    asking = sum(f.members for f in flows)  # at the same rate each
    mean = sum(paths[f.name].predicted.mean_ms * f.members for f in flows if f.name in paths) / asking
    fed = _fed(reading)
    beside = max((_beside(reading, f, fed) for f in flows), default=0.0)
    ok = 0.75 * mean - 1 <= value <= 1.35 * (mean + beside) + 2
    claims.add(f"objective latency {name}", value, mean, ok, "close", TABLES)


def _beside(reading: Reading, flow: Flow, fed: Mapping[str, float]) -> float:
    """Milliseconds that the tables add to a way: what executors that serve it do beside it, as if it always came first;
    a service of what runs per item also for requests without items; as long as batches may wait for others; waits as
    `_fed` says.
    """
    found = [0.0]
    for way in reading.patterns(flow):
        met = [i for stages in shared_queues(reading, flow, way).values() for i in stages]
        often = {i: way.often(reading.plan.assignments[i].component) for i in met}
        none = [i for c in way.runs if c in flow.chains and not way.often(c) for i in flow.chains[c]]
        beside = sum(reading.service(i).mean * n * 1e3 for i, n in often.items())
        found.append(beside + sum(reading.service(i).mean * 1e3 for i in none))
    patience = sum(reading.plan.assignments[i].batch_wait_ms for stages in flow.chains.values() for i in stages)
    visited = {reading.queue_of(i) for stages in flow.chains.values() for i in stages}
    return max(found) + patience + sum(wait for queue, wait in fed.items() if queue in visited)


def _fed(reading: Reading) -> dict[str, float]:
    """Milliseconds that the tables let requests wait at queues to which all comes straight from another: as if it came
    by chance. Without those that have no end."""
    loads = reading.loads()
    feeders = feeders_of(reading, frozenset())
    work = {q: 0.0 for q, feeder in feeders.items() if feeder is not None and loads[q] < 1}
    for flow in reading.flows:
        for way, p in reading.patterns(flow).items():
            for visit in reading.visits(flow, way):
                queue = reading.queue_of(visit[0])
                if queue in work:
                    members = reading.members(reading.plan.assignments[visit[0]].site)
                    work[queue] += flow.peak * flow.members / members * p * _second(reading, way, visit)
    return {queue: 1e3 * each / 2 / (1 - loads[queue]) for queue, each in work.items()}


def _second(reading: Reading, way: Pattern, visit: Sequence[int]) -> float:
    """The second moment of all that a request of `way` has done in one visit, services independent."""
    often = [(reading.service(i), way.often(reading.plan.assignments[i].component)) for i in visit]
    mean = sum(n * service.mean for service, n in often)
    return mean**2 + sum(n * (service.second - service.mean**2) for service, n in often)

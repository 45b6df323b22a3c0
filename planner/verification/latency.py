"""Every predicted percentile beside its sampled one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from planner.verification.claims import Claims
from planner.verification.reading import Flow, Reading
from planner.verification.sampling import Sample, Sampling
from specs.application import PathConstraint, ShareConstraint
from specs.plan import Percentiles

LATENCY: Final = 0.03
"""Relative difference allowed of a percentile, beyond the sampling error."""
BATCHES: Final = 0.10
"""Of the service of each stage of several replicas that take batches: so far off are waits that are claimed there."""
JOINED: Final = 0.10
"""At joins a claim may lie this far above: branches are claimed as independent, which is on the safe side."""


def check_latency(reading: Reading, sampling: Sampling, claims: Claims) -> None:
    for flow in reading.flows:
        _paths_of(reading, sampling, claims, flow)
    _stages(reading, sampling, claims)
    _transfers(reading, sampling, claims)
    wanted = {
        (f.name, c.from_, c.to, c.about if isinstance(c, PathConstraint) else "all")
        for f in reading.flows
        for c in (*reading.app.constraints.values(), *_unspoken(reading, f))
        if isinstance(c, PathConstraint | ShareConstraint) and c.from_ == f.source
    }
    claims.holds("no other path is predicted", {p.key for p in reading.plan.summed_paths} <= wanted)


def _paths_of(reading: Reading, sampling: Sampling, claims: Claims, flow: Flow) -> None:
    limited = [c for c in reading.app.constraints.values() if isinstance(c, PathConstraint) and c.from_ == flow.source]
    wanted = [*limited, *_unspoken(reading, flow)]
    for c in wanted:
        over = c.about
        shapes = {
            way: p
            for way, p in reading.patterns(flow).items()
            if reading.reaches(flow, way.runs, c.to) and (over == "all" or over in way.runs)
        }
        claimed = [p for p in reading.plan.summed_paths if p.key == (flow.name, c.from_, c.to, over)]
        name = f"{flow.name} to {c.to} over {over}"
        if not shapes:
            claims.holds(f"{name}: no request goes there", not claimed)
            continue
        if not claims.holds(f"{name}: predicted", bool(claimed)):
            continue
        times, joined = sampling.times(flow, shapes, c.to)
        passed = frozenset[str]().union(*(way.runs for way in shapes))
        slack = sum(_slack(reading, i) for component in passed for i in flow.chains[component])
        for claim in claimed:
            _percentiles(claims, name, claim.predicted, times, joined, slack)
        limits = _shortest_limits([w for w in wanted if (w.to, w.about) == (c.to, over)])
        stated = [p.limit_ms for p in claimed]
        same = any(
            set(s) == set(limits) and all(math.isclose(s[k], limits[k], rel_tol=1e-5) for k in s) for s in stated
        )
        claims.holds(f"{name}: limits are the user's", same)


def _unspoken(reading: Reading, flow: Flow) -> list[PathConstraint]:
    """The paths to sinks of which no constraint speaks: they are predicted too, without a limit."""
    spoken = {
        c.to
        for c in reading.app.constraints.values()
        if isinstance(c, PathConstraint | ShareConstraint) and c.from_ == flow.source
    }
    sinks = (sink for sink in reading.sinks(flow) if sink not in spoken)
    return [PathConstraint.model_construct(from_=flow.source, to=sink, over="all") for sink in sinks]


def check_shares(reading: Reading, sampling: Sampling, claims: Claims) -> None:
    """The share of sampled requests that come to a sink before they are given up, of the flow where it is least."""
    paths = [c for c in reading.app.constraints.values() if isinstance(c, PathConstraint)]
    given_up = max((10 * limit for c in paths for limit in c.limits.values()), default=30.0)
    claimed = {c.name: c for c in reading.plan.constraints}
    for name, c in reading.app.constraints.items():
        if not isinstance(c, ShareConstraint):
            continue
        found: list[float] = []
        for flow in (f for f in reading.flows if f.source == c.from_):
            ways = reading.patterns(flow).items()
            shapes = {way: p for way, p in ways if reading.reaches(flow, way.runs, c.to)}
            if shapes:
                times, _ = sampling.times(flow, shapes, c.to)
                found.append(float((times <= given_up).mean()))
        share = min(found, default=1.0)
        if not claims.holds(f"constraint {name} is listed", name in claimed):
            continue
        claim = claimed[name]
        late = max(1 - min(share, c.share), 1 / sampling.samples)
        room = 4 * math.sqrt(late / sampling.samples) + JOINED * late
        claims.add(f"constraint {name}: share", claim.value, share, abs(claim.value - share) <= room, "close")
        claims.add(f"constraint {name} is kept", c.share, share, share >= c.share - room, "at least")
        claims.at_least(f"constraint {name} is kept by prediction", claim.value, c.share)
        claims.equal(f"constraint {name}: limit", claim.limit, c.share, 1e-5)
        claims.equal(f"constraint {name}: slack", claim.slack, claim.value - c.share, 1e-3, 2e-6)
        place = reading.situation.app.place("constraints", name)
        claims.holds(f"constraint {name}: unit and place", (claim.unit, claim.line) == ("share", place.line))


def _shortest_limits(constraints: Sequence[PathConstraint]) -> dict[str, float]:
    """Milliseconds by percentile: of several limits on one, keeping the shortest keeps them all."""
    found: dict[str, float] = {}
    for c in constraints:
        for q, limit in c.limits.items():
            name = f"p{q * 100:.0f}"
            found[name] = min(limit * 1e3, found.get(name, math.inf))
    return found


def _slack(reading: Reading, index: int) -> float:
    """Milliseconds by which the wait at a stage may be off, beyond what others may."""
    by = reading.plan.assignments[index]
    return BATCHES * reading.service(index).mean * 1e3 if by.batch > 1 and by.replicas > 1 else 0.0


def _percentiles(
    claims: Claims, name: str, claimed: Percentiles, times: Sample, joined: bool, slack: float = 0.0
) -> None:
    """`slack` milliseconds either way are allowed, beyond what every claim may be off."""
    n, near = len(times), 0.2 + slack
    ordered = np.sort(times) * 1e3
    for q, value in ((0.5, claimed.p50_ms), (0.95, claimed.p95_ms), (0.99, claimed.p99_ms)):
        error = 4 * math.sqrt(q * (1 - q) / n)
        low, high = (float(ordered[min(n - 1, max(0, int(n * (q + e))))]) for e in (-error, error))
        room = JOINED if joined else LATENCY
        ok = low * (1 - LATENCY) - near <= value <= high * (1 + room) + near
        claims.add(f"{name}: p{q * 100:.0f} ms", value, float(ordered[int(n * q)]), ok, "close")
    mean = float(ordered.mean())
    room = JOINED if joined else LATENCY
    error = 4 * float(ordered.std()) / math.sqrt(n)
    ok = mean * (1 - LATENCY) - error - near <= claimed.mean_ms <= mean * (1 + room) + error + near
    claims.add(f"{name}: mean ms", claimed.mean_ms, mean, ok, "close")


def _stages(reading: Reading, sampling: Sampling, claims: Claims) -> None:
    n = _parts(sampling)
    claimed = [s for s in reading.plan.stages if s.kind == "stage"]
    claims.holds("every stage is predicted", len(claimed) == len(reading.plan.assignments))
    for i, (a, claim) in enumerate(zip(reading.plan.assignments, claimed, strict=False)):
        name = a.component if a.segment.is_whole else f"{a.component}[{a.segment}]"
        if not claims.holds(f"stage {name} at {a.site} is named", (claim.name, claim.site) == (name, a.site)):
            continue
        _percentiles(claims, f"stage {name} service", claim.service, np.repeat(sampling.service_times(i), 25), False)
        waited = sampling.waited(i, n)
        _percentiles(claims, f"stage {name} wait", claim.wait, waited, False, _slack(reading, i))
        every = sum(f.peak * f.members for f in reading.flows if f.name in a.flows)
        runs = sum(f.peak * f.members * reading.runs(f, a.component) for f in reading.flows if f.name in a.flows)
        claims.equal(f"stage {name} share", claim.share, runs / every if every else 0.0, 1e-4)


def _transfers(reading: Reading, sampling: Sampling, claims: Claims) -> None:
    n = _parts(sampling)
    transfers = {(s.name, s.site): s for s in reading.plan.stages if s.kind == "transfer"}
    seen: set[tuple[str, str]] = set()
    for flow in reading.flows:
        for m in reading.messages(flow):
            if m.start == m.end:
                continue
            key = (f"{reading.called(m.producer)} -> {reading.called(m.consumer)}", f"{m.start} -> {m.end}")
            claim = transfers.get(key)
            if key in seen or not claims.holds(f"transfer {key[0]} is predicted", claim is not None):
                continue
            assert claim is not None
            seen.add(key)
            waits = [sampling.wait(queue, n) for queue, _, _ in reading.crossed(m)]
            wait = np.sum(waits, axis=0)
            _percentiles(claims, f"transfer {key[0]} wait", claim.wait, wait, False)
            _percentiles(claims, f"transfer {key[0]} time", claim.service, sampling.unloaded(flow, m, n), False)
            claims.equal(f"transfer {key[0]} share", claim.share, m.share, 1e-4)
    listed = [(s.name, s.site) for s in reading.plan.stages if s.kind == "transfer"]
    claims.holds("transfers are those there are, once each", len(listed) == len(seen) and set(listed) == seen)


def _parts(sampling: Sampling) -> int:
    """How many times to draw for a part of a request."""
    return max(20_000, sampling.samples // 4)

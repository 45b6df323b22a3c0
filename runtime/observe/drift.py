"""Where what is measured has left what the plan promises, beyond doubt, and what causes it.

A plan predicts for its peak, so answers that come sooner than predicted are no drift. A stage's service does not
depend on the load: it drifts both ways, for one that is faster than its profile says may make a cheaper plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from runtime.fleet import site_of
from runtime.observe.window import RATE_SECONDS, Sample, Seen
from runtime.topology import Topology
from specs.plan import PathPrediction, Percentiles, Plan, StagePrediction

TOLERANCE: Final = 0.25
"""What is measured drifts where it is more than this share above (service: or below) what is predicted."""
FEWEST: Final = 20
"""Requests below which nothing is said: those that follow one another are not independent, as the bounds assume."""
FLOOR_MS: Final = 1.0
"""Milliseconds that nobody minds, whatever share they are."""
QUANTILES: Final[tuple[Statistic, ...]] = ("p50", "p95", "p99")

What = Literal["rate", "latency", "wait", "service", "transfer"]
Statistic = Literal["mean", "p50", "p95", "p99"]


@dataclass(frozen=True, slots=True)
class Drift:
    """`statistic` (p50, p95, p99; mean of a rate) of `name` at `member`.

    Milliseconds, or requests a second where `what` is rate. `cause` says what else drifted, where that explains it.
    """

    what: What
    name: str
    member: str
    statistic: Statistic
    measured: float
    predicted: float
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """What drift is told from: a plan, and what it means for its members."""

    paths: Mapping[str, PathPrediction]
    stages: Mapping[tuple[str, str, str], StagePrediction]
    ways: Mapping[tuple[str, str], str]
    peaks: Mapping[str, float]


def promise_of(plan: Plan, top: Topology) -> Promise:
    """The path of a flow is that over all its requests; of several sinks, the slowest."""
    paths: dict[str, PathPrediction] = {}
    sinks = {e.consumer for e in top.edges if e.consumer not in top.stage_by_id}
    for path in plan.paths:
        before = paths.get(path.flow)
        slower = before is None or path.predicted.p99_ms > before.predicted.p99_ms
        if path.over == "all" and path.to in sinks and slower:
            paths[path.flow] = path
    return Promise(
        paths=paths,
        stages={(s.kind, s.name, s.site): s for s in plan.stages},
        ways=top.ways,
        peaks={f.name: f.rate for f in top.flows},
    )


def drifts(seen: Seen, promise: Promise, origin: str) -> tuple[Drift, ...]:
    """What drifted of the requests that entered at `origin`: rates, then terms, then paths with their cause."""
    rates = tuple(_rates(seen, promise, origin))
    terms = tuple(_terms(seen, promise))
    return (*rates, *terms, *_paths(seen, promise, origin, rates, terms))


def _rates(seen: Seen, promise: Promise, origin: str) -> Iterator[Drift]:
    for flow, times in seen.paths.items():
        peak = promise.peaks.get(flow, math.inf)
        expected = peak * RATE_SECONDS
        if times.rate * RATE_SECONDS > expected + 3 * math.sqrt(expected):  # Poisson arrivals: one in 700 by chance
            yield Drift("rate", flow, origin, "mean", times.rate, peak)


def _terms(seen: Seen, promise: Promise) -> Iterator[Drift]:
    for (stage, member), times in seen.stages.items():
        planned = promise.stages.get(("stage", stage, site_of(member)))
        if planned is not None and times.n >= FEWEST:
            yield from _worst("wait", stage, member, times.wait, planned.wait)
            yield from _worst("service", stage, member, times.service, planned.service)
    for (flow, edge, member), times in seen.transfers.items():
        planned = promise.stages.get(("transfer", edge, promise.ways.get((flow, edge), "")))
        if planned is not None and times.n >= FEWEST:
            yield from _worst("wait", edge, member, times.wait, planned.wait)
            yield from _worst("transfer", edge, member, times.service, planned.service)


def _worst(what: What, name: str, member: str, measured: Sample, predicted: Percentiles) -> Iterator[Drift]:
    """The percentile that is off the most, of those that are off."""
    off: list[tuple[float, Drift]] = []
    for number, quantile in enumerate(QUANTILES):
        expected, is_ = _at(predicted, quantile), _at(measured.percentiles, quantile)
        slower = above(measured.low[number], expected)
        faster = what == "service" and quantile == "p50" and above(expected, measured.high[number])
        if slower or faster:
            off.append(
                (
                    abs(math.log((is_ + FLOOR_MS) / (expected + FLOOR_MS))),
                    Drift(what, name, member, quantile, is_, expected),
                )
            )
    if off:
        yield max(off, key=lambda pair: pair[0])[1]


def above(measured: float, predicted: float) -> bool:
    """Whether it is above by more than is tolerated; milliseconds."""
    return measured > predicted * (1 + TOLERANCE) and measured > predicted + FLOOR_MS


def _paths(
    seen: Seen, promise: Promise, origin: str, rates: tuple[Drift, ...], terms: tuple[Drift, ...]
) -> Iterator[Drift]:
    for flow, times in seen.paths.items():
        planned = promise.paths.get(flow)
        if planned is None or times.n < FEWEST:
            continue
        for drift in _worst("latency", flow, origin, times.service, planned.predicted):
            cause = _cause(flow, rates, terms)
            yield Drift("latency", flow, drift.member, drift.statistic, drift.measured, drift.predicted, cause)


def _cause(flow: str, rates: tuple[Drift, ...], terms: tuple[Drift, ...]) -> str:
    """More requests than planned, where there are; else the slower term that adds the most time."""
    for rate in rates:
        if rate.name == flow:
            return "more requests come than the plan was made for"
    slower = [t for t in terms if t.measured > t.predicted]
    if not slower:
        return "no single stage or transfer"
    most = max(slower, key=lambda t: t.measured - t.predicted)
    return f"{most.what} of {most.name} at {most.member}"


def _at(of: Percentiles, quantile: Statistic) -> float:
    value: float = getattr(of, f"{quantile}_ms")
    return value

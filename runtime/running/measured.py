"""The clients' logs as a RunResult, beside the prediction."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from runtime.hosting.request import Entry
from runtime.reference.behaviour import is_right
from runtime.reference.items import Item
from runtime.reference.pipeline import Outcome
from runtime.topology import Topology
from runtime.values import equal
from specs.application import AccuracyConstraint, Application, ShareConstraint
from specs.plan import PathPrediction, Percentiles, Plan, StagePrediction
from specs.run_result import TELLING, MeasuredAccuracy, MeasuredPath, MeasuredShare, MeasuredStage, Requests
from specs.share import measured_share
from specs.state import varying_inputs
from specs.statistics import summarise, wilson


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """In milliseconds; all zero where nothing was measured."""
    if not seconds:
        return Percentiles(p50_ms=0, p95_ms=0, p99_ms=0, mean_ms=0)
    ms = np.asarray(seconds) * 1e3
    p50, p95, p99 = (float(np.quantile(ms, q)) for q in (0.5, 0.95, 0.99))
    return Percentiles(p50_ms=p50, p95_ms=p95, p99_ms=p99, mean_ms=float(ms.mean()))


def is_wrong(entry: Entry, outcome: Outcome, varying: Container[tuple[str, str]] = ()) -> bool:
    """Whether an answer differs from the reference's for the same item; but in `varying` (sink, input), which depend on
    what was asked before."""
    if set(entry.answers) != set(outcome.answers):
        return True
    return any(
        set(mine) != set(outcome.answers[sink])
        or any(
            not equal(value, outcome.answers[sink][name]) for name, value in mine.items() if (sink, name) not in varying
        )
        for sink, mine in entry.answers.items()
    )


def count(
    entries: Iterable[Entry], outcomes: Mapping[tuple[str, int], Outcome], sent: int, app: Application
) -> Requests:
    """`sent` requests left; those that no log speaks of are lost."""
    varying = varying_inputs(app)
    status = {"answered": 0, "refused": 0, "failed": 0}
    wrong = 0
    for entry in entries:
        if entry.status in status:
            status[entry.status] += 1
        if entry.status == "answered":
            wrong += is_wrong(entry, outcomes[entry.flow, entry.item], varying)
    return Requests(sent=sent, lost=sent - sum(status.values()), wrong=wrong, **status)


def accuracies(
    entries: Iterable[Entry], items: Sequence[Item], app: Application, plan: Plan
) -> tuple[MeasuredAccuracy, ...]:
    """Share of right answers among those answered, by the data that the items and labels come from."""
    right: dict[str, list[bool]] = {}
    for entry in entries:
        item = items[entry.item]
        label = app.data[item.data].label if item.data in app.data else None
        for answers in entry.answers.values():
            if entry.status == "answered" and label in answers:
                right.setdefault(item.data, []).append(is_right(answers[label], item.label))
    limits: dict[str, float] = {}
    for constraint in app.constraints.values():
        if isinstance(constraint, AccuracyConstraint):
            limits[constraint.on] = max(constraint.accuracy, limits.get(constraint.on, 0.0))
    planned = {data: value for behaviour in plan.behaviour for data, value in behaviour.accuracy.items()}
    return tuple(
        MeasuredAccuracy(
            data=data,
            value=sum(found) / len(found),
            low=interval[0],
            high=interval[1],
            n=len(found),
            planned=planned.get(data),
            limit=limits.get(data),
        )
        for data, found in right.items()
        for interval in [wilson(sum(found), len(found))]
    )


def shares(
    entries: Sequence[Entry], outcomes: Mapping[tuple[str, int], Outcome], app: Application, unheard: int
) -> tuple[MeasuredShare, ...]:
    """Of each constraint on a share. Requests of which no log speaks, `unheard`, count as sent and not answered."""
    found: list[MeasuredShare] = []
    for name, c in app.constraints.items():
        if isinstance(c, ShareConstraint):
            mine = [e for e in entries if e.flow.partition("@")[0] == c.from_]
            sent = [e for e in mine if c.to in outcomes[e.flow, e.item].answers]
            n = len(sent) + unheard
            if n:
                found.append(measured_share(name, c, sum(e.status == "answered" for e in sent), n))
    return tuple(found)


def measured_path(
    predicted: PathPrediction, entries: Iterable[Entry], outcomes: Mapping[tuple[str, int], Outcome], app: Application
) -> MeasuredPath:
    """The requests that `predicted` speaks of: of its flow, and of its branch where it names a component."""
    branch = next((w for w in predicted.over.replace(":", " ").split() if w in app.components), None)
    seconds = [
        latency
        for entry in entries
        if entry.flow == predicted.flow
        and entry.status == "answered"
        and (branch is None or branch in outcomes[entry.flow, entry.item].runs)
        and (latency := _latency(entry, predicted.to, app)) is not None
    ]
    return MeasuredPath.model_validate(
        {
            "flow": predicted.flow,
            "from": predicted.from_,
            "to": predicted.to,
            "over": predicted.over,
            "n": len(seconds),
            "predicted": predicted.predicted,
            "measured": percentiles(seconds),
            "limit_ms": predicted.limit_ms,
        }
    )


def _latency(entry: Entry, to: str, app: Application) -> float | None:
    """Until the answer, or the end of component `to`; None where the request did not run it, or another clock than that
    of its origin says when."""
    if to in app.sinks:
        return entry.ends.get(to)
    mine = [t for t in entry.trace.stages if t.stage.partition("[")[0] == to]
    return max(t.ended for t in mine) - entry.started if mine and all(t.clock == entry.clock for t in mine) else None


def measured_stage(predicted: StagePrediction, entries: Iterable[Entry], top: Topology) -> MeasuredStage:
    """Times of one stage at one class of sites, or of one transfer (wait for links; the rest is its service).

    Of a stage that runs per item, the wait is that of a request's first item, and the service that of each.

    The site of a transfer is written ``phones -> bases``.
    """
    waits, services = stage_seconds(predicted, entries, top)
    return MeasuredStage(
        name=predicted.name,
        kind=predicted.kind,
        site=predicted.site,
        n=len(services),
        wait_predicted=predicted.wait,
        wait_measured=percentiles(waits),
        service_predicted=predicted.service,
        service_measured=percentiles(services),
        service=summarise(services) if predicted.kind == "stage" and len(services) >= TELLING else None,
    )


def stage_seconds(
    predicted: StagePrediction, entries: Iterable[Entry], top: Topology
) -> tuple[list[float], list[float]]:
    """(waits, services) as `measured_stage` says, in the order in which the requests came."""
    waits: list[float] = []
    services: list[float] = []
    sites = {str(s.member): s.member.site for s in top.serving}
    for entry in sorted(entries, key=lambda e: e.started):  # how times drift is part of what is kept of them
        if entry.status != "answered":
            continue
        if predicted.kind == "stage":
            name, site = predicted.name, predicted.site
            mine = [t for t in entry.trace.stages if t.stage == name and sites[t.member] == site]
            services += [stage.service for stage in mine]
            waits += [min(stage.wait for stage in mine)] if mine else []
        else:
            for transfer in entry.trace.transfers:
                if transfer.edge == predicted.name and top.ways[entry.flow, transfer.edge] == predicted.site:
                    waits.append(transfer.wait)
                    services.append(transfer.seconds - transfer.wait)
    return waits, services

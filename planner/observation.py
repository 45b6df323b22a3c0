"""What runs of a plan measured of its stages, as profile records: what a profile says of them, observed in service.

Only service times are promoted. Rates are what a run was told to send, its links are those that infrastructure files
declare, and branches, payloads and accuracy are of the application's own data: none of these is news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from planner.situation import Situation
from specs.digest import digest_value
from specs.plan import Assignment, Plan
from specs.profile import Distribution, Record, winners
from specs.run_result import MeasuredStage, RunResult

OBSERVED: Final = "planner run"
"""The method of promoted records begins with it."""
UNSHAPED: Final = "none"
"""How a run begins to say that it slowed nothing."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A stage that `run` (its digest) measured, the `record` that the plan rests on there, and the one it becomes.

    Where nothing is promoted, `reason` says why.
    """

    stage: MeasuredStage
    run: str
    record: Record | None = None
    promoted: Record | None = None
    reason: str = ""


def observations(plan: Plan, records: Iterable[Record], runs: Sequence[RunResult]) -> list[Observation]:
    """What `runs` of `plan` measured of each of its stages; `records` are those that the plan may rest on."""
    known = {record.digest: record for record in records}
    newest = {r.key: r for r in winners(known.values()).values()}
    found: list[Observation] = []
    for run in sorted(runs, key=lambda r: r.ended_at):
        for stage in run.stages:
            if stage.kind == "stage":
                found.append(_observe(plan, known, newest, run, stage))
    return found


def _observe(
    plan: Plan,
    known: Mapping[str, Record],
    newest: Mapping[tuple[object, ...], Record],
    run: RunResult,
    stage: MeasuredStage,
) -> Observation:
    digest = digest_value(run.dump())
    seen = Observation(stage, digest)
    served = {a.record: a for a in plan.assignments if (a.stage_name, a.site) == (stage.name, stage.site)}
    if len(served) != 1:
        many = "the plan has no such stage there" if not served else "the plan runs it in several ways there"
        return replace(seen, reason=many)
    record = known.get(next(iter(served)))
    if record is None:
        return replace(seen, reason="the record that the plan rests on is not in the profiles")
    seen = replace(seen, record=record)
    if not run.ended_at:
        return replace(seen, reason="made by a version that kept percentiles only")
    if stage.service is None:
        return replace(seen, reason=f"{stage.n} requests are too few to tell")
    if record.provenance == "declared":
        return replace(seen, reason="its times are declared in the application")
    if record.provenance == "estimated":
        return replace(seen, reason="its profile is an estimate: the machine that ran it is another")
    if record.emulated_by and run.shaping.startswith(UNSHAPED):
        return replace(seen, reason="the run slowed no processor, as its profile does")
    by = record.emulated_by.host if record.emulated_by else record.host
    if by != run.host:
        return replace(seen, reason=f"profiled on {by!r}, run on {run.host!r}")
    method = f"{OBSERVED} {digest[:16]} of plan {run.plan[:16]}: {stage.n} requests at {stage.site}"
    times = _as_observed(record, stage.service)
    promoted = times.model_copy(update={"method": method, "measured_at": run.ended_at, "others": None})
    if promoted.digest not in known and newest[record.key].measured_at >= run.ended_at:
        return replace(seen, reason="profiled again since")
    return replace(seen, promoted=promoted)


def _as_observed(record: Record, service: Distribution) -> Record:
    """`record` with the times observed. A run does not tell buckets apart: all are off by as much as their mean is."""
    if record.buckets is None:
        return record.model_copy(update={"latency": service})
    return record.times(service.mean / record.latency.mean if record.latency.mean > 0 else 1.0)


def is_observed(record: Record) -> bool:
    """Whether `record` was promoted of a run."""
    return record.method.startswith(OBSERVED)


def alike(situation: Situation, records: Iterable[Record]) -> Situation:
    """`situation` as if whatever did not run were off by as much as what did: by component.

    Only what runs is observed. If that was slower than profiled because profiles are fairer than service, so would the
    other ways to run the component be; a plan that moves to one of them only for want of an observation is no better.
    `records` are all that there are, those that observations took the place of among them.
    """
    factors = _factors(situation, records)
    named = [(key.split("/")[0], digest) for key, digest in situation.digests.items()]
    of = {digest: factors[component] for component, digest in named if component in factors}
    scale = tuple(r if r.source not in of or is_observed(r) else scaled(r, of[r.source]) for r in situation.records)
    return replace(situation, records=scale)


def _factors(situation: Situation, records: Iterable[Record]) -> dict[str, float]:
    """How many times as long as profiled each component took, all of its observed parts together.

    Against the profile itself, not an earlier observation: else what it was off by would be forgotten by the second.
    """
    profiled = winners(r for r in records if not is_observed(r))
    components: dict[str, set[str]] = {}
    for key, digest in situation.digests.items():
        components.setdefault(digest, set()).add(key.split("/")[0])
    sums: dict[str, tuple[float, float]] = {}
    for record in situation.records:
        if is_observed(record) and record.key in profiled:
            for name in components[record.source]:
                before, now = sums.get(name, (0.0, 0.0))
                sums[name] = before + profiled[record.key].latency.mean, now + record.latency.mean
    return {name: now / before for name, (before, now) in sums.items() if before > 0}


def scaled(record: Record, factor: float) -> Record:
    """`record` with all times `factor` times as long."""
    return record.times(factor)


def placement(plan: Plan) -> list[tuple[object, ...]]:
    """What runs where and how, for comparing: replicas, devices and records aside."""

    def choice(a: Assignment) -> tuple[object, ...]:
        return a.component, a.segment, a.flows, a.site, a.pool, a.variant, a.backend, a.threads, a.batch

    return [choice(a) for a in plan.assignments]

"""Results of runs as `planner run` writes them, made up from a plan and its profiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.cli.files import write_json
from planner.observation import scaled
from specs.plan import Percentiles, Plan, read_plan
from specs.profile import Record, read_records
from specs.run_result import MeasuredStage, Requests, RunResult, Slice

LATER = "2099-01-01T00:00:00+00:00"


def run_of(plan: Plan, records: list[Record], factors: Mapping[str, float]) -> RunResult:
    """A run in which each component took `factors` times as long as profiled (once where it is not named)."""
    by_digest = {r.digest: r for r in records}
    zero = Percentiles(p50_ms=0, p95_ms=0, p99_ms=0, mean_ms=0)
    stages = []
    for stage in plan.stages:
        if stage.kind == "stage":
            a = next(a for a in plan.assignments if (a.stage_name, a.site) == (stage.name, stage.site))
            took = scaled(by_digest[a.record], factors.get(a.component, 1.0)).latency
            ms = Percentiles(
                p50_ms=1e3 * took.mean, p95_ms=2e3 * took.mean, p99_ms=3e3 * took.mean, mean_ms=1e3 * took.mean
            )
            times = {"wait_predicted": zero, "wait_measured": zero, "service_predicted": stage.service}
            stages.append(
                MeasuredStage(
                    name=stage.name, kind="stage", site=stage.site, n=300, **times, service_measured=ms, service=took
                )
            )
    return RunResult(
        plan=plan.digest,
        prediction="ab" * 32,
        slice=Slice(members={}, multiplier=1.0, requests=300, seed=1),
        shaping="links and processors slowed",
        requests=Requests(sent=300, answered=300, refused=0, failed=0, lost=0),
        throughput=1.0,
        paths=(),
        stages=tuple(stages),
        seconds=60.0,
        host=records[0].host,
        ended_at=LATER,
    )


def write_run(folder: Path, factors: Mapping[str, float], name: str = "run.json", **changes: Any) -> RunResult:
    """As `run_of`, of the plan and the profiles in `folder`, with `changes` made, as a file."""
    run = run_of(read_plan(folder / "plan.yaml"), read_records(folder / "profiles"), factors)
    run = run.model_copy(update=changes)
    write_json(folder / name, run)
    return run

"""`planner compile --tune`: the search for better schedules of one artefact, or of all that a plan runs by TVM."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from compiler.build import build
from compiler.host import host
from compiler.indices import index_bounds
from compiler.job import Job
from compiler.model import load_model
from compiler.store import Store
from compiler.targets import Target, target_of
from compiler.tuning.records import plain
from compiler.tuning.tune import Tuned, refuse_tuning, tune
from planner.cli.devices import lent_classes
from planner.cli.output import Progress, number, table
from planner.cli.profiling.model import some_inputs
from planner.cli.profiling.targets import Targets
from planner.cli.results import TunedOperator, TuningRow
from specs.artefact import ModelSignature
from specs.artefact_folder import read_artefact
from specs.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.loading import Loaded
    from specs.plan import Plan

SHOWN: Final = 12
"""Operators in a table."""


def this_machine() -> Target:
    """The target that describes it."""
    return target_of(host().target)


def tune_one(job: Job, name: str, store: Store, seconds: float, progress: Progress) -> TuningRow:
    """Search for about `seconds`, on random inputs. Raises as `tune` does."""
    refuse_tuning(job)
    progress.step(f"{name}: compiling what there is")
    made = read_artefact(build(plain(job), store))
    signature = ModelSignature(inputs=made.inputs, outputs=made.outputs)
    bounds = index_bounds(load_model(Path(job.file or job.model)))
    samples = some_inputs(signature, job.model, bounds)
    found = tune(
        job,
        store,
        samples,
        seconds,
        lambda text: progress.say(f"{name}: {text}"),
        lambda text: progress.step(f"{name}: {text}"),
    )
    return _row(job, name, found)


def tune_plan(plan: Plan, loaded: Loaded, store: Path, seconds: float, progress: Progress) -> tuple[TuningRow, ...]:
    """Every artefact of the plan that TVM runs, the time shared equally among those that are left. What cannot be tuned
    here is told in its row. Raises NotKnown and EnvironmentFailed as `tune` does.
    """
    assert loaded.infra is not None
    targets, lent = Targets(loaded.app, loaded.models), lent_classes(loaded.infra)
    jobs: dict[str, tuple[str, Job]] = {}
    for a in plan.assignments:
        if a.backend == "tvm":
            placed = targets.planned(a, "tvm", lent)
            jobs[placed.key] = (f"{a.component}/{a.variant}", placed)
    rows: list[TuningRow] = []
    end = time.monotonic() + seconds
    for done, (name, job) in enumerate(jobs.values()):
        share = max(0.0, end - time.monotonic()) / (len(jobs) - done)
        try:
            rows.append(tune_one(job, name, Store(store), share, progress))
        except InputError as error:
            rows.append(TuningRow(name=name, threads=job.threads, batch=job.batch, problem=str(error)))
    return tuple(rows)


def show_tuning(row: TuningRow, out: Console) -> None:
    """What was gained, and by which operators."""
    if row.problem:
        out.print(f"{row.name}: not tuned: {row.problem}")
        return
    shown = row.operators[:SHOWN]
    cells = [
        [
            f"{operator.share:.1%}",
            number(operator.ratio) if operator.ratio is not None else "",
            operator.choice or "",
            operator.workload,
        ]
        for operator in shown
    ]
    if cells:
        out.print(
            table(["share", "of its time", "choice", "operator"], cells, title=row.name, right=["share", "of its time"])
        )
    known = f"{row.known} were known, {row.left} are left"
    tried = f"{row.tried} choices in {row.rounds} rounds, {number(row.seconds)} s; {known}"
    if row.ratio is None:
        out.print(f"{row.name}: nothing faster beyond chance ({row.noise:.1%}); tried {tried}")
    else:
        out.print(f"{row.name}: {number(row.ratio)} of its time before (chance {row.noise:.1%}); tried {tried}")
    if row.before_ms is not None and row.after_ms is not None:
        out.print(
            f"{row.name}: {number(row.before_ms)} ms with analytic schedules, {number(row.after_ms)} ms with"
            f" {row.choices} tuned operators"
        )


def _row(job: Job, name: str, found: Tuned) -> TuningRow:
    kept = found.tuning
    return TuningRow(
        name=name,
        threads=job.threads,
        batch=job.batch,
        ratio=None if found.whole is None else found.whole.ratio,
        before_ms=None if kept is None else kept.before_ms,
        after_ms=None if kept is None else kept.after_ms,
        choices=0 if kept is None else len(kept.choices),
        rounds=found.rounds,
        tried=found.tried,
        known=found.known,
        left=found.left,
        noise=found.noise,
        seconds=found.seconds,
        operators=tuple(
            TunedOperator(
                workload=operator.workload,
                share=operator.share,
                choice=None if operator.choice is None else str(operator.choice),
                ratio=operator.ratio,
            )
            for operator in found.operators
        ),
    )

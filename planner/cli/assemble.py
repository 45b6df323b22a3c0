"""The bundle of a plan: artefacts from the store, where profiling left them; what is missing is compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compiler.build import build_all
from compiler.job import BACKENDS, Job, versions
from compiler.store import Store
from compiler.tuning.records import as_tuned
from planner.cli.devices import lent_classes
from planner.cli.loading import Loaded
from planner.cli.profiling.targets import Targets
from planner.situation import source_digests
from runtime.bundle import Bundle, write_bundle
from specs.artefact_folder import read_artefact
from specs.errors import InputError, Issue, Place
from specs.plan import Assignment, Plan

FindPlace = Callable[..., Place]
"""Of a path of keys and indices in the plan."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """`artefacts` are those in the bundle, `compiled` of them only now."""

    bundle: Bundle
    artefacts: int
    compiled: int


def assemble(
    plan: Plan, loaded: Loaded, store: Path, output: Path, place: FindPlace, step: Callable[[str], None]
) -> Assembled:
    """Write the bundle of `plan`, which is of the `loaded` files, to `output`; `place` says where the plan has what.

    Raises InputError where the plan is older than its inputs or what it was profiled with, and what compiling raises.
    """
    assert loaded.infra is not None
    stale = [name for name, d in source_digests(loaded.app).items() if plan.inputs.sources.get(name) != d]
    if stale:
        message = f"the plan is older than its inputs: {', '.join(stale)} changed since"
        where = place("inputs", "sources", stale[0])
        raise InputError(Issue(message, where, "profile and solve again"))
    targets, lent = Targets(loaded.app, loaded.models), lent_classes(loaded.infra)
    jobs = {
        _key(a): _as_planned(targets.planned(a, backend, lent), a.artefact, Store(store))
        for a in plan.assignments
        for backend in BACKENDS
        if a.backend == backend
    }
    for index, a in enumerate(plan.assignments):
        if a.provenance == "estimated":
            message = f"{a.component}: nobody ran it on {a.hardware!r}: the plan rests on an estimate there"
            where = place("assignments", index, "provenance")
            raise InputError(Issue(message, where, f"profile it on {a.hardware} and solve again"))
        if _key(a) in jobs and jobs[_key(a)].key != a.artefact:
            message = f"{a.component}: the compiler would now make another artefact than the one that was profiled"
            where = place("assignments", index, "artefact")
            raise InputError(Issue(message, where, "profile and solve again"))
    folders: dict[str, Path] = {}
    compiled = 0
    for built in build_all(list({job.key: job for job in jobs.values()}.values()), Store(store)):
        if built.error is not None:
            raise built.error
        assert built.folder is not None
        folders[built.job.key] = built.folder
        compiled += not built.cached
        if not built.cached:
            step(f"compiled {Path(built.job.model).name} for {built.job.backend}")
    used = {name: text for j in jobs.values() for name, text in versions(j.backend).items()}
    bundle = write_bundle(output, plan, loaded.app, loaded.infra, lambda a: folders[jobs[_key(a)].key], used)
    return Assembled(bundle, len(folders), compiled)


def _as_planned(job: Job, key: str, store: Store) -> Job:
    """`job` with the schedules of the artefact that was profiled, where those were tuned: as the store has it, else, to
    be made again, as tuning recorded them. What was tuned since is for the next profile."""
    if job.key == key:
        return job
    if (folder := store.find(key)) is not None:
        return job.model_copy(update={"tuned": read_artefact(folder).tuned or {}})
    recorded = as_tuned(job, store)
    return recorded if recorded.key == key else job


def _key(a: Assignment) -> tuple[str, str, str, int, int, str, str]:
    return a.component, a.variant, a.backend, a.threads, a.batch, str(a.segment), a.hardware

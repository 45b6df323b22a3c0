"""Artefacts from the store, or built in a child process with limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compiler.child import Child, Limits
from compiler.job import Job
from compiler.store import Store
from specs.errors import TierplanError

_WORKER = "compiler.build_worker"
_KEEP_MEMORY: Final = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""To glibc: what is freed is used again. TVM copies weights ten times, and new pages cost more time than copying."""


@dataclass(frozen=True, slots=True)
class Built:
    """What became of a job: the artefact's folder, or the error. `cached` says that nothing had to be made."""

    job: Job
    folder: Path | None
    error: TierplanError | None
    cached: bool


def build(job: Job, store: Store, limits: Limits | None = None) -> Path:
    """The folder of one job's artefact. Raises what building it raised (see `build_all`)."""
    built = next(build_all([job], store, limits))
    if built.error is not None:
        raise built.error
    assert built.folder is not None
    return built.folder


def build_all(jobs: Sequence[Job], store: Store, limits: Limits | None = None) -> Iterator[Built]:
    """The artefacts of all jobs, in order, each as soon as it is there; one child serves until it fails.

    A job's error is InputError for its model, NotKnown when it reached a limit, EnvironmentFailed for a missing tool
    or a crash; the jobs after it are built all the same.
    """
    child: Child | None = None
    try:
        for job in jobs:
            try:
                if (folder := store.find(job.key)) is not None:
                    yield Built(job, folder, None, cached=True)
                    continue
                if child is None or not child.alive:
                    child = Child(_WORKER, limits or Limits(), _KEEP_MEMORY)
                request = {"job": job.model_dump(mode="json"), "store": str(store.root)}
                child.ask(request, f"compiling {Path(job.model).name} for {job.backend}")
                yield Built(job, store.find(job.key), None, cached=False)
            except TierplanError as error:
                yield Built(job, None, error, cached=False)
    finally:
        if child is not None:
            child.close()

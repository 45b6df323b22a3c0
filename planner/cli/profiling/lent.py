"""One model on the devices that a tracker lends, without an application: on random inputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compiler.build import build, build_all
from compiler.estimate.estimate import memory_of
from compiler.estimate.operators import work_of
from compiler.given import Given
from compiler.indices import index_bounds
from compiler.job import job
from compiler.measure import Budget
from compiler.model import load_model, prepare
from compiler.remote.measure import RemoteSubject, measure_remotely
from compiler.remote.place import RemoteClass
from compiler.remote.tracker import Tracker
from compiler.signature import read_signature
from compiler.store import Store
from planner.cli.ending import ended
from planner.cli.output import counted
from planner.cli.profiling.model import row_of, some_inputs
from planner.cli.results import ModelLack, ModelRow
from runtime.executors import open_executor
from specs.errors import EnvironmentFailed, TierplanError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Lent:
    """A tracker, and the devices of it that are meant."""

    tracker: Tracker
    places: tuple[RemoteClass, ...]


def profile_lent(
    given: Given, lent: Lent, store: Path, budget: float, say: Say, step: Say
) -> tuple[list[ModelRow], list[ModelLack]]:
    """Compile `given` for each class, at one thread and at all of its cores, and measure it there.

    Raises what building the reference raises, and InputError for inputs that cannot be made up. That no tracker answers
    is said of each that is lacking.
    """
    model = load_model(given.file)
    samples = some_inputs(read_signature(given.file), given.name, index_bounds(model))
    reference = build(job(given, "onnxruntime"), Store(store))
    memory = memory_of(work_of(prepare(model, {}, given.name)), "tvm")
    lacking: list[ModelLack] = []

    def lack(place: RemoteClass, threads: int, error: TierplanError) -> None:
        say(f"not measured: tvm, {counted(threads, 'thread')} on {place.name}: {error}")
        lacking.append(ModelLack(backend="tvm", threads=threads, reason=str(error), device=place.name))

    subjects: list[RemoteSubject] = []
    seconds: dict[int, float | None] = {}
    for place in lent.places:
        jobs = [job(given, "tvm", count, target=place.described) for count in sorted({1, place.cores})]
        started = time.monotonic()
        with ended(build_all(jobs, Store(store))) as results:
            for built in results:
                if built.folder is None:
                    assert built.error is not None
                    lack(place, built.job.threads, built.error)
                    continue
                subjects.append(RemoteSubject(place, built.folder, reference, samples, memory))
                seconds[id(subjects[-1])] = None if built.cached else time.monotonic() - started
                step(f"compiled for {place.target}: {counted(built.job.threads, 'thread')}")
                started = time.monotonic()
    rows: list[ModelRow] = []
    left = {id(subject): subject for subject in subjects}
    try:
        with ended(measure_remotely(subjects, lent.tracker, open_executor, Budget.of(budget), say)) as outcomes:
            for found in outcomes:
                del left[id(found.subject)]
                if found.record is None:
                    assert found.error is not None
                    lack(found.subject.place, found.subject.artefact.threads, found.error)
                    continue
                step(f"measured on {found.record.host}: {counted(found.record.threads, 'thread')}")
                rows.append(row_of(found.record, seconds[id(found.subject)]))
    except EnvironmentFailed as error:  # the tracker is gone; what was measured is told
        for subject in left.values():
            lack(subject.place, subject.artefact.threads, error)
    return sorted(rows, key=lambda row: (row.device, row.threads)), lacking

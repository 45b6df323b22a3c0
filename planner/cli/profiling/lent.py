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
from planner.cli.profiling.model import some_inputs
from planner.cli.results import ModelLack, ModelRow
from runtime.executors import open_executor
from specs.errors import TierplanError

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

    Raises what building the reference raises, InputError for inputs that cannot be made up, EnvironmentFailed where no
    tracker answers.
    """
    model = load_model(given.file)
    samples = some_inputs(read_signature(given.file), given.name, index_bounds(model))
    reference = build(job(given, "onnxruntime"), Store(store))
    memory = memory_of(work_of(prepare(model, {}, given.name)), "tvm")
    lacking: list[ModelLack] = []

    def lack(place: RemoteClass, threads: int, error: TierplanError) -> None:
        say(f"not measured: tvm, {_counted(threads)} on {place.name}: {error}")
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
                step(f"compiled for {place.target}: {_counted(built.job.threads)}")
                started = time.monotonic()
    rows: list[ModelRow] = []
    with ended(measure_remotely(subjects, lent.tracker, open_executor, Budget.of(budget), say)) as outcomes:
        for found in outcomes:
            threads = found.subject.artefact.threads
            if found.record is None:
                assert found.error is not None
                lack(found.subject.place, threads, found.error)
                continue
            latency = found.record.latency
            step(f"measured on {found.record.host}: {_counted(threads)}")
            rows.append(
                ModelRow(
                    backend="tvm",
                    threads=threads,
                    p50_ms=1000 * latency.quantiles["0.5"],
                    p99_ms=1000 * latency.quantiles["0.99"] if "0.99" in latency.quantiles else None,
                    per_second=1 / latency.mean,
                    spread_ms=1000 * latency.spread,
                    memory=memory,
                    compile_seconds=seconds[id(found.subject)],
                    fallback=found.record.fallback,
                    device=f"{found.record.rpc} at {found.record.host}",
                )
            )
    return sorted(rows, key=lambda row: (row.device, row.threads)), lacking


def _counted(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"

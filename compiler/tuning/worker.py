"""The child that builds a model with the choices that it is told and times two builds against each other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from compiler.child import serve
from compiler.job import Job
from compiler.numerics import QUANTIZED_TOLERANCE, TOLERANCE, rounds
from compiler.samples import load_samples
from compiler.tuning.race import Side, difference, open_side, race
from compiler.tuning.space import neighbours
from specs.choice import Choice
from specs.errors import EnvironmentFailed
from specs.tvm_threads import set_threads


@dataclass
class _Work:
    """A model up to where choices begin, requests for it, and what was built of it, by name."""

    job: Job
    folder: Path
    blocked: Any
    machine: Any
    requests: list[list[Any]]
    clock: Callable[[], float]
    sides: dict[str, Side] = field(default_factory=dict)
    count: int = 0


_work: list[_Work] = []


def handle(request: dict[str, Any]) -> dict[str, Any]:
    if request["do"] == "open":
        work, quantized = _open(request)
        _work[:] = [work]
        return {"tolerance": QUANTIZED_TOLERANCE if quantized else TOLERANCE}
    if not _work:
        raise EnvironmentFailed("the child that tunes has no model")
    work = _work[0]
    return _build(work, request) if request["do"] == "build" else _race(work, request)


def _open(request: Mapping[str, Any]) -> tuple[_Work, bool]:
    """The model, and whether it is quantized."""
    set_threads()
    import tvm

    from compiler.importer import import_model
    from compiler.lower import to_blocks
    from compiler.make import model_of
    from compiler.schedules.machine import machine_of

    job = Job.model_validate(request["job"])
    model = model_of(job)
    machine = machine_of(job.target, job.threads)
    blocked = to_blocks(import_model(model, job.model, machine.widest), job.target, machine)
    names = [value.name for value in model.graph.input]
    samples = load_samples(Path(request["samples"]))
    requests = [[tvm.runtime.tensor(sample[name]) for name in names] for sample in samples]
    if job.threads > 1:
        _use_threads(job.threads)
    # On one thread, its time on the processor is its own, whatever else the machine does.
    clock = time.thread_time if job.threads == 1 else time.perf_counter
    return _Work(job, Path(request["folder"]), blocked, machine, requests, clock), rounds(model)


def _use_threads(threads: int) -> None:
    """As `runtime.executors.tvm` does: all cores that the process may use, shared."""
    import os

    from tvm_ffi import get_global_func

    get_global_func("runtime.config_threadpool")(-3, threads, [str(core) for core in sorted(os.sched_getaffinity(0))])


def _build(work: _Work, request: Mapping[str, Any]) -> dict[str, Any]:
    """Build with `choices` under `name`, in the place of what had it; what it has to choose from comes back."""
    import tvm

    from compiler.link import link
    from compiler.lower import lower_blocked
    from compiler.targets import target_of

    choices = {workload: Choice.model_validate(each) for workload, each in request["choices"].items()}
    lowered = lower_blocked(work.blocked, work.job.target, replace(work.machine, tuned=choices))
    work.count += 1
    folder = work.folder / str(work.count)
    folder.mkdir()
    file = link(lowered.executable, target_of(work.job.target), folder)
    library = tvm.runtime.load_module(str(file))
    file.unlink()  # it is in memory now
    anchors = lowered.anchors
    work.sides[request["name"]] = open_side(library, {f: a.workload for f, a in anchors.items()}, work.clock)
    chosen = {a.workload: (a.choice, a.space) for a in anchors.values() if a.choice is not None and a.space is not None}
    return {
        "workloads": {
            workload: {
                "present": choice.dump(),
                "others": [other.dump() for other in neighbours(work.machine, space, choice)],
            }
            for workload, (choice, space) in chosen.items()
        }
    }


def _race(work: _Work, request: Mapping[str, Any]) -> dict[str, Any]:
    """Race the builds called `first` and `second`."""
    first, second = work.sides[request["first"]], work.sides[request["second"]]
    apart = max(difference(first.run(*each), second.run(*each)) for each in work.requests)
    whole, parts = race((first, second), work.requests, work.clock, request["seconds"], request["fewest"])
    return {
        "whole": asdict(whole),
        "parts": {workload: asdict(ratio) for workload, ratio in parts.items()},
        "difference": apart if math.isfinite(apart) else None,
    }


if __name__ == "__main__":
    serve(handle)

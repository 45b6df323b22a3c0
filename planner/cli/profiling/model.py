"""One model on this machine, without an application: by backend and threads, on random inputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compiler.backends import installed
from compiler.build import build_all
from compiler.host import host
from compiler.job import job
from compiler.measure import ArtefactSubject, Budget, HardwareClass, measure_all
from compiler.numerics import check
from compiler.signature import read_signature
from compiler.store import Store
from planner.cli.ending import ended
from planner.cli.profiling.against import size_of
from planner.cli.results import ModelProfile, ModelRow
from runtime.executors import open_executor
from specs.artefact import ModelSignature
from specs.errors import AnswerIsNo, InputError, Issue, Place
from specs.tensors import TensorType

Say = Callable[[str], None]


def profile_model(file: Path, store: Path, budget: float, say: Say, step: Say) -> ModelProfile:
    """Build and measure `file` with each backend at one thread and at all of this machine's cores.

    Raises InputError for a model that is wrong, and AnswerIsNo where no backend can run it.
    """
    signature = read_signature(file)
    samples = [random_inputs(signature, np.random.default_rng(seed), str(file)) for seed in range(8)]
    threads = sorted({1, host().cores})
    # What the others are compared with comes first.
    order = sorted(installed(), key=lambda name: name != "onnxruntime")
    jobs = [job(file, backend, count) for backend in order for count in threads]
    folders: dict[str, Path] = {}
    seconds: dict[str, float | None] = {}
    started = time.monotonic()
    with ended(build_all(jobs, Store(store))) as results:
        for built in results:
            name = _called(built.job.backend, built.job.threads)
            if built.folder is None:
                say(f"not compiled: {name}: {built.error}")
            else:
                folders[built.job.key] = built.folder
                seconds[built.job.key] = None if built.cached else time.monotonic() - started
                step(f"{'found compiled' if built.cached else 'compiled'}: {name}")
            started = time.monotonic()
    reference = folders.get(jobs[0].key)
    subjects: list[ArtefactSubject] = []
    for key, folder in folders.items():
        subject = ArtefactSubject(folder, samples)
        try:
            if reference is not None and subject.backend != "onnxruntime":
                check(folder, reference, samples, open_executor)
        except AnswerIsNo as error:
            say(f"left out: {_called(subject.backend, subject.threads)}: {error}")
            continue
        step(f"checked: {_called(subject.backend, subject.threads)}")
        subjects.append(subject)
        assert key == subject.artefact.key
    here = HardwareClass("here", host().cores, None)
    rows: list[ModelRow] = []
    limits = Budget(seconds=budget, seconds_most=max(1.5, budget))
    with ended(measure_all(subjects, [here], open_executor, budget=limits)) as outcomes:
        for found in outcomes:
            assert isinstance(found.subject, ArtefactSubject)
            if found.record is None:
                say(f"not measured: {_called(found.subject.backend, found.subject.threads)}: {found.error}")
                continue
            latency = found.record.latency
            step(f"measured: {_called(found.subject.backend, found.subject.threads)}")
            rows.append(
                ModelRow(
                    backend=found.subject.backend,
                    threads=found.subject.threads,
                    p50_ms=1000 * latency.quantiles["0.5"],
                    p99_ms=1000 * latency.quantiles["0.99"] if "0.99" in latency.quantiles else None,
                    per_second=1 / latency.mean,
                    spread_ms=1000 * latency.spread,
                    memory=found.record.memory,
                    compile_seconds=seconds[found.subject.artefact.key],
                    fallback=found.record.fallback,
                )
            )
    if not rows:
        raise AnswerIsNo(f"{file}: no backend can run it on this machine")
    return ModelProfile(
        model=str(file),
        host=str(host()),
        inputs={name: str(kind) for name, kind in signature.inputs.items()},
        outputs={name: str(kind) for name, kind in signature.outputs.items()},
        bytes=size_of(file),
        rows=tuple(rows),
    )


def _called(backend: str, threads: int) -> str:
    return f"{backend}, {threads} {'thread' if threads == 1 else 'threads'}"


def random_inputs(signature: ModelSignature, chance: np.random.Generator, file: str) -> dict[str, Any]:
    """Random values of the right types, with the batch dimension. Raises InputError for a dimension without a size."""
    return {name: _random(kind, chance, name, file) for name, kind in signature.inputs.items()}


def _random(kind: TensorType, chance: np.random.Generator, name: str, file: str) -> Any:
    if kind.size is None:
        raise InputError(
            Issue(f"input {name!r} has no static shape: {kind}", Place(file), "export it with fixed sizes")
        )
    shape = (1, *(int(d) for d in kind.shape))
    if kind.dtype == "bool":
        return chance.integers(0, 2, shape).astype(bool)
    if kind.dtype.startswith("f"):
        return chance.standard_normal(shape).astype(kind.numpy)
    # Whole numbers are often indices (of words, classes): small ones are within any table.
    return chance.integers(0, 100, shape).astype(kind.numpy)

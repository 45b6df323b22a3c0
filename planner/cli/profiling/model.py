"""One model on this machine, without an application: by backend and threads, on random inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from compiler.backends import installed
from compiler.build import build_all
from compiler.child import Limits
from compiler.given import Given
from compiler.host import host
from compiler.indices import index_bounds
from compiler.job import job
from compiler.measure import ArtefactSubject, Budget, HardwareClass, measure_all
from compiler.model import load_model, source_digest
from compiler.numerics import check
from compiler.signature import read_signature
from compiler.store import Store
from compiler.tuning.records import as_tuned
from planner.cli.ending import ended
from planner.cli.output import counted
from planner.cli.profiling.against import size_of
from planner.cli.results import ModelLack, ModelProfile, ModelRow
from runtime.executors import open_executor
from specs.artefact import ModelSignature
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, Issue, NotKnown, Place, TierplanError
from specs.profile import Record
from specs.tensors import TensorType

SAMPLES: Final = 8
MOST_BYTES: Final = 1 << 28
"""Of the inputs of one request: 256 MiB, a picture of 4,700 x 4,700 pixels in colour and float32."""
SMALL: Final = 100
"""Whole numbers are often indices (of words, classes): those below it are within most tables."""

Say = Callable[[str], None]


def profile_model(
    model: Path | Given, store: Path, budget: float, say: Say, step: Say, checking: Limits | None = None
) -> ModelProfile:
    """Build and measure `model` with each backend at one thread and at all of this machine's cores.

    `checking` bounds each comparison with ONNX Runtime. What a backend cannot do is told and left out.

    Raises InputError for a model that is wrong; where nothing is left, NotKnown if a limit was reached,
    EnvironmentFailed if that is why, else AnswerIsNo.
    """
    given = model if isinstance(model, Given) else Given(str(model), model, source_digest(model))
    file, name = given.file, given.name
    signature = read_signature(file)
    samples = some_inputs(signature, name, index_bounds(load_model(file)))
    threads = sorted({1, host().cores})
    # What the others are compared with comes first.
    order = sorted(installed(), key=lambda name: name != "onnxruntime")
    jobs = [as_tuned(job(given, backend, count), Store(store)) for backend in order for count in threads]
    folders: dict[str, Path] = {}
    seconds: dict[str, float | None] = {}
    lacking = _Lacking(say)
    started = time.monotonic()
    with ended(build_all(jobs, Store(store))) as results:
        for built in results:
            called = _called(built.job.backend, built.job.threads)
            if built.folder is None:
                assert built.error is not None
                if built.job.backend == "onnxruntime" and isinstance(built.error, InputError):
                    raise built.error  # it takes every model as it is: this one is wrong
                lacking.add("not compiled", built.job.backend, built.job.threads, built.error)
            else:
                folders[built.job.key] = built.folder
                seconds[built.job.key] = None if built.cached else time.monotonic() - started
                step(f"{'found compiled' if built.cached else 'compiled'}: {called}")
            started = time.monotonic()
    reference = folders.get(jobs[0].key)
    subjects: list[ArtefactSubject] = []
    for key, folder in folders.items():
        subject = ArtefactSubject(folder, samples)
        try:
            if reference is not None and subject.backend != "onnxruntime":
                check(folder, reference, samples, open_executor, limits=checking)
        except (AnswerIsNo, NotKnown, EnvironmentFailed) as error:
            lacking.add("left out", subject.backend, subject.threads, error)
            continue
        step(f"checked: {_called(subject.backend, subject.threads)}")
        subjects.append(subject)
        assert key == subject.artefact.key
    here = HardwareClass("here", host().cores, None)
    rows: list[ModelRow] = []
    limits = Budget.of(budget)
    with ended(measure_all(subjects, [here], open_executor, budget=limits)) as outcomes:
        for found in outcomes:
            assert isinstance(found.subject, ArtefactSubject)
            if found.record is None:
                assert found.error is not None
                lacking.add("not measured", found.subject.backend, found.subject.threads, found.error)
                continue
            step(f"measured: {_called(found.subject.backend, found.subject.threads)}")
            rows.append(row_of(found.record, seconds[found.subject.artefact.key]))
    if not rows:
        raise lacking.verdict()(f"{name}: no backend can run it on this machine: {lacking.rows[0].reason}")
    return ModelProfile(
        model=name,
        host=str(host()),
        inputs={name: str(kind) for name, kind in signature.inputs.items()},
        outputs={name: str(kind) for name, kind in signature.outputs.items()},
        bytes=size_of(file),
        rows=tuple(rows),
        lacking=tuple(lacking.rows),
        conversion=given.conversion,
    )


def row_of(record: Record, compile_seconds: float | None) -> ModelRow:
    """What `record` says of a model; no `compile_seconds` where it was cached."""
    latency = record.latency
    return ModelRow(
        backend=record.backend,
        threads=record.threads,
        p50_ms=1000 * latency.quantiles["0.5"],
        p99_ms=1000 * latency.quantiles["0.99"] if "0.99" in latency.quantiles else None,
        per_second=1 / latency.mean,
        spread_ms=1000 * latency.spread,
        memory=record.memory,
        compile_seconds=compile_seconds,
        fallback=record.fallback,
        tuned=bool(record.tuned),
        disturbed=record.disturbed,
        device="" if record.rpc is None else f"{record.rpc} at {record.host}",
    )


@dataclass
class _Lacking:
    """Backends that are not in the table, and why."""

    say: Say
    rows: list[ModelLack] = field(default_factory=list)
    errors: list[TierplanError] = field(default_factory=list)

    def verdict(self) -> type[TierplanError]:
        """What it means that nothing is left: a limit was reached, the surroundings failed, or the answer is no."""
        if any(isinstance(error, NotKnown) for error in self.errors):
            return NotKnown
        failed = all(isinstance(error, EnvironmentFailed) for error in self.errors)
        return EnvironmentFailed if failed else AnswerIsNo

    def add(self, what: str, backend: str, threads: int, error: TierplanError) -> None:
        self.say(f"{what}: {_called(backend, threads)}: {error}")
        self.rows.append(ModelLack(backend=backend, threads=threads, reason=f"{what}: {error}"))
        self.errors.append(error)


def _called(backend: str, threads: int) -> str:
    return f"{backend}, {counted(threads, 'thread')}"


def some_inputs(signature: ModelSignature, file: str, bounds: Mapping[str, int]) -> list[dict[str, Any]]:
    """Up to `SAMPLES` random inputs, fewer where they are large; whole numbers below those `bounds` that are known.

    Raises InputError for a dimension without a size, and for inputs of more than `MOST_BYTES`.
    """
    bytes_ = 0
    for name, kind in signature.inputs.items():
        if kind.size is None:
            message = f"input {name!r} has no static shape: {kind}"
            raise InputError(Issue(message, Place(file), "export it with fixed sizes"))
        bytes_ += kind.size
        if bytes_ > MOST_BYTES:
            message = f"input {name!r} is too large: {kind}; expected inputs of at most {MOST_BYTES:,} bytes together"
            raise InputError(Issue(message, Place(file), "export it with smaller sizes"))
    count = max(1, min(SAMPLES, MOST_BYTES // max(1, bytes_)))
    chances = [np.random.default_rng(seed) for seed in range(count)]
    return [
        {name: _random(kind, min(SMALL, bounds.get(name, SMALL)), chance) for name, kind in signature.inputs.items()}
        for chance in chances
    ]


def _random(kind: TensorType, below: int, chance: np.random.Generator) -> Any:
    """Random values of the right type, with the batch dimension."""
    shape = (1, *(int(d) for d in kind.shape))
    if kind.dtype == "bool":
        return chance.integers(0, 2, shape).astype(bool)
    if kind.dtype.startswith("f"):
        return chance.standard_normal(shape, np.float32).astype(kind.numpy)
    return chance.integers(0, below, shape).astype(kind.numpy)

"""What an artefact or a function costs on a hardware class: measured in a child process, as it will run.

Thread pools of TVM and ONNX Runtime disturb each other, so that each backend and number of threads has its own child;
within it, artefacts share the start-up. A slower class is this host, stretched (`specs.emulation`): the same runs speak
for every class.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from compiler.child import Child, Limits
from compiler.host import host
from compiler.samples import Sample, save_samples
from specs.artefact import Artefact, OpenExecutor, Segment
from specs.artefact_folder import read_artefact
from specs.emulation import METHOD
from specs.errors import EnvironmentFailed, InputError, TierplanError
from specs.infrastructure import Hardware
from specs.mixture import mixture
from specs.profile import BucketTimes, Distribution, EmulatedBy, Record

LoadFunction = Callable[..., Callable[..., Any]]
"""(project folder, "module:function"[, environment, names of secrets][, outputs=types by name]) -> the function. One
that another process runs has a method `peak_memory`, in bytes."""

FUNCTION = "python"
"""The backend of a record about a Python function."""

_WORKER = "compiler.measure_worker"


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to measure: until `seconds` have passed and `least` runs are done, at the latest after `seconds_most`.

    `warmup` runs come first and are not counted; nothing is judged from fewer than `fewest`. Before each run the
    process writes `evict` bytes, so that caches hold something else, and rests for `pause` seconds; with no pause, runs
    follow each other at once. Short work is slower the longer the rest before, as in a stage that serves a few requests
    a second: after 3 ms, decoding a small picture took 0.43 ms, after 10, 20, 40 and 100 ms 0.55 to 0.6.
    """

    seconds: float = 0.4
    least: int = 100
    most: int = 4000
    seconds_most: float = 1.5
    fewest: int = 10
    warmup: int = 3
    pause: float = 0.01
    evict: int = 8_000_000

    @classmethod
    def of(cls, seconds: float) -> Budget:
        """About `seconds` for each subject: a slow one may take up to four times as long, but not beyond 1.5 s."""
        return cls(seconds=seconds, seconds_most=max(seconds, min(1.5, 4 * seconds)))

    @property
    def method(self) -> str:
        """How it is measured, in words."""
        how = f"each after a pause of {1e3 * self.pause:g} ms that cools the caches" if self.pause else "back to back"
        return f"wall clock of single runs in a process of their own, {how}"


@dataclass(frozen=True, slots=True)
class ArtefactSubject:
    """An artefact, and real inputs for it (arrays of as many items as it takes at once).

    Where tensors at its ends are encoded, `on_wire` is its segment by their names on the wire, and `samples` hold what
    comes encoded. Where it has buckets, `shares` are those of requests in each, and `samples` are `by_bucket`, one
    bucket after another.
    """

    folder: Path
    samples: Sequence[Sample]
    shares: Mapping[int, float] = field(default_factory=dict)
    by_bucket: Mapping[int, Sequence[Sample]] = field(default_factory=dict)
    on_wire: Segment | None = None
    artefact: Artefact = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "artefact", read_artefact(self.folder))
        if self.by_bucket:
            object.__setattr__(self, "samples", [sample for part in self.by_bucket.values() for sample in part])

    @property
    def segment(self) -> Segment:
        return self.artefact.segment if self.on_wire is None else self.on_wire

    @property
    def backend(self) -> str:
        return self.artefact.backend

    @property
    def threads(self) -> int:
        return self.artefact.threads


@dataclass(frozen=True, slots=True)
class FunctionSubject:
    """A Python function ``module:name`` of `project`, its digest, and real inputs by keyword.

    With `state`, bytes at most, it is a class whose object remembers: its memory counts the state, and a checkpoint of
    it that is being written. With an `environment`, it is opened with that and the names of those of its variables that
    are `secrets`. With the types of its `outputs`, it is opened as a stage that checks them. With a
    `timeout` in seconds, `function` is the endpoint of a hosted API, which may be called only so often.
    """

    project: Path
    function: str
    source: str
    samples: Sequence[Sample]
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    secrets: Sequence[str] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    state: float | None = None
    timeout: float | None = None

    @property
    def is_hosted(self) -> bool:
        """Whether it is a hosted API."""
        return self.timeout is not None

    @property
    def backend(self) -> str:
        return FUNCTION

    @property
    def threads(self) -> int:
        return 1


Subject = ArtefactSubject | FunctionSubject


@dataclass(frozen=True, slots=True)
class HardwareClass:
    """A class that this host can stand for: itself (`cpu` None), or slowed to `cpu` of its speed."""

    name: str
    cores: int
    cpu: float | None

    @property
    def emulated_by(self) -> EmulatedBy | None:
        return None if self.cpu is None else EmulatedBy(host=str(host()), method=METHOD, cpu=self.cpu)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One measurement, or why there is none."""

    subject: Subject
    hardware: str
    record: Record | None
    error: TierplanError | None


def classes(hardware: Mapping[str, Hardware]) -> list[HardwareClass]:
    """The classes that this host can stand for: emulated ones, and those that say `device: here`."""
    return [
        HardwareClass(name, int(spec.cores), float(spec.emulate.cpu) if spec.emulate else None)
        for name, spec in hardware.items()
        if spec.emulate or spec.device == "here"
    ]


def measure_all(
    subjects: Sequence[Subject],
    hardware: Sequence[HardwareClass],
    open_executor: OpenExecutor,
    load_function: LoadFunction | None = None,
    budget: Budget | None = None,
    known: Collection[tuple[object, ...]] = (),
    limits: Limits | None = None,
) -> Iterator[Outcome]:
    """Every subject on every class with enough cores, each as soon as it is measured.

    What stands in `known` (keys of records) is left out, so that an interrupted profile goes on where it stopped.
    `open_executor` and `load_function` must be functions of a module: the child imports them by name, so that what is
    measured is what will run. An error ends one measurement, not the others.
    """
    openers = {False: open_executor, True: load_function}
    ordered = sorted(subjects, key=lambda s: (s.backend, s.threads))
    for (backend, threads), members in groupby(ordered, key=lambda s: (s.backend, s.threads)):
        group = list(members)
        opener = _reference(openers[backend == FUNCTION], backend)
        child: Child | None = None
        with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
            try:
                for number, subject in enumerate(group):
                    wanted = [h for h in hardware if h.cores >= threads and _key(subject, h) not in known]
                    if not wanted:
                        continue
                    file = Path(folder) / f"{number}.npz"
                    try:
                        save_samples(file, subject.samples)
                    except InputError as error:
                        yield from (Outcome(subject, h.name, None, error) for h in wanted)
                        continue
                    if child is None or not child.alive:
                        child = Child(_WORKER, limits or Limits(seconds=120 * max(len(_parts(s)) for s in group)))
                    yield from _measure(child, subject, wanted, opener, file, budget or Budget())
            finally:
                if child is not None:
                    child.close()


def _measure(
    child: Child, subject: Subject, places: Sequence[HardwareClass], opener: str, file: Path, budget: Budget
) -> Iterator[Outcome]:
    """One subject, measured once for all `places`."""
    request = {
        "open": opener,
        "backend": subject.backend,
        "folder": str((subject.folder if isinstance(subject, ArtefactSubject) else subject.project).resolve()),
        "function": None if isinstance(subject, ArtefactSubject) else subject.function,
        "environment": None if isinstance(subject, ArtefactSubject) else subject.environment,
        "secrets": [] if isinstance(subject, ArtefactSubject) else list(subject.secrets),
        "outputs": {} if isinstance(subject, ArtefactSubject) else dict(subject.outputs),
        "keeps_state": isinstance(subject, FunctionSubject) and subject.state is not None,
        "timeout": subject.timeout if isinstance(subject, FunctionSubject) else None,
        "threads": subject.threads,
        "on_wire": subject.on_wire.dump() if isinstance(subject, ArtefactSubject) and subject.on_wire else {},
        "samples": str(file),
        "parts": _parts(subject),
        "cpus": [_share(place) for place in places],
        "budget": {name: getattr(budget, name) for name in Budget.__slots__},
    }
    try:
        answer = child.ask(request, f"measuring {_name(subject)}")
    except TierplanError as error:
        yield from (Outcome(subject, place.name, None, error) for place in places)
        return
    for place in places:
        latencies = [Distribution.model_validate(each) for each in answer["latency"][_share(place)]]
        method = budget.method + _lacking(subject, int(answer["seen"]))
        record = _record(subject, place, latencies, float(answer["memory"]) + _remembered(subject), method)
        yield Outcome(subject, place.name, record.model_copy(update={"others": answer["others"]}), None)


def _remembered(subject: Subject) -> float:
    """Bytes of a state and of a checkpoint of it, both as large as they may become: what was measured had none yet."""
    return 2 * subject.state if isinstance(subject, FunctionSubject) and subject.state is not None else 0.0


def _lacking(subject: Subject, seen: int) -> str:
    """What the method of something with state adds where it is so slow that it was timed before it knew all samples."""
    keeps_state = isinstance(subject, FunctionSubject) and subject.state is not None
    return f", when it had seen {seen} of {len(subject.samples)}" if keeps_state and seen < len(subject.samples) else ""


def _parts(subject: Subject) -> list[int]:
    """How many of its samples are measured together: all, or those of each bucket."""
    if isinstance(subject, ArtefactSubject) and subject.by_bucket:
        return [len(samples) for samples in subject.by_bucket.values()]
    return [len(subject.samples)]


def _share(place: HardwareClass) -> str:
    return repr(place.cpu or 1.0)


def _record(
    subject: Subject, place: HardwareClass, latencies: Sequence[Distribution], memory: float, method: str
) -> Record:
    """`latencies` are of each of the subject's parts."""
    artefact = subject.artefact if isinstance(subject, ArtefactSubject) else None
    emulated = place.emulated_by
    shares = subject.shares if isinstance(subject, ArtefactSubject) else {}
    buckets = [
        BucketTimes(size=size, share=share, latency=latency)
        for (size, share), latency in zip(shares.items(), latencies, strict=bool(shares))
    ]
    return Record(
        source=subject.artefact.source if isinstance(subject, ArtefactSubject) else subject.source,
        segment=str(subject.segment) if isinstance(subject, ArtefactSubject) else "..",
        backend=subject.backend,
        threads=subject.threads,
        batch=artefact.batch if artefact else 1,
        hardware=place.name,
        emulated_by=emulated,
        provenance="emulated" if emulated else "measured",
        method=method,
        host=str(host()),
        latency=mixture(buckets) if buckets else latencies[0],
        buckets=tuple(buckets) or None,
        memory=memory,
        artefact=artefact.key if artefact else "",
        fallback=artefact.fallback if artefact else (),
        tuned=True if artefact and artefact.tuned else None,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _key(subject: Subject, place: HardwareClass) -> tuple[object, ...]:
    """The key that this measurement's record would have."""
    nothing = Distribution(mean=0, second=0, third=0, quantiles={"0.5": 0}, n=0, spread=0)
    return _record(subject, place, [nothing] * len(_parts(subject)), 0, "").key


def _name(subject: Subject) -> str:
    if isinstance(subject, FunctionSubject):
        return subject.function
    made = subject.artefact
    return f"{made.key[:12]} ({made.backend}, {made.threads} threads, {made.batch} at once)"


def _reference(function: Callable[..., Any] | None, backend: str) -> str:
    """`function` as ``module:name``. Raises EnvironmentFailed for what a child could not import."""
    if function is None:
        raise EnvironmentFailed(f"nothing was given that can open what runs on {backend}")
    if "<" in function.__qualname__ or function.__module__ == "__main__":
        raise EnvironmentFailed(f"{function.__qualname__} is no function of a module, so that no child can import it")
    return f"{function.__module__}:{function.__qualname__}"

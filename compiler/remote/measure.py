"""Artefacts measured on the devices of a tracker: many devices at once, a lost one replaced, each loss told.

A thread a device: one uploads while another measures. Each speaks through a child process of its own
(`compiler.remote.worker`).
"""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Final

from compiler.child import Child, Limits
from compiler.measure import Budget
from compiler.numerics import QUANTIZED_TOLERANCE, TOLERANCE, is_quantized
from compiler.remote.place import RemoteClass
from compiler.remote.tracker import Lease, Tracker
from compiler.samples import Sample, in_groups, joined, save_samples
from specs.artefact import Artefact, OpenExecutor
from specs.artefact_folder import read_artefact
from specs.errors import AnswerIsNo, EnvironmentFailed, TierplanError
from specs.profile import Distribution, Record

ATTEMPTS: Final = 2
"""Devices that may be lost over one artefact: what devices die of, such as instructions that they lack, ends there."""
SESSIONS: Final = 3
"""Times that a thread tries to open one, before it gives up."""
PATIENCE: Final = 60.0
"""Seconds to wait for a device, where some are promised."""
_WORKER: Final = "compiler.remote.worker"


@dataclass(frozen=True, slots=True)
class RemoteSubject:
    """An artefact for TVM in `folder`, for the devices of `place`; its `reference` is of the same segment, for ONNX
    Runtime.

    `samples` are real inputs of one item each, `memory` the bytes that it is estimated to hold at the peak, for which
    no device can be asked.
    """

    place: RemoteClass
    folder: Path
    reference: Path
    samples: Sequence[Sample]
    memory: float
    artefact: Artefact = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "artefact", read_artefact(self.folder))


@dataclass(frozen=True, slots=True)
class RemoteOutcome:
    """One measurement, or why there is none."""

    subject: RemoteSubject
    record: Record | None
    error: TierplanError | None


def measure_remotely(
    subjects: Sequence[RemoteSubject],
    tracker: Tracker,
    open_executor: OpenExecutor,
    budget: Budget | None = None,
    say: Callable[[str], None] = lambda _: None,
    limits: Limits | None = None,
    patience: float = PATIENCE,
) -> Iterator[RemoteOutcome]:
    """Every subject on a device of its class that has enough cores, in the order in which they end.

    Outputs are compared with the reference's first: what differs is an AnswerIsNo. `say` is told of each device that is
    lost; its artefact goes to the next one, `ATTEMPTS` times. Ending the iterator ends all sessions.

    Raises EnvironmentFailed where no tracker answers; that it lends nothing under a key is the error of its subjects.
    """
    wanted = [subject for subject in subjects if subject.artefact.threads <= subject.place.cores]
    if not wanted:
        return
    devices = tracker.devices()
    opener = f"{open_executor.__module__}:{open_executor.__qualname__}"
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        shared = _Shared(tracker, opener, budget or Budget(), limits or Limits(seconds=300), patience)
        queues = {subject.place.key: _Queue(subject.place.key, shared) for subject in wanted}
        for number, subject in enumerate(wanted):
            queues[subject.place.key].waiting.append(_write(subject, Path(folder), number))
        try:
            for queue in queues.values():
                queue.start(devices.get(queue.key, 0))
            yield from _outcomes(list(queues.values()), shared, len(wanted), say)
        finally:
            shared.end()
            for queue in queues.values():
                queue.join()


@dataclass
class _Work:
    subject: RemoteSubject
    samples: str
    groups: str
    lost: list[str] = field(default_factory=list)


def _write(subject: RemoteSubject, folder: Path, number: int) -> _Work:
    alone, together = folder / f"{number}.npz", folder / f"{number}-together.npz"
    save_samples(alone, subject.samples)
    save_samples(together, [joined(group) for group in in_groups(subject.samples, subject.artefact.batch)])
    return _Work(subject, str(alone), str(together))


@dataclass
class _Shared:
    """What all threads have in common."""

    tracker: Tracker
    opener: str
    budget: Budget
    limits: Limits
    patience: float
    done: Queue[RemoteOutcome | str] = field(default_factory=Queue)
    ended: threading.Event = field(default_factory=threading.Event)
    children: set[Child] = field(default_factory=set)

    def is_wanted(self) -> bool:
        return not self.ended.is_set()

    def end(self) -> None:
        """Every thread comes to its end, whatever its device does."""
        self.ended.set()
        for child in list(self.children):
            child.kill()


def _outcomes(
    queues: Sequence[_Queue], shared: _Shared, count: int, say: Callable[[str], None]
) -> Iterator[RemoteOutcome]:
    """As many as `count`; what no thread is left for ends with an error. News are told in the caller's thread."""
    while count:
        for queue in queues:
            if not queue.is_served:
                for work in queue.drain():
                    text = f"no device {queue.key!r} is left at the tracker {shared.tracker}"
                    shared.done.put(RemoteOutcome(work.subject, None, EnvironmentFailed(_after(text, work))))
        try:
            found = shared.done.get(timeout=0.1)
        except Empty:
            continue
        if isinstance(found, str):
            say(found)
        else:
            count -= 1
            yield found


@dataclass
class _Queue:
    """What is to be measured on the devices under one key, and a thread for each of them."""

    key: str
    shared: _Shared
    waiting: deque[_Work] = field(default_factory=deque)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, devices: int) -> None:
        self.threads += [
            threading.Thread(target=self.serve, daemon=True) for _ in range(min(devices, len(self.waiting)))
        ]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join()

    @property
    def is_served(self) -> bool:
        return any(thread.is_alive() for thread in self.threads)

    def drain(self) -> list[_Work]:
        left = list(self.waiting)
        self.waiting.clear()
        return left

    def serve(self) -> None:
        """One device after another, until there is nothing left to measure."""
        child: Child | None = None
        lease: Lease | None = None
        try:
            while not self.shared.ended.is_set():
                try:
                    work = self.waiting.popleft()
                except IndexError:
                    return
                if child is None:
                    try:
                        child, lease = self._borrow()
                    except Exception as error:  # whatever it is, nobody else may serve what is left
                        self.waiting.append(work)
                        self.shared.done.put(f"waiting for a device {self.key!r}: {error}")
                        return
                assert lease is not None
                try:
                    lost = self._measure(child, lease, work)
                except Exception as error:  # whatever it is, who waits for the outcome must have one
                    text = f"{type(error).__name__}: {error}"
                    self.shared.done.put(RemoteOutcome(work.subject, None, EnvironmentFailed(text)))
                    continue
                if lost is not None:
                    self._close(child)
                    child = None
                    self._return(work, lease, lost)
        finally:
            if child is not None:
                self._close(child)

    def _borrow(self) -> tuple[Child, Lease]:
        """A child in a session with a device. Raises NotKnown or EnvironmentFailed where none can be had."""
        for attempt in range(SESSIONS):
            child = self._child()
            try:
                child.ask({"prepare": True}, "loading TVM")  # a device waits 6 s for who borrowed it
                lease = self.shared.tracker.request(self.key, self.shared.patience, self.shared.is_wanted)
            except BaseException:
                self._close(child)
                raise
            try:
                answer = child.ask({"lease": [lease.address, lease.port, lease.matchkey]}, f"connecting to {lease}")
            except TierplanError as error:
                answer = {"lost": str(error)}
            if "lost" not in answer:
                return child, lease
            self._close(child)
            if not self.shared.ended.is_set():
                why = f"attempt {attempt + 1} of {SESSIONS}: {answer['lost']}"
                self.shared.done.put(f"no session with device {lease} ({self.key}), {why}")
        raise EnvironmentFailed(f"no session in {SESSIONS} attempts")

    def _child(self) -> Child:
        child = Child(_WORKER, self.shared.limits)
        self.shared.children.add(child)  # before it is asked whether all is over: `end` kills what stands there then
        if self.shared.ended.is_set():
            child.kill()
        return child

    def _measure(self, child: Child, lease: Lease, work: _Work) -> str | None:
        """Put the outcome; or, where the device is lost, say why."""
        subject = work.subject
        request: dict[str, Any] = {
            "folder": str(subject.folder.resolve()),
            "reference": str(subject.reference.resolve()),
            "open": self.shared.opener,
            "samples": work.samples,
            "groups": work.groups,
            "budget": {name: getattr(self.shared.budget, name) for name in Budget.__slots__},
        }
        try:
            answer = child.ask(request, f"measuring on {lease}")
        except TierplanError as error:
            if not child.alive:
                return str(error)
            self.shared.done.put(RemoteOutcome(subject, None, error))
            return None
        if "lost" in answer:
            return str(answer["lost"])
        self.shared.done.put(self._outcome(subject, lease, answer))
        return None

    def _outcome(self, subject: RemoteSubject, lease: Lease, answer: dict[str, Any]) -> RemoteOutcome:
        allowed = QUANTIZED_TOLERANCE if is_quantized(subject.reference) else TOLERANCE
        if not answer["relative"] <= allowed:
            text = f"{answer['output']} differs from ONNX Runtime by {answer['relative']:.2g} of its largest value"
            return RemoteOutcome(subject, None, AnswerIsNo(f"on {lease}: {text}; {allowed:g} is allowed"))
        made = subject.artefact
        record = Record(
            source=made.source,
            segment=str(made.segment),
            backend=made.backend,
            threads=made.threads,
            batch=made.batch,
            hardware=subject.place.name,
            provenance="measured",
            method=method_of(self.shared.budget),
            host=str(lease),
            rpc=self.key,
            latency=Distribution.model_validate(answer["latency"]),
            memory=subject.memory,
            artefact=made.key,
            fallback=made.fallback,
            measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return RemoteOutcome(subject, record, None)

    def _return(self, work: _Work, lease: Lease, why: str) -> None:
        """What was on a lost device goes to the next one, unless it has cost enough of them."""
        if self.shared.ended.is_set():
            return
        work.lost.append(str(lease))
        name = work.subject.artefact.key[:12]
        if len(work.lost) < ATTEMPTS:
            device = f"lost device {lease} ({self.key}) while it measured {name}"
            self.shared.done.put(f"{device}, which is tried again: {why}")
            self.waiting.append(work)
        else:
            text = _after(f"it may need what these devices lack, such as instructions of its target: {why}", work)
            self.shared.done.put(RemoteOutcome(work.subject, None, EnvironmentFailed(text)))

    def _close(self, child: Child) -> None:
        self.shared.children.discard(child)
        child.close()


def _after(text: str, work: _Work) -> str:
    return f"lost {', '.join(work.lost)} while measuring it; {text}" if work.lost else text


def method_of(budget: Budget) -> str:
    """How it is measured, in words."""
    return (
        f"time_evaluator of TVM's RPC on the device, single runs, each after {budget.pause * 1e3:g} ms of rest with "
        f"{budget.evict / 1e6:g} MB written; what a stage does beside is not in it; memory estimated"
    )

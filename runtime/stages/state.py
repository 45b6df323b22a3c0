"""Components that keep state: the one object that remembers, its checkpoints, and who may go on from them.

The function of such a component is a class. One object of it serves a member's requests, one call at a time. While a
deployment moves, two releases have the component: the new one's object is not in force, and calls wait for it, until
the old one has ended its requests, has written its last checkpoint, and has been put out of force.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from runtime.stages.checkpoint import CheckpointFiles
from runtime.stages.functions import load_function
from specs.application import State
from specs.errors import EnvironmentFailed, InputError, Issue, Place, TierplanError
from specs.function_files import STATE_METHODS, module_file

LOOK: Final = 0.05
"""Seconds at least between looks whether a checkpoint is due."""
_LOG: Final = logging.getLogger(__name__)


class Remembering(Protocol):
    """What the user's class makes."""

    def __call__(self, **inputs: Any) -> Any:
        """Outputs by name, as of any function; what it remembers may change."""
        ...

    def save(self) -> bytes:
        """All that it remembers."""
        ...

    def load(self, saved: bytes) -> None:
        """Remember what was saved, and nothing else."""
        ...


@dataclass(frozen=True, slots=True)
class StateMaker:
    """Makes objects of the class ``module:Name`` of `project`."""

    project: Path
    function: str

    def __call__(self) -> Remembering:
        """A new object, which remembers nothing. Raises InputError where there is no such class, or it raises."""
        place = Place(str(module_file(self.project, self.function)))
        found: Any = load_function(self.project, self.function)
        if not isinstance(found, type):
            raise InputError(Issue(f"{self.function} keeps state: expected a class, not a function", place))
        missing = [name for name in STATE_METHODS if not callable(getattr(found, name, None))]
        if missing:
            raise InputError(Issue(f"{self.function} keeps state: the class has no {missing[0]}", place))
        try:
            made: Remembering = found()
        except (Exception, SystemExit) as error:  # user code may raise anything
            what = f"{self.function} cannot be made: {type(error).__name__}: {error}"
            raise InputError(Issue(what, place, "it is made without arguments")) from error
        return made


@dataclass(frozen=True, slots=True)
class StateReport:
    """What `planner status` says: the bytes of the last checkpoint and its age in seconds, whether anything changed
    since, and why the latest could not be written; `in_force` is False while the state is another release's.
    """

    component: str
    in_force: bool
    size: int
    age: float
    changed: bool
    problem: str


class Kept:
    """Called as the function is, from any thread. Without `files` nothing outlives it."""

    def __init__(
        self, component: str, state: State, make: Callable[[], Remembering], files: CheckpointFiles | None = None
    ) -> None:
        self.component, self.state, self.make, self.files = component, state, make, files
        self.problem = ""
        self._writing = threading.Lock()  # taken before `_turn`
        self._turn = threading.Condition()
        self._object = make()
        self._in_force = self._closed = self._changed = False
        self._size, self._written = 0, time.monotonic()

    def __call__(self, **inputs: Any) -> Any:
        """Waits while the state is not here. Raises EnvironmentFailed where it will not come."""
        with self._turn:
            while not self._in_force:
                if self._closed:
                    raise EnvironmentFailed(f"the state of {self.component} is not here any more")
                self._turn.wait()
            self._changed = True
            return self._object(**inputs)

    @property
    def place(self) -> Place | None:
        """Where the class says what a call does."""
        code = getattr(type(self._object).__call__, "__code__", None)
        return Place(code.co_filename, code.co_firstlineno, 1) if code is not None else None

    def take_over(self) -> None:
        """Go on from the last checkpoint, from here on as the owner of the state; nothing where that is so.

        Raises InputError for a checkpoint that is damaged or that the object does not take.
        """
        with self._writing, self._turn:
            if self._in_force:
                return
            is_new = self.files is not None and not self.files.file.exists()
            made, found = self.make(), self.files.find() if self.files else None
            if found is not None:
                _load(made, found.data, self.component)
            self._object = made
            if self.files:
                self.files.remove_parts()
                self._write(self._saved())
                if is_new:  # what another member left is this one's now
                    self.files.remove_others()
            self._in_force = True
            self._turn.notify_all()

    def hand_over(self) -> None:
        """Write the last checkpoint; calls wait from here on. Nothing where the state is not here.

        Raises EnvironmentFailed where it cannot be written: the state then stays here.
        """
        with self._writing, self._turn:
            if self._in_force and self.files:
                self._write(self._saved())
                self._in_force = False

    def checkpoint(self) -> None:
        """Write what has changed since the last. What goes wrong is told, and tried again after the same time."""
        with self._writing:
            try:
                with self._turn:
                    if not (self._in_force and self._changed and self.files):
                        return
                    saved = self._saved()
                    self._changed = False
                self._write(saved)
            except TierplanError as error:
                self._changed, self._written = True, time.monotonic()
                self.problem = str(error)
                _LOG.error("no checkpoint of %s: %s", self.component, error)

    def close(self) -> None:
        """Write what has changed; calls raise from here on."""
        self.checkpoint()
        with self._turn:
            self._in_force, self._closed = False, True
            self._turn.notify_all()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._in_force and self._changed and time.monotonic() - self._written >= self.state.every

    def report(self) -> StateReport:
        age = time.monotonic() - self._written
        return StateReport(self.component, self._in_force, self._size, age, self._changed, self.problem)

    def _saved(self) -> bytes:
        try:
            saved = self._object.save()
        except (Exception, SystemExit) as error:  # user code may raise anything
            raise EnvironmentFailed(f"{self.component}: save(): {type(error).__name__}: {error}") from error
        if not isinstance(saved, bytes):
            raise EnvironmentFailed(f"{self.component}: save() gives {type(saved).__name__}, expected bytes")
        if len(saved) > self.state.size:
            most = f"{len(saved):,} bytes; state: {{size: ...}} allows {int(self.state.size):,}"
            raise EnvironmentFailed(f"{self.component}: save() gives {most}")
        return saved

    def _write(self, saved: bytes) -> None:
        assert self.files is not None
        self.files.write(saved)
        self._size, self._written, self.problem = len(saved), time.monotonic(), ""


def _load(made: Remembering, saved: bytes, component: str) -> None:
    try:
        made.load(saved)
    except (Exception, SystemExit) as error:  # user code may raise anything
        what = f"{component}: load() does not take its last checkpoint: {type(error).__name__}: {error}"
        hint = "a new version of the class must take what the old one saved"
        raise InputError(Issue(what, None, hint)) from error


def in_memory(component: str, state: State, make: Callable[[], Remembering]) -> Kept:
    """One that begins with nothing remembered, and writes nothing."""
    kept = Kept(component, state, make)
    kept.take_over()
    return kept


class States:
    """Of one release in one process: all its hosts share them, those of plans without a site too.

    `folder` keeps the checkpoints. While a deployment moves, a state that another release owns is not taken over.
    """

    def __init__(self, folder: Path, member: str, owner: str, *, moving: bool) -> None:
        self._folder, self._member, self._owner, self._moving = folder, member, owner, moving
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, component: str, state: State, make: Callable[[], Remembering], members: frozenset[str]) -> Kept:
        """The one of `component`, which all of `members` run. Raises InputError as `Kept.take_over` does."""
        with self._lock:
            if component not in self._kept:
                files = CheckpointFiles(self._folder, component, self._member, members, self._owner, state.size)
                kept = Kept(component, state, make, files)
                if not self._moving or files.owned:
                    kept.take_over()
                self._kept[component] = kept
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="checkpoints", daemon=True)
                    self._thread.start()
            return self._kept[component]

    def _loop(self) -> None:
        while not self._stop.wait(max(LOOK, min(k.state.every for k in tuple(self._kept.values())) / 10)):
            for kept in tuple(self._kept.values()):
                if kept.due:
                    kept.checkpoint()

    def hand_over(self) -> None:
        """See `Kept.hand_over`."""
        for kept in self._kept.values():
            kept.hand_over()

    def take_over(self) -> None:
        """See `Kept.take_over`."""
        for kept in self._kept.values():
            kept.take_over()

    def report(self) -> tuple[StateReport, ...]:
        return tuple(kept.report() for kept in self._kept.values())

    def close(self) -> None:
        """Write what has changed."""
        self._stop.set()
        for kept in self._kept.values():
            kept.close()
        if self._thread is not None:
            self._thread.join(2.0)

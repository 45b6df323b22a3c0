"""Which processes answer: an origin asks those that serve its requests, again and again.

A process counts as down from the first sign: a beat that failed, one without an answer for `Beats.timeout`, or a
message that could not be delivered. It is up again with the first answer. An answer carries the process's incarnation:
another one than before means that it died in between and has forgotten what it held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from runtime.channel import OnPulse
from runtime.hosting.memory_kills import MemoryKills

FORGET: Final = 4.0
"""Time-outs after which an unanswered beat is given up and another is sent: a cut link may have swallowed it."""


@dataclass(frozen=True, slots=True)
class Beats:
    """Seconds between heartbeats, and without an answer until a process counts as down. `interval` 0: none are sent."""

    interval: float = 0.25
    timeout: float = 2.0


NO_BEATS: Final = Beats(interval=0.0)


class SendBeat(Protocol):
    """Asks a process for a sign of life, without waiting for it."""

    def __call__(self, target: str, on_pulse: OnPulse, /) -> None: ...


@dataclass(slots=True)
class _Known:
    """Of one process. `asked` is when the beat under way was sent, 0 where none is; `died`: it is not only silent."""

    incarnation: str = ""
    asked: float = 0.0
    down: str = ""
    died: bool = False
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Changes:
    """Told of what changes, in the thread of the heartbeats or of who found out; must not wait.

    `down` says whether the process died; else it is only silent, may hold what it was given, and may yet be told dead.
    Of one that died and is back already `up` follows at once.
    """

    down: Callable[[str, str, bool], None]
    up: Callable[[str], None]


@dataclass
class Health:
    """From `start` to `close`. All that is not known to be down counts as up."""

    targets: Collection[str]
    beats: Beats
    send: SendBeat
    changes: Changes
    _known: dict[str, _Known] = field(default_factory=dict)
    _kills: MemoryKills = field(default_factory=MemoryKills)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._known = {target: _Known() for target in self.targets}

    def start(self) -> None:
        if self.beats.interval and self._known:
            self._thread = threading.Thread(target=self._loop, name="heartbeats", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def down(self) -> dict[str, str]:
        """Why each process that is down is thought to be so."""
        with self._lock:
            return {target: known.down for target, known in self._known.items() if known.down}

    def dead(self) -> dict[str, str]:
        """Of those that are down, who died and is not only silent."""
        with self._lock:
            return {target: known.down for target, known in self._known.items() if known.down and known.died}

    def down_for(self, targets: Iterable[str]) -> float:
        """How many seconds the longest of `targets` has been down; 0 where all are up."""
        now = time.monotonic()
        with self._lock:
            found = [now - self._known[t].since for t in targets if t in self._known and self._known[t].down]
        return max(found, default=0.0)

    def suspect(self, target: str, reason: str) -> None:
        """A message did not reach `target`."""
        self._fell(target, reason, died=True)

    def _loop(self) -> None:
        while not self._stop.wait(self.beats.interval):
            now = time.monotonic()
            self._kills.look()
            for target, known in self._known.items():
                silent = now - known.asked if known.asked else 0.0
                if silent > self.beats.timeout:
                    self._fell(target, f"no heartbeat for {self.beats.timeout:g} s", died=False)
                if not known.asked or silent > FORGET * self.beats.timeout:
                    self._ask(target, known, now)

    def _ask(self, target: str, known: _Known, now: float) -> None:
        known.asked = now

        def on_pulse(incarnation: str | None, reason: str) -> None:
            if known.asked == now:
                known.asked = 0.0
            if incarnation is None:
                self._fell(target, reason, died=True)
            else:
                self._answered(target, incarnation)

        self.send(target, on_pulse)

    def _fell(self, target: str, reason: str, *, died: bool) -> None:
        with self._lock:
            known = self._known.get(target)
            if known is None or known.died or (known.down and not died):
                return
            reason = self._kills.explain(reason) if died else reason
            known.since = known.since if known.down else time.monotonic()
            known.down, known.died = reason or "it does not answer", died
        if not self._stop.is_set():
            self.changes.down(target, reason, died)

    def _answered(self, target: str, incarnation: str) -> None:
        with self._lock:
            known = self._known[target]
            was_down, told = bool(known.down), known.died
            died = known.incarnation not in ("", incarnation)
            known.incarnation, known.down, known.died = incarnation, "", False
        if self._stop.is_set():
            return
        if died and not told:
            self.changes.down(target, self._kills.explain("it died and was started again"), True)
        if died or was_down:
            self.changes.up(target)

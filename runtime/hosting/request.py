"""A request where it enters: when it leaves, and the line of the client's log that says what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from runtime.message import Trace
from runtime.values import Value

LATE: Final = "the deadline passed"
"""How the reason begins of a request that was given up."""

Status = Literal["pending", "answered", "refused", "failed", "lost"]


@dataclass(frozen=True, slots=True)
class Departure:
    """Request `request` of `flow` leaves `offset` seconds after the start, carrying item `item`."""

    offset: float
    request: str
    flow: str
    item: int
    measured: bool


@dataclass(slots=True)
class Entry:
    """A line of the client's log. `latency` in seconds, of answered requests; `started` on the host's clock.

    `ends` are the seconds until each sink had its values, of an answered request. `attempts` is how often it was sent
    again, after a process had died that may have held it. `outage`: it was not answered, and a process that it needed
    had died or was silent.
    """

    request: str
    flow: str
    item: int
    measured: bool
    started: float
    deadline: float
    status: Status = "pending"
    reason: str = ""
    latency: float = 0.0
    ends: dict[str, float] = field(default_factory=dict)
    answers: dict[str, dict[str, Value]] = field(default_factory=dict)
    trace: Trace = field(default_factory=Trace)
    attempts: int = 0
    outage: bool = False
    clock: str = ""
    """Of the host, as `runtime.machine.clock_name` calls it."""

    @property
    def says_of_load(self) -> bool:
        """Whether its time does: not where it waited for a process that had died or was silent."""
        return not (self.outage or self.attempts)


OnEnd = Callable[[Entry], None]
"""Told of a request that came from outside, once, when it ended. Called in any thread; must not wait."""

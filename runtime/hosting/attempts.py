"""What an origin keeps of each request under way, so that it can send it again when a process dies.

A request is sent again from its source, under the same id, as another *attempt*. Attempts do not meet: stages join
messages of one attempt alone. The first whole answer of any attempt counts, and the request is forgotten with it, so
that it is answered once. Each message says which processes its attempt avoids: all hosts send it the same way, whatever
each knows by itself.

An attempt is *open* as long as it may still be answered: until a host refuses it, a message of it cannot be brought, or
a process dies that may have held it. One that was left at a silent or slow process stays open beside the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from runtime.hosting.replicas import member_of
from runtime.message import Message, Trace
from runtime.reference.items import Item
from runtime.values import Value

MOST_DEATHS: Final = 3
"""A request that was under way at so many deaths of processes may be what kills them: it is not sent again."""


def passes(process: str, avoid: Collection[str]) -> bool:
    """Whether an attempt that avoids these may be held by `process`, a standby only where its member is avoided."""
    member = member_of(process)
    return process not in avoid and (process == member or member in avoid)


@dataclass(slots=True)
class Attempt:
    """The latest attempt of a request. `parked` names the process that it waits for, "" while it is under way. So many
    `deaths` of processes that may have held it there were, the last of them `death`. `open` has, by number, what each
    open attempt avoids; `refusal` is why one of them was refused while others were open. `left` are processes of
    another plan that may hold it since it was sent there before.
    """

    item: Item
    number: int = 0
    avoid: tuple[str, ...] = ()
    parked: str = ""
    reason: str = ""
    deaths: int = 0
    death: str = ""
    refusal: str = ""
    open: dict[int, tuple[str, ...]] = field(default_factory=dict)
    left: frozenset[str] = frozenset()
    parts: dict[int, dict[str, dict[str, Value]]] = field(default_factory=dict)
    traces: dict[int, Trace] = field(default_factory=dict)
    ends: dict[int, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open[self.number] = self.avoid

    def take(self, message: Message, sink: str, values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
        """Keep what `sink` got, and return all that the sinks have of the same attempt."""
        part = self.parts.setdefault(message.attempt, {})
        part[sink] = dict(values)
        self.traces[message.attempt] = self.traces.get(message.attempt, Trace()).merged(message.trace)
        return part

    def again(self, avoid: tuple[str, ...]) -> None:
        """The next attempt, which avoids these processes."""
        self.number += 1
        self.avoid, self.parked, self.reason = avoid, "", ""
        self.open[self.number] = avoid

    def may_be_at(self, process: str) -> bool:
        """Whether `process` may hold an open attempt."""
        return any(passes(process, avoid) for avoid in self.open.values())

    def died(self, process: str, reason: str) -> None:
        """`process` died: open attempts that it may have held are not, and where there were any the death counts."""
        if self.may_be_at(process):
            self._count(process, reason)
        self.open = {number: avoid for number, avoid in self.open.items() if not passes(process, avoid)}

    def died_elsewhere(self, process: str, reason: str) -> None:
        """One of those that it was `left` at died."""
        self.left -= {process}
        self._count(process, reason)

    def _count(self, process: str, reason: str) -> None:
        self.deaths, self.death = self.deaths + 1, f"{process} ({reason})"

    def refused(self, number: int, reason: str) -> bool:
        """Attempt `number` was refused; whether the request may still be answered by another."""
        self.open.pop(number, None)
        self.refusal = reason
        return bool(self.open) or (bool(self.parked) and number != self.number)

    @property
    def given_up(self) -> bool:
        """Whether it was refused, and what was open then has come to nothing."""
        return bool(self.refusal) and not self.open and not self.parked

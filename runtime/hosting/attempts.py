"""What an origin keeps of each request under way, so that it can send it again when a process dies.

A request is sent again from its source, under the same id, as another *attempt*. Attempts do not meet: stages join
messages of one attempt alone. The first whole answer of any attempt counts, and the request is forgotten with it, so
that it is answered once. Each message says which processes its attempt avoids: all hosts send it the same way, whatever
each knows by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from runtime.message import Message, Trace
from runtime.reference.items import Item
from runtime.values import Value

MOST_DEATHS: Final = 3
"""A request that was under way at so many deaths of processes may be what kills them: it is not sent again."""


@dataclass(slots=True)
class Attempt:
    """The latest attempt of a request. `parked` names the process that it waits for, "" while it is under way. So many
    `deaths` of processes that may have held it there were, the last of them `death`.
    """

    item: Item
    number: int = 0
    avoid: tuple[str, ...] = ()
    parked: str = ""
    reason: str = ""
    deaths: int = 0
    death: str = ""
    parts: dict[int, dict[str, dict[str, Value]]] = field(default_factory=dict)
    traces: dict[int, Trace] = field(default_factory=dict)
    ends: dict[int, dict[str, float]] = field(default_factory=dict)

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

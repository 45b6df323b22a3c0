"""What a door tells of its requests, and those who listen: metrics, percentiles, the log, traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runtime.hosting.request import Entry


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that had come in, and how it ended.

    `client_id` is the client's own name for it; `protocol` is http or grpc; `carrier` holds the headers of the W3C
    trace context that came with it; `ended` is CLOCK_MONOTONIC, like the times in `entry`.
    """

    model: str
    client_id: str
    protocol: str
    carrier: Mapping[str, str]
    entry: Entry
    ended: float


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A request that did not come in."""

    protocol: str
    peer: str
    outcome: str
    reason: str


class Listener:
    """Told of every request by the door's event loop: must not wait. What it does not care for it leaves as it is."""

    def entered(self) -> None:
        """A request was admitted."""

    def left(self) -> None:
        """A request that was admitted is out again."""

    def counted(self, model: str, outcome: str, protocol: str) -> None:
        """A request was dealt with. `model` is one that is served, or "": clients choose no label."""

    def ended(self, request: Ended) -> None:
        """A request that had come in ended."""

    def turned_away(self, request: TurnedAway) -> None:
        """A request did not come in."""

    def close(self) -> None:
        """No more will come."""


@dataclass(frozen=True, slots=True)
class Listeners(Listener):
    """Tells them all, in order."""

    all: Sequence[Listener] = field(default=())

    def entered(self) -> None:
        for each in self.all:
            each.entered()

    def left(self) -> None:
        for each in self.all:
            each.left()

    def counted(self, model: str, outcome: str, protocol: str) -> None:
        for each in self.all:
            each.counted(model, outcome, protocol)

    def ended(self, request: Ended) -> None:
        for each in self.all:
            each.ended(request)

    def turned_away(self, request: TurnedAway) -> None:
        for each in self.all:
            each.turned_away(request)

    def close(self) -> None:
        for each in self.all:
            each.close()

"""The hosts of one run, wherever they are: what `runtime.running.run` asks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.hosting.host import Hum, Noise
from runtime.hosting.request import Departure, Entry
from runtime.reference.items import Item
from runtime.values import Value

StageInputs = Sequence[Mapping[str, Value | None]]


@dataclass(frozen=True, slots=True)
class Load:
    """What one member is to send, and what the members left out would."""

    departures: tuple[Departure, ...] = ()
    noises: tuple[Noise, ...] = ()
    hums: tuple[Hum, ...] = ()


class Hosts(Protocol):
    """Hosts by member name. A member that died is left out of answers and reported by `progress`."""

    def open(self) -> bool:
        """Load all stages at all members; whether they are on several machines, whose links and processors then are as
        they are. Raises EnvironmentFailed where a site has no node.
        """
        ...

    def warm_up(self, inputs: Mapping[str, Mapping[str, StageInputs]], rounds: int) -> None:
        """By member and stage: run every work on recorded inputs."""
        ...

    def give_items(self, items: Mapping[str, Mapping[int, Item]]) -> None:
        """By member: the items that its departures carry."""
        ...

    def start_background(self, loads: Mapping[str, Load], seed: int) -> None:
        """Until `close`."""
        ...

    def start_load(self, departures: Mapping[str, Sequence[Departure]], start_in: float, deadline: float) -> None: ...

    def progress(self) -> dict[str, int]:
        """Measured requests by status, all members together."""
        ...

    def logs(self) -> dict[str, list[Entry]]:
        """The clients' logs by member. A member that died has none."""
        ...

    def round_trips(self) -> Mapping[tuple[str, str], float]:
        """The shortest round trip, in seconds, from a member to each that it sends to whose clock it does not share."""
        ...

    def gone(self) -> Mapping[str, str]:
        """Members that died, and why."""
        ...

    def close(self) -> None:
        """Stop all hosts. May be called at any time, more than once."""
        ...

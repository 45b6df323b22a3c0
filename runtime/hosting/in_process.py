"""All hosts of a run in this process: the same hosts, queues and links, without Ray."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runtime.bundle import Bundle
from runtime.channel.memory import MemoryChannel
from runtime.hosting.host import Host, HostOptions
from runtime.hosting.hosts import Load, StageInputs
from runtime.hosting.opening import fills_of_sinks, open_works
from runtime.hosting.request import Departure, Entry
from runtime.hosting.shaping import LinkState, Routes
from runtime.message import Message
from runtime.reference.items import Item
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.topology import Topology


class InProcessHosts:
    """See `runtime.hosting.hosts.Hosts`."""

    def __init__(self, bundle: Bundle, top: Topology, options: HostOptions, secrets: Secrets = NO_SECRETS) -> None:
        self._bundle, self._top, self._options, self._secrets = bundle, top, options, secrets
        self._hosts: dict[str, Host] = {}
        self._deliver: dict[str, Callable[[Message], None]] = {}
        self._states: list[LinkState] = []
        self._folder = tempfile.TemporaryDirectory(prefix="tierplan-")

    def open(self) -> bool:
        file = Path(self._folder.name) / "links"
        LinkState.create(file, Routes(self._top).capacities)
        for member in self._top.hosts:
            works = open_works(self._bundle, self._top, member.site, self._secrets)
            state = LinkState(file)
            self._states.append(state)
            host = Host(
                member,
                self._top,
                self._bundle.app.value,
                works,
                lambda on_error: MemoryChannel(self._deliver, on_error),
                state,
                self._options,
                fills_of_sinks(self._bundle),
            )
            self._hosts[str(member)] = host
            self._deliver[str(member)] = host.deliver
        return False

    def host(self, member: str) -> Host:
        """The host of `member`, once they are open."""
        return self._hosts[member]

    def warm_up(self, inputs: Mapping[str, Mapping[str, StageInputs]], rounds: int) -> None:
        for member, stages in inputs.items():
            for stage, recorded in stages.items():
                self._hosts[member].warm_up(stage, recorded, rounds)

    def give_items(self, items: Mapping[str, Mapping[int, Item]]) -> None:
        for member, mine in items.items():
            self._hosts[member].origin.give_items(mine)

    def start_background(self, loads: Mapping[str, Load], seed: int) -> None:
        for member, load in loads.items():
            self._hosts[member].start_background(load.noises, load.hums, seed)

    def start_load(self, departures: Mapping[str, Sequence[Departure]], start_in: float, deadline: float) -> None:
        for member, mine in departures.items():
            self._hosts[member].start_load(mine, start_in, deadline)

    def progress(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for host in self._hosts.values():
            for status, count in host.progress().items():
                total[status] = total.get(status, 0) + count
        return total

    def logs(self) -> dict[str, list[Entry]]:
        return {member: host.origin.log() for member, host in self._hosts.items()}

    def round_trips(self) -> Mapping[tuple[str, str], float]:
        return {}  # all share this machine's clock

    def gone(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        for host in self._hosts.values():
            host.close()
        for state in self._states:
            state.close()
        self._hosts.clear()
        self._states.clear()
        self._folder.cleanup()

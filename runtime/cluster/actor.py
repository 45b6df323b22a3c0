"""The Ray actor that holds one host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.bundle import open_bundle
from runtime.channel import Channel, OnError
from runtime.channel.zeromq import Secret, ZeroMQChannel
from runtime.fleet import Member
from runtime.host import Host, HostOptions, Hum, Noise
from runtime.items import Item
from runtime.machine import machine_id
from runtime.opening import fills_of_sinks, open_works
from runtime.request import Departure, Entry
from runtime.secrets import NO_SECRETS, Secrets
from runtime.shaping import LinkState
from runtime.state import States
from runtime.topology import Topology
from runtime.values import Value
from specs.errors import EnvironmentFailed


@dataclass(frozen=True, slots=True)
class HostOrder:
    """What a process needs to become a host. `bundle` is a folder on its machine, `links` the file of link state.

    `secrets` are those that functions at this member name.
    """

    member: Member
    top: Topology
    bundle: str
    links: str
    options: HostOptions
    secrets: Secrets = NO_SECRETS


class HostActor:
    """Methods are asynchronous and short; what takes long runs in a thread, so that messages always get in."""

    def __init__(self, order: HostOrder, address: str, secret: Secret) -> None:
        """Listens at `address` for messages of those that share the `secret`."""
        self._order = order
        self._host: Host | None = None
        self._channel = ZeroMQChannel(address, secret)

    async def machine(self) -> str:
        """Which machine this is."""
        return machine_id()

    async def endpoint(self) -> str:
        """Where this host listens for messages."""
        return self._channel.endpoint

    async def open(self, ends: Mapping[str, str]) -> None:
        """Load the stages of this member and become its host; `ends` are the endpoints of all hosts."""
        self._host = await asyncio.to_thread(self._open, ends)

    def _open(self, ends: Mapping[str, str]) -> Host:
        def channel(on_error: OnError) -> Channel:
            self._channel.connect(ends.get, on_error)
            return self._channel

        host = open_host(self._order, channel)
        self._channel.start(host.deliver, self._order.top.sends_to(self._order.member))
        return host

    @property
    def host(self) -> Host:
        if self._host is None:
            raise EnvironmentFailed(f"the host {self._order.member} is not open")
        return self._host

    async def warm_up(self, stage: str, inputs: Sequence[Mapping[str, Value | None]], rounds: int) -> None:
        await asyncio.to_thread(self.host.warm_up, stage, inputs, rounds)

    async def give_items(self, items: Mapping[int, Item]) -> None:
        self.host.origin.give_items(items)

    async def start_load(self, departures: Sequence[Departure], start_in: float, deadline: float) -> None:
        self.host.start_load(departures, start_in, deadline)

    async def start_background(self, noises: Sequence[Noise], hums: Sequence[Hum], seed: int) -> None:
        self.host.start_background(noises, hums, seed)

    async def progress(self) -> dict[str, int]:
        return {str(status): count for status, count in self.host.progress().items()}

    async def peer_gone(self, member: str, reason: str) -> None:
        self.host.peer_gone(member, reason)

    async def log(self) -> list[Entry]:
        return self.host.origin.log()

    async def close(self) -> None:
        if self._host is not None:
            await asyncio.to_thread(self._host.close)


def open_host(order: HostOrder, open_channel: Callable[[OnError], Channel], states: States | None = None) -> Host:
    """The host that `order` asks for, with all that it runs loaded; what components keep is in `states`.

    Raises InputError where something cannot be loaded.
    """
    stages = order.top.stages_at(order.member.site)
    _limit_pools(max((s.threads for s in stages), default=1))
    bundle = open_bundle(order.bundle)
    works = open_works(bundle, order.top, order.member.site, order.secrets, states)
    state = LinkState(Path(order.links)) if order.links else None
    app, fills = bundle.app.value, fills_of_sinks(bundle)
    planned = {(s.name, s.site): s.service.p95_ms for s in bundle.plan.stages if s.kind == "stage"}
    options = replace(order.options, services_ms=planned)
    return Host(order.member, order.top, app, works, open_channel, state, options, fills)


def _limit_pools(threads: int) -> None:
    """Thread pools as the plan has them. Libraries read these when they are loaded, which is after this."""
    for name in ("OMP_NUM_THREADS", "TVM_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)

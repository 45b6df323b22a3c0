"""The Ray actor that holds one host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundle import open_bundle
from runtime.channel import Channel, OnError
from runtime.channel.ray_calls import RayChannel
from runtime.channel.zeromq import Secret, ZeroMQChannel
from runtime.fleet import Member
from runtime.host import Host, HostOptions, Hum, Noise
from runtime.items import Item
from runtime.machine import machine_id
from runtime.message import decode
from runtime.opening import fills_of_sinks, open_works
from runtime.request import Departure, Entry
from runtime.secrets import NO_SECRETS, Secrets
from runtime.shaping import LinkState
from runtime.topology import Topology
from runtime.values import Value
from specs.errors import EnvironmentFailed


@dataclass(frozen=True, slots=True)
class HostOrder:
    """What an actor needs to become a host. `bundle` is a folder on its machine, `links` the file of link state.

    Messages go by ZeroMQ where `address` says where to listen for them, and `secret` what the hosts share; else they
    are calls of actors. `secrets` are those that functions at this member name.
    """

    member: Member
    top: Topology
    bundle: str
    links: str
    options: HostOptions
    address: str = ""
    secret: Secret | None = None
    secrets: Secrets = NO_SECRETS


class HostActor:
    """Methods are asynchronous and short; what takes long runs in a thread, so that messages always get in."""

    def __init__(self, order: HostOrder) -> None:
        self._order = order
        self._host: Host | None = None
        self._channel = ZeroMQChannel(order.address, order.secret) if order.secret is not None else None

    async def machine(self) -> str:
        """Which machine this is."""
        return machine_id()

    async def endpoint(self) -> str:
        """Where this host listens for messages by ZeroMQ; empty where it does not."""
        return self._channel.endpoint if self._channel is not None else ""

    async def open(self, peers: Mapping[str, Any]) -> None:
        """Load the stages of this member and become its host; `peers` are the actors of the others, or endpoints."""
        self._host = await asyncio.to_thread(self._open, peers)

    def _open(self, peers: Mapping[str, Any]) -> Host:
        return open_host(self._order, peers, self._channel)

    @property
    def host(self) -> Host:
        if self._host is None:
            raise EnvironmentFailed(f"the host {self._order.member} is not open")
        return self._host

    async def deliver(self, data: bytes) -> None:
        self.host.deliver(decode(data))

    async def beat(self) -> str:
        """A sign of life: which incarnation of this process it is. Raises EnvironmentFailed while it is not open."""
        return self.host.incarnation

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


def open_host(order: HostOrder, peers: Mapping[str, Any], zeromq: ZeroMQChannel | None = None) -> Host:
    """The host that `order` asks for, with all that it runs loaded.

    `peers` are the actors of the other processes or, with the channel `zeromq`, their endpoints.
    """
    stages = order.top.stages_at(order.member.site)
    _limit_pools(max((s.threads for s in stages), default=1))
    bundle = open_bundle(order.bundle)
    works = open_works(bundle, order.top, order.member.site, order.secrets)
    state = LinkState(Path(order.links)) if order.links else None

    def channel(on_error: OnError) -> Channel:
        if zeromq is None:
            return RayChannel(peers, on_error)
        zeromq.connect(peers, on_error)
        return zeromq

    fills = fills_of_sinks(bundle)
    host = Host(order.member, order.top, bundle.app.value, works, channel, state, order.options, fills)
    if zeromq is not None:
        zeromq.start(host.deliver, order.top.sends_to(order.member))
    return host


def _limit_pools(threads: int) -> None:
    """Thread pools as the plan has them. Libraries read these when they are loaded, which is after this."""
    for name in ("OMP_NUM_THREADS", "TVM_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)

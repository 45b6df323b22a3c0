"""The Ray actor that holds one host."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from runtime.bundle import open_bundle
from runtime.channel import Channel, OnError
from runtime.channel.zeromq import Secret, ZeroMQChannel
from runtime.cluster.machine_folder import MachineFolder, sweep
from runtime.cluster.peers import node_address
from runtime.cluster.receiving import Received, Receiving
from runtime.fleet import Member
from runtime.garbage import settle
from runtime.hosting.host import Host, HostOptions, Hum, Noise
from runtime.hosting.opening import fills_of_sinks, open_works
from runtime.hosting.request import Departure, Entry
from runtime.hosting.shaping import LinkState
from runtime.machine import machine_id
from runtime.reference.items import Item
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.stages.state import States
from runtime.topology import Topology
from runtime.values import Value
from specs.digest import digest_file
from specs.errors import EnvironmentFailed
from specs.manifest import MANIFEST_FILE

BUNDLE: Final = "bundle"
"""In the folder of a run on a machine that the bundle was brought to."""
RUNS: Final = "tierplan-run-"
ROUND_TRIPS: Final = 20
ROUND_TRIP_LIMIT: Final = 5.0


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


class HostActor(Receiving):
    """Methods are asynchronous and short; what takes long runs in a thread, so that messages always get in."""

    def __init__(self, order: HostOrder, address: str, secret: Secret) -> None:
        """Is to listen at `address` for messages of those that share the `secret`, or on several machines at that of
        its node, encrypted.
        """
        self._order, self._address, self._secret = order, address, secret
        self._host: Host | None = None
        self._channel: ZeroMQChannel | None = None
        self._folder: MachineFolder | None = None

    async def machine(self) -> str:
        """Which machine this is."""
        return machine_id()

    async def shares(self, manifest: str, run: str) -> bool:
        """Whether the bundle with a manifest of that digest is where the order says; else there is a folder for what
        `run` brings.
        """
        file = Path(self._order.bundle) / MANIFEST_FILE
        if await asyncio.to_thread(lambda: file.is_file() and digest_file(file) == manifest):
            return True
        self._folder = MachineFolder(Path(tempfile.gettempdir()) / f"{RUNS}{run}")
        sweep(Path(tempfile.gettempdir()), f"{RUNS}*")
        self._received = Received(self._folder.path)
        self._order = replace(self._order, bundle=str(self._folder.path / BUNDLE))
        return False

    async def listen(self, spread: bool) -> str:
        """Where this host listens for messages, of a run that is `spread` over several machines or not."""
        secret = replace(self._secret, encrypted=spread)
        self._channel = ZeroMQChannel(node_address() if spread else self._address, secret)
        return self._channel.endpoint

    async def open(self, ends: Mapping[str, str], spread: bool) -> None:
        """Load the stages of this member and become its host; `ends` are the endpoints of all hosts.

        On several machines links and processors are as they are.
        """
        options = replace(self._order.options, clock=machine_id())
        if spread:
            self._order = replace(self._order, links="")
            options = replace(options, shape=False)
        self._order = replace(self._order, options=options)
        self._host = await asyncio.to_thread(self._open, ends)
        settle()

    def _open(self, ends: Mapping[str, str]) -> Host:
        def channel(on_error: OnError) -> Channel:
            self.channel.connect(ends.get, on_error)
            return self.channel

        host = open_host(self._order, channel)
        self.channel.start(host.deliver, self._order.top.sends_to(self._order.member))
        return host

    @property
    def channel(self) -> ZeroMQChannel:
        if self._channel is None:
            raise EnvironmentFailed(f"the host {self._order.member} does not listen")
        return self._channel

    async def round_trips(self, others: Collection[str]) -> dict[str, float]:
        """The shortest of a few round trips to each of the `others`, in seconds; those that do not answer are not in
        it.
        """
        return await asyncio.to_thread(lambda: {o: took for o in others if (took := round_trip(self.channel, o))})

    @property
    def host(self) -> Host:
        if self._host is None:
            raise EnvironmentFailed(f"the host {self._order.member} is not open")
        return self._host

    async def warm_up(self, stage: str, inputs: Sequence[Mapping[str, Value | None]], rounds: int) -> None:
        await asyncio.to_thread(self.host.warm_up, stage, inputs, rounds)
        settle()

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
        if self._folder is not None:
            await asyncio.to_thread(self._folder.leave)


def round_trip(channel: Channel, other: str) -> float:
    """The shortest of a few round trips of an empty message, in seconds; 0 where `other` does not answer."""
    found: list[float] = []
    for _ in range(ROUND_TRIPS):
        answered, sent = threading.Event(), time.monotonic()

        def on_pulse(incarnation: str | None, _: str, sent: float = sent, answered: threading.Event = answered) -> None:
            if incarnation is not None:
                found.append(time.monotonic() - sent)
            answered.set()

        channel.beat(other, on_pulse)
        if not answered.wait(ROUND_TRIP_LIMIT):
            break
    return min(found, default=0.0)


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
    hosted = {name for name, component in app.components.items() if component.api is not None}
    planned = {
        (s.name, s.site): s.service.p95_ms  # that an API is slow is no fault of who calls it
        for s in bundle.plan.stages
        if s.kind == "stage" and s.name not in hosted
    }
    options = replace(order.options, services_ms=planned)
    return Host(order.member, order.top, app, works, open_channel, state, options, fills)


def _limit_pools(threads: int) -> None:
    """Thread pools as the plan has them. Libraries read these when they are loaded, which is after this."""
    for name in ("OMP_NUM_THREADS", "TVM_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)

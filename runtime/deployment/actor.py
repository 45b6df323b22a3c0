"""The Ray actor of a deployed process: the releases that it has loaded, and the door to one of them.

What it is to do stands in the deployment's folder of state. Ray starts its process again when that dies; it then reads
there what is in force by now, and opens itself without anybody's help. Where it does not share that folder with who
deploys it has a copy of its own, which who deploys keeps up to date.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from runtime.cluster.keeper import LOOPBACK
from runtime.cluster.machine_folder import MachineFolder, sweep
from runtime.cluster.peers import node_address, was_restarted
from runtime.cluster.receiving import Received, Receiving
from runtime.deployment.exchange import Endpoint, Exchange, mark_of
from runtime.deployment.orders import Orders
from runtime.deployment.record import (
    ALTERNATIVES,
    BUNDLES,
    LOGS,
    PORTS,
    Record,
    hosted_folder,
    moving_in,
    record_in,
)
from runtime.deployment.release import Release
from runtime.garbage import settle, settle_anew
from runtime.ingress.door import DoorOptions
from runtime.ingress.member import MemberDoor
from runtime.ingress.service import Service
from runtime.machine import machine_id
from runtime.message import Message
from runtime.stages.secrets import Secrets
from runtime.stages.state import States
from runtime.values import Value
from specs.errors import EnvironmentFailed
from specs.output_file import write_whole

OPEN_LIMIT: Final = 30.0
ANY_MARK: Final = "[0-9a-f]" * 12
PAUSE: Final = 1.0
"""Seconds before a process that could not open itself ends, and Ray starts the next."""
_LOG: Final = logging.getLogger(__name__)


class DeployedHost(Receiving):
    """See the module. `load` and `serve` are called by the command that deploys; `serve` is what makes it ready."""

    def __init__(self, folder: str, mark: str, process: str, given: Secrets) -> None:
        """`folder` holds the deployment's state where its `mark` is that (`runtime.deployment.exchange.mark_of`);
        `process` is this one's name in it; functions may name what is `given`.
        """
        self._given = given
        self._folder, self._process = Path(folder), process
        self._copy: MachineFolder | None = None
        if mark_of(self._folder) != mark:
            own = hosted_folder(self._folder.name, mark)
            self._copy = MachineFolder(own)  # joined first: it may be of a process before this one
            sweep(own.parent, f"{self._folder.name}-{ANY_MARK}")
            self._received = Received(own)
            self._folder = own
            for each in (LOGS, PORTS):
                (own / each).mkdir(exist_ok=True)
        self._releases: dict[str, Release] = {}
        self._draining: list[tuple[str, Service]] = []
        self._serving = ""
        self._door: MemberDoor | None = None
        self._exchange: Exchange | None = None
        self._adopting = ThreadPoolExecutor(1, "adopt")
        self._changing = threading.RLock()
        self._opened = threading.Event()
        if was_restarted():
            threading.Thread(target=self._open_again, name="open again", daemon=True).start()
        else:
            self._opened.set()

    def _open_again(self) -> None:
        try:
            with self._changing:
                moving, record = moving_in(self._folder), record_in(self._folder)
                if record is None:
                    raise EnvironmentFailed(f"the state of the deployment is gone from {self._folder}")
                for each in {r.key: r for r in ((moving.old, moving.new) if moving else ()) + (record,)}.values():
                    self._load(each, moving=moving is not None)
                self._listen(record)
                if record.key in self._releases:
                    self._serve(record.key)
            self._opened.set()
        except Exception:  # whatever it is: the next process may have better luck
            _LOG.exception("%s could not open itself again", self._process)
            time.sleep(PAUSE)
            os._exit(1)

    # --- what the command that deploys has it do; each may be asked for again

    async def machine(self) -> str:
        """Which machine this is."""
        return machine_id()

    async def shares(self) -> bool:
        """Whether the deployment's folder of state is that of who deploys."""
        return self._copy is None

    async def keep(self, files: Mapping[str, bytes | None], bundles: Collection[str]) -> None:
        """Have small `files` in the copy of the folder of state, None for one that must not be there, and of what was
        received only the `bundles`.
        """
        await asyncio.to_thread(self._keep, files, bundles)

    def _keep(self, files: Mapping[str, bytes | None], bundles: Collection[str]) -> None:
        for name, data in files.items():
            self.received.write(name, data)
        if bundles:
            self.received.keep_only(bundles, (BUNDLES, ALTERNATIVES))

    async def endpoint(self) -> Endpoint:
        """Where this process listens, once it has loaded something."""
        if self._exchange is None:
            raise EnvironmentFailed(f"{self._process} has loaded nothing")
        return self._exchange.endpoint

    async def load(self, key: str) -> None:
        """Load the release of that key beside what is served."""
        await asyncio.to_thread(self._load_by_key, key)

    def _load_by_key(self, key: str) -> None:
        moving, record = moving_in(self._folder), record_in(self._folder)
        known = ((moving.old, moving.new) if moving else ()) + ((record,) if record else ())
        wanted = next((r for r in known if r.key == key), None)
        if wanted is None:
            raise EnvironmentFailed(f"nothing of release {key} is in {self._folder}")
        with self._changing:
            self._load(wanted, moving=moving is not None)
            self._listen(wanted)

    def _load(self, record: Record, *, moving: bool) -> None:
        """Nothing where the record has no work for this process."""
        if record.key in self._releases:
            return
        orders = Orders.kept(record, self._folder, self._given)
        if self._process in orders.processes:
            self._releases[record.key] = Release(orders.of(self._process), self._exchange_of(record), moving=moving)

    def _exchange_of(self, record: Record) -> Exchange:
        """Messages are encrypted in a cluster that may have nodes on other machines."""
        if self._exchange is None:
            address = node_address() if record.foreign else LOOPBACK
            self._exchange = Exchange(self._folder, self._process, address, encrypted=record.foreign)
        return self._exchange

    def _listen(self, record: Record) -> None:
        """Take messages, now that all is loaded: whoever asks for a sign of life gets one from here on."""
        self._exchange_of(record).start(self._deliver)

    async def warm_up(self, key: str, stage: str, inputs: Sequence[Mapping[str, Value | None]], rounds: int) -> None:
        await asyncio.to_thread(self._release(key).warm_up, stage, inputs, rounds)

    async def serve(self, key: str) -> None:
        """Let requests that come from now on go by that release."""
        await asyncio.to_thread(self._serve, key)

    def _serve(self, key: str) -> None:
        with self._changing:
            release = self._release(key)
            options = release.order.door
            if self._serving == key:
                return
            if options is not None and self._door is None:
                self._door = release.open_door(_with_ports(options, release.order.ports))
                _keep_ports(self._door, release.order.ports)
            elif self._door is not None:
                self._draining.append((self._serving, release.take_over(self._door)))
            self._serving = key
            release.come_near()
            settle()

    async def pending(self, key: str) -> int:
        """How many requests that entered here by that release have not ended."""
        release = self._releases.get(key)
        inside = sum(service.admission.inside for of, service in self._draining if of == key)
        return max(inside, release.pending() if release is not None else 0)

    async def hand_over(self, key: str) -> None:
        """Write what the components of that release keep for the last time, and let it go; what has gone stays so."""
        await asyncio.to_thread(self._each_state, key, States.hand_over)

    async def take_over(self, key: str) -> None:
        """Let the components of that release go on from what was handed over."""
        await asyncio.to_thread(self._each_state, key, States.take_over)

    def _each_state(self, key: str, do: Callable[[States], None]) -> None:
        """Nothing where this process has not loaded the release."""
        if not self._opened.wait(OPEN_LIMIT):
            raise EnvironmentFailed(f"{self._process} is still opening itself")
        with self._changing:
            release = self._releases.get(key)
            if release is not None and release.states is not None:
                do(release.states)

    async def unload_all_but(self, key: str) -> None:
        """Forget all other releases; what is still under way by them is dropped."""
        await asyncio.to_thread(self._unload_all_but, key)

    def _unload_all_but(self, key: str) -> None:
        with self._changing:
            for other in [k for k in self._releases if k != key]:
                self._releases.pop(other).close()
            for _, service in self._draining:
                service.close()
            self._draining.clear()
            settle_anew()

    # --- what others ask

    def _release(self, key: str) -> Release:
        if key not in self._releases:
            raise EnvironmentFailed(f"{self._process} has not loaded release {key}")
        return self._releases[key]

    def _deliver(self, message: Message) -> None:
        """Of a plan without a site, too, that an earlier process of this actor was a host of."""
        key, _, site = message.plan.partition("/")
        release = self._releases.get(key)
        if message.kind == "adopt":
            self._adopting.submit(self._adopt_and_tell, release, site, message)
            return
        if release is None:
            self._turn_away(message, f"{self._process} has not loaded release {key}")
        elif release.has(site):
            release.adopt(site).deliver(message)
        else:  # which takes time
            self._adopting.submit(self._adopt_for, release, site, message)

    def _adopt_for(self, release: Release, site: str, message: Message) -> None:
        try:
            release.adopt(site).deliver(message)
        except Exception as error:  # of whatever the plan has to load: the request's origin must know
            self._turn_away(message, f"{type(error).__name__}: {error}")

    def _adopt_and_tell(self, release: Release | None, site: str, message: Message) -> None:
        reason = "" if release is not None else f"it has not loaded release {message.plan.partition('/')[0]}"
        try:
            if release is not None:
                release.adopt(site)
        except Exception as error:  # of whatever the plan has to load: who asked must know
            reason = f"{type(error).__name__}: {error}"
        if self._exchange is not None:
            self._exchange.has_adopted(message, reason)

    def _turn_away(self, message: Message, reason: str) -> None:
        if self._exchange is not None:
            self._exchange.turn_away(message, reason)

    async def state(self) -> tuple[str, tuple[str, ...]]:
        """The key of the release that is served, "" while none is; and those of all that are loaded."""
        return self._serving, tuple(self._releases)

    async def report(self) -> dict[str, Any]:
        """What this process does now, as plain data."""
        told: dict[str, Any] = {"ready": bool(self._serving), "serving": self._serving, "loaded": list(self._releases)}
        release = self._releases.get(self._serving)
        if release is None:
            return told
        told |= {"pid": os.getpid(), "queues": [asdict(q) for q in release.host.loads()]}
        if self._door is not None:
            seen = await asyncio.to_thread(self._door.window.seen)
            told |= {"endpoints": asdict(self._door.endpoints), "models": list(self._door.models), "seen": seen}
            told |= {"without": release.without, "slow": release.slow()}
        if release.states is not None:
            told["states"] = [asdict(state) for state in release.states.report()]
        return told

    async def close(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            await asyncio.to_thread(door.close)
        for release in self._releases.values():
            await asyncio.to_thread(release.close)
        self._adopting.shutdown(wait=False)
        if self._exchange is not None:
            await asyncio.to_thread(self._exchange.close)
        if self._copy is not None:
            await asyncio.to_thread(self._copy.leave)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _with_ports(options: DoorOptions, file: str) -> DoorOptions:
    """With the ports that an earlier process of this actor had, where there was one."""
    try:
        http, grpc = Path(file).read_text("ascii").split()
        return replace(options, http_port=int(http), grpc_port=int(grpc))
    except (OSError, ValueError):
        return options


def _keep_ports(door: MemberDoor, file: str) -> None:
    """For the next process of this actor."""
    write_whole(file, f"{_port(door.endpoints.http)} {_port(door.endpoints.grpc)}\n")

"""The Ray actor of a deployed host: a host with a door, which says what it does.

Ray starts its process again when that dies. It then opens itself, as it was opened before, without anybody's help.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from runtime.bundle import open_bundle
from runtime.cluster.actor import HostActor, HostOrder, open_host
from runtime.cluster.peers import adopt_everywhere, find_peers, was_restarted
from runtime.deployment.failover import Failover
from runtime.host import Host
from runtime.ingress.door import DoorOptions, Endpoints
from runtime.ingress.member import MemberDoor
from runtime.message import decode
from specs.output_file import write_whole

PAUSE: Final = 1.0
"""Seconds before a process that could not open itself ends, and Ray starts the next."""
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeployOrder:
    """`digest` is of the deployment's record: who asks learns whether this is what they want.

    The actor of process P is called `prefix` + P. `door` is None for a standby. `ports` is a file that keeps where the
    door listens, for the next process of this actor. `alternatives` are the hosts of the plans without a site, by site.
    """

    host: HostOrder
    digest: str
    prefix: str
    processes: tuple[str, ...]
    door: DoorOptions | None
    ports: str
    alternatives: Mapping[str, HostOrder] = field(default_factory=dict)


class DeployedHost(HostActor):
    """See the module. `open` and `open_door` are called once, by the command that deploys."""

    def __init__(self, order: DeployOrder) -> None:
        super().__init__(order.host)
        self._deploy = order
        self._door: MemberDoor | None = None
        self._ready = False
        self._adopting = threading.Lock()
        self._entrance: Failover | None = None
        if was_restarted():
            threading.Thread(target=self._open_again, name="open again", daemon=True).start()

    def _open_again(self) -> None:
        try:
            self._host = open_host(self._order, self._peers)
            self._open_door()
        except Exception:  # whatever it is: the next process may have better luck
            _LOG.exception("%s could not open itself again", self._order.member)
            time.sleep(PAUSE)
            os._exit(1)

    @cached_property
    def _peers(self) -> dict[str, Any]:
        """Looked up once: later the head may be gone, which alone knows them by name."""
        return find_peers(self._deploy.prefix, self._deploy.processes)

    async def open_all(self) -> None:
        """Load what runs here."""
        self._host = await asyncio.to_thread(lambda: open_host(self._order, self._peers))

    async def deliver(self, data: bytes) -> None:
        """Of a plan without a site, too, that an earlier process of this actor was a host of."""
        message = decode(data)
        if message.without in self._deploy.alternatives and message.without not in self._others:
            await self.adopt(message.without)
        self.host_without(message.without).deliver(message)

    async def adopt(self, site: str) -> None:
        """Be a host of the plan without `site` as well; at once where that has happened before."""
        await asyncio.to_thread(self._adopt, site)

    def _adopt(self, site: str) -> Host:
        with self._adopting:
            if site not in self._others:
                self._others[site] = open_host(self._deploy.alternatives[site], self._peers)
            return self._others[site]

    async def open_door(self) -> Endpoints | None:
        """The last step: who has been through it is ready."""
        return await asyncio.to_thread(self._open_door)

    def _open_door(self) -> Endpoints | None:
        options = self._deploy.door
        if options is not None:
            before = _read_ports(self._deploy.ports)
            chosen = replace(options, http_port=before[0], grpc_port=before[1]) if before else options
            self._entrance = self._failover()
            bundle = open_bundle(self._order.bundle)
            self._door = MemberDoor(bundle, self._order.top, self.host, self._entrance, chosen)
            ports = (_port(self._door.endpoints.http), _port(self._door.endpoints.grpc))
            write_whole(self._deploy.ports, f"{ports[0]} {ports[1]}\n")
        self._ready = True
        return self._door.endpoints if self._door is not None else None

    def _failover(self) -> Failover:
        peers = self._peers
        tops = {site: order.top for site, order in self._deploy.alternatives.items()}

        def adopt(site: str, members: Collection[str]) -> Host:
            adopt_everywhere({m: peers[m] for m in members if m in peers and m != str(self._order.member)}, site)
            return self._adopt(site)

        return Failover(self.host, tops, adopt)

    async def ready_for(self) -> str:
        """The digest of the record that this host is ready for; empty while it is not."""
        return self._deploy.digest if self._ready else ""

    async def report(self) -> dict[str, Any]:
        """What this host does now, as plain data."""
        if not self._ready:
            return {"ready": False}
        door = self._door
        told: dict[str, Any] = {"ready": True, "pid": os.getpid(), "queues": [asdict(q) for q in self.host.loads()]}
        if door is not None:
            seen = await asyncio.to_thread(door.window.seen)
            told |= {"endpoints": asdict(door.endpoints), "models": list(door.models), "seen": seen}
            told["without"] = self._entrance.without if self._entrance is not None else ""
        return told

    async def close(self) -> None:
        if self._entrance is not None:
            self._entrance.close()
        if self._door is not None:
            await asyncio.to_thread(self._door.close)
        await super().close()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _read_ports(file: str) -> tuple[int, int] | None:
    """Of HTTP and gRPC, as an earlier process of this actor wrote them; None where there was none."""
    try:
        http, grpc = Path(file).read_text("ascii").split()
        return int(http), int(grpc)
    except (OSError, ValueError):
        return None

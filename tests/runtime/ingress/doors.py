"""A door in front of the sample application, all of it in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.bundle import Bundle
from runtime.hosting.host import HostOptions
from runtime.hosting.in_process import InProcessHosts
from runtime.ingress.door import DoorOptions, Endpoints
from runtime.ingress.member import MemberDoor
from runtime.topology import topology
from tests.runtime.sample import make_bundle, make_slice


@dataclass(frozen=True)
class Opened:
    endpoints: Endpoints
    door: MemberDoor
    bundle: Bundle

    @property
    def http(self) -> str:
        """host:port"""
        return self.endpoints.http.partition("://")[2]

    @property
    def port(self) -> int:
        return int(self.http.rpartition(":")[2])

    @property
    def grpc(self) -> str:
        return self.endpoints.grpc


@contextmanager
def opened(
    folder: Path, options: DoorOptions | None = None, *, bundle: Bundle | None = None, queue_limit: int = 256
) -> Iterator[Opened]:
    """The sample's (or `bundle`'s) hosts and the door of phones-0."""
    bundle = bundle or make_bundle(folder)
    part = make_slice(members={"phones": 1, "bases": 1, "cloud": 1})
    top = topology(bundle.plan, bundle.app.value, bundle.infra.value, part)
    hosts = InProcessHosts(bundle, top, HostOptions(queue_limit, 4096, 1, "here", shape=False))
    try:
        hosts.open()
        door = MemberDoor(bundle, top, hosts.host("phones-0"), hosts.host("phones-0"), options or DoorOptions())
        try:
            yield Opened(door.endpoints, door, bundle)
        finally:
            door.close()
    finally:
        hosts.close()

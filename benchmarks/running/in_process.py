"""The hosts of one bundle in this process, for what is measured of them alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from planner.cli.run import some_items
from runtime.bundle import Bundle, open_bundle
from runtime.hosting.host import HostOptions
from runtime.hosting.in_process import InProcessHosts
from runtime.reference.items import Item
from runtime.topology import Topology, topology
from specs.load import load_application
from specs.run_result import Slice

ITEMS: Final = 100
QUEUE_LIMIT: Final = 256
PARTIAL_LIMIT: Final = 4096


@dataclass(frozen=True)
class Opened:
    """Hosts that are open, and items of the application's data."""

    bundle: Bundle
    top: Topology
    hosts: InProcessHosts
    items: list[Item]


@contextmanager
def opened(folder: Path, app: Path, *, shape: bool) -> Iterator[Opened]:
    """One member of each site; slowed as the infrastructure says where `shape` is true."""
    bundle = open_bundle(folder)
    members = dict.fromkeys(bundle.infra.value.sites, 1)
    top = topology(bundle.plan, bundle.app.value, bundle.infra.value, Slice(members=members, multiplier=1, requests=1,
                                                                             seed=1))  # fmt: skip
    hosts = InProcessHosts(bundle, top, HostOptions(QUEUE_LIMIT, PARTIAL_LIMIT, 1, "here", shape))
    try:
        hosts.open()
        yield Opened(bundle, top, hosts, some_items(load_application(app), ITEMS, 1))
    finally:
        hosts.close()

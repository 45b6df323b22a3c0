"""What is emulated, as plain data: the members of sites with their addresses, and each direction of each link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Literal

HOP_WEIGHT: Final = 1e-9
"""Seconds added to each link when routes are compared: among routes of equal delay the shorter one is taken."""

Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Host:
    """A member of a site. `names` are what it is called by in all namespaces; the first is the member's.

    `control` is its address in a second network, where there is one, which joins all directly: what steers them must
    not load the links.
    """

    names: tuple[str, ...]
    site: str
    tier: str
    address: str
    control: str = ""

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of a link between two members. Rates in bytes/s, delay and jitter in seconds.

    All ways with the same `shared` also share `shared_rate`, which is met first where `shared_first`.
    """

    link: str
    direction: Direction
    start: str
    end: str
    rate: float
    delay: float
    jitter: float = 0.0
    loss: float = 0.0
    shared: str = ""
    shared_rate: float = 0.0
    shared_first: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """`unslowed` names the hardware classes at these sites that are slower than this machine, with their share."""

    hosts: tuple[Host, ...]
    ways: tuple[Way, ...]
    unslowed: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Network:
        hosts = tuple(Host(**{**host, "names": tuple(host["names"])}) for host in value["hosts"])
        return Network(hosts, tuple(Way(**way) for way in value["ways"]), dict(value["unslowed"]))


def routes(net: Network) -> dict[tuple[str, str], tuple[int, ...]]:
    """(from, to) -> the ways to take, by their place in `net.ways`: those of the least delay, static.

    Among routes of equal delay it is that of fewer links, then that over the link declared first: what the planner
    assumes.
    """
    leaving: dict[str, list[int]] = {host.name: [] for host in net.hosts}
    for index, way in enumerate(net.ways):
        leaving[way.start].append(index)
    found: dict[tuple[str, str], tuple[int, ...]] = {}
    for start in leaving:
        heap: list[tuple[float, int, str, tuple[int, ...]]] = [(0.0, 0, start, ())]
        order = count(1)
        while heap:
            weight, _, at, route = heappop(heap)
            if (start, at) in found:
                continue
            found[start, at] = route
            for index in leaving[at]:
                way = net.ways[index]
                heappush(heap, (weight + way.delay + HOP_WEIGHT, next(order), way.end, (*route, index)))
    return {(start, end): route for (start, end), route in found.items() if start != end}

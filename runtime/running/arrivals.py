"""When requests leave: seeded arrivals at the chosen members."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping, Sequence

from runtime.fleet import Member
from runtime.hosting.request import Departure
from runtime.topology import Flow
from specs.errors import InputError, Issue
from specs.recorded import Recording


def departures(
    flows: Sequence[Flow],
    requests: int,
    items: dict[str, int],
    seed: int,
    recordings: Mapping[str, Recording] | None = None,
    speed: float = 1.0,
) -> dict[str, list[Departure]]:
    """The first `requests` arrivals of all flows together, by member.

    Each member has its own stream at its flow's rate: exponential gaps (`poisson`), equal gaps from a random phase
    (`constant`), or what its source's recording says, `speed` times as fast (`trace`). `items` says how many items each
    source has; every request carries one, each used equally often.
    Raises InputError where there is no recording of a trace, or no member is in it.
    """
    streams = [_arrivals(flow, member, seed, recordings or {}, speed) for flow in flows for member in flow.members]
    merged = heapq.merge(*streams, key=lambda entry: (entry[0], entry[2]))
    orders = {source: _shuffled(count, seed, source) for source, count in items.items()}
    used = dict.fromkeys(items, 0)
    found: dict[str, list[Departure]] = {}
    for number, (offset, flow, member) in zip(range(requests), merged, strict=False):
        order = orders[flow.source]
        item = order[used[flow.source] % len(order)]
        used[flow.source] += 1
        request = f"{flow.source}/{member}/{number}"
        found.setdefault(str(member), []).append(Departure(offset, request, flow.name, item, True))
    if sum(map(len, found.values())) < requests:
        raise InputError(Issue("none of the members that take part is in the trace", None, "choose more --members"))
    return found


def _arrivals(
    flow: Flow, member: Member, seed: int, recordings: Mapping[str, Recording], speed: float
) -> Iterator[tuple[float, Flow, Member]]:
    if flow.arrivals != "trace":
        return _stream(flow, member, seed)
    if flow.source not in recordings:
        raise InputError(Issue(f"requests of {flow.source} come as a trace has them, which is not given"))
    return ((time, flow, member) for time in recordings[flow.source].times(member.site, member.index, speed))


def _stream(flow: Flow, member: Member, seed: int) -> Iterator[tuple[float, Flow, Member]]:
    rng = random.Random(f"{seed}/{flow.name}/{member}")
    offset = rng.random() / flow.rate if flow.arrivals == "constant" else rng.expovariate(flow.rate)
    while True:
        yield offset, flow, member
        offset += 1 / flow.rate if flow.arrivals == "constant" else rng.expovariate(flow.rate)


def _shuffled(count: int, seed: int, source: str) -> list[int]:
    order = list(range(count))
    random.Random(f"{seed}/{source}/items").shuffle(order)
    return order

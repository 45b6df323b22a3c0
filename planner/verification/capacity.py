"""Devices, links, routes and cuts: what is bought, how busy it is, and which way messages go."""

from __future__ import annotations

import math
from typing import Final

from planner.verification.claims import Claims
from planner.verification.reading import Flow, Reading
from specs.application import Cuts
from specs.codec import CODECS
from specs.plan import DevicesBought

HIGHEST_LOAD: Final = 0.9
"""No queue may be busier."""


def check_routes(reading: Reading, claims: Claims) -> None:
    needed = {(f.site, m.start, m.end) for f in reading.flows for m in reading.messages(f) if m.start != m.end}
    listed = {(origin, route.from_, route.to) for route in reading.plan.routes for origin in route.origins}
    claims.holds("every message has a route", needed <= listed)
    for origin, start, end in sorted(listed):
        using = any({start, end} <= _sites_of(reading, f) for f in reading.flows if f.site == origin)
        claims.holds(f"route {start} -> {end} is of a flow of {origin}", using)
    for origin, start, end in sorted(listed | needed):
        at, delay = start, 0.0
        for link, way in reading.hops(origin, start, end):
            spec = reading.infra.links.get(link)
            first, second = spec.between if spec else ("", "")
            if spec is None or at != (first if way == "up" else second):
                at = ""
                break
            at = second if way == "up" else first
            delay += spec.delay.mean
        named = f"route {start} -> {end} for {origin}"
        arrives = claims.holds(f"{named} arrives", at == end)
        if arrives:
            claims.equal(f"delay of {named}", delay, reading.least_delay(origin, start, end), 1e-6)


def _sites_of(reading: Reading, flow: Flow) -> set[str]:
    return {
        flow.site,
        *reading.answered(flow),
        *(reading.plan.assignments[i].site for chain in flow.chains.values() for i in chain),
    }


def check_devices(reading: Reading, claims: Claims) -> None:
    bought = {(d.site, d.pool): d for d in reading.plan.devices}
    claims.holds("each pool is listed once", len(bought) == len(reading.plan.devices))
    for site, spec in reading.infra.sites.items():
        for pool in spec.pools:
            _check_pool(reading, claims, site, pool, bought.get((site, pool)))
    for queue, load in reading.loads().items():
        claims.at_most(f"{queue}: utilisation", load, HIGHEST_LOAD)


def _check_pool(reading: Reading, claims: Claims, site: str, pool: str, claim: DevicesBought | None) -> None:
    assignments = reading.plan.assignments
    here = [i for i, a in enumerate(assignments) if (a.site, a.pool) == (site, pool)]
    spec = reading.infra.sites[site].pools[pool]
    hardware = reading.infra.hardware[spec.hardware]
    count, (low, high) = claim.bought if claim else 0, spec.devices
    claims.holds(f"devices {site}.{pool}: number allowed", low <= count <= high)
    memory = math.inf if hardware.memory is None else hardware.memory
    if hardware.sharing == "time":
        each = sum(reading.records[assignments[i].record].memory * (1 + assignments[i].standby) for i in here)
        fits = each <= memory and all(assignments[i].replicas == count for i in here)
        busy = sum(reading.stage_rate(i) * reading.service(i).mean for i in here)
    else:
        items = [
            (assignments[i].threads, reading.records[assignments[i].record].memory)
            for i in here
            for _ in range(assignments[i].replicas + assignments[i].standby)
        ]
        fits = _pack(sorted(items, reverse=True), [(hardware.cores, memory)] * min(count, len(items)))
        reserved = sum(
            reading.stage_rate(i) * reading.service(i).mean / assignments[i].batch * assignments[i].threads
            for i in here
        )
        busy = reserved / hardware.cores
    claims.holds(f"devices {site}.{pool}: replicas fit", fits)
    if claim:
        alike = (claim.hardware, claim.sharing) == (spec.hardware, hardware.sharing)
        claims.holds(f"devices {site}.{pool}: hardware and sharing", alike)
        claims.equal(f"devices {site}.{pool}: load", claim.load, busy / max(1, count))


def check_links(reading: Reading, claims: Claims) -> None:
    claimed = {f"{link.name} {link.direction}": link for link in reading.plan.links}
    used = {q: (rate, load) for q, load in reading.loads().items() for rate in _rate_of(reading, q)}
    claims.holds("links in use are listed", set(claimed) == set(used))
    for queue, (rate, load) in used.items():
        if queue in claimed:
            claims.equal(f"link {queue}: load", claimed[queue].load, load)
            claims.equal(f"link {queue}: bytes/s", claimed[queue].bytes_per_s, load * rate)


def _rate_of(reading: Reading, queue: str) -> list[float]:
    rates = {q: rate for flow in reading.flows for m in reading.messages(flow) for q, rate, _ in reading.crossed(m)}
    return [rates[queue]] if queue in rates else []


def check_cuts(reading: Reading, claims: Claims) -> None:
    claimed = {(c.component, c.tensors, c.codec): c for c in reading.plan.cuts}
    found: dict[tuple[str, tuple[str, ...], str], float] = {}
    for flow in reading.flows:
        for m in reading.messages(flow):
            if m.from_component == m.to_component:
                parts = [v.split("@", 1)[1].rpartition("~") for v in m.values]
                codecs = {end for _, mark, end in parts if mark and end in CODECS}
                tensors = tuple(head if mark and end in CODECS else f"{head}{mark}{end}" for head, mark, end in parts)
                claims.holds(f"cut of {m.from_component}: one codec", len(codecs) <= 1)
                if m.start != m.end:
                    codec = min(codecs, default="none")
                    found[m.from_component, tensors, codec] = reading.mean_bytes(flow, m)
                else:
                    claims.holds(f"cut of {m.from_component} within a site: nothing is encoded", not codecs)
    claims.holds("cuts between sites are listed", set(claimed) == set(found))
    for key, size in found.items():
        if key in claimed:
            claims.equal(f"cut of {key[0]}: bytes", claimed[key].bytes, size)
            claims.holds(f"cut of {key[0]} is declared or was found", key[1] in _known_cuts(reading, key[0]))
            claims.holds(f"cut of {key[0]}: codec is allowed", key[2] in reading.app.components[key[0]].codecs)


def _known_cuts(reading: Reading, component: str) -> set[tuple[str, ...]]:
    """What may cross together, of all variants."""
    spec = reading.app.components[component]
    if isinstance(spec.split, Cuts):
        return {cut for variant in spec.realisations for cut in spec.split.tensors(variant)}
    sources = {reading.situation.digests[f"{component}/{variant}"] for variant in spec.realisations}
    found = [f for f in reading.situation.found if f.source in sources]
    return {cut.names for f in found for cut in f.cuts} if spec.cut_anywhere else set()


def _pack(items: list[tuple[int, float]], free: list[tuple[int, float]]) -> bool:
    """Whether every (threads, memory) fits on one of the devices with that much left."""
    if not items:
        return True
    threads, memory = items[0]
    for i, (cores, left) in enumerate(free):
        if threads <= cores and memory <= left and free.index((cores, left)) == i:
            rest = [*free[:i], (cores - threads, left - memory), *free[i + 1 :]]
            if _pack(items[1:], rest):
                return True
    return False

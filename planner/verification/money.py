"""What the plan costs, devices, energy, egress, and how much energy that is."""

from __future__ import annotations

import math
from typing import Final

from planner.verification.claims import Claims
from planner.verification.reading import Reading
from specs.infrastructure import Hardware
from specs.plan import DevicesBought

HOURS: Final = 730.0
"""A month."""


def check_cost(reading: Reading, claims: Claims) -> float:
    """Check what is claimed, and return what a month really costs; infinity where nothing is claimed."""
    claimed = reading.plan.cost
    if not claims.holds("cost is stated", claimed is not None):
        return math.inf
    assert claimed is not None
    items = {name: money for name, money in _items(reading).items() if money > 0}
    month = sum(items.values())
    claims.holds("currency", claimed.currency == reading.infra.currency)
    claims.equal("cost per month", claimed.per_month, month, 1e-4, 1e-6)
    claims.equal("cost per hour", claimed.per_hour, month / HOURS, 1e-4, 1e-9)
    stated = {item.name: item.per_month for item in claimed.items}
    claims.holds("cost items are those there are", set(stated) == set(items))
    for name, money in items.items():
        claims.equal(f"cost of {name}", stated.get(name, 0.0), money, 1e-4, 1e-6)
    requests = sum(f.mean * f.members for f in reading.flows) * HOURS * 3600
    claims.equal("cost per 1000 requests", claimed.per_1000, month / requests * 1000 if requests else 0.0, 1e-4, 1e-9)
    return month


def check_energy(reading: Reading, claims: Claims) -> float:
    """Check what is claimed, and return the kWh that a month really takes."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for d in reading.plan.devices:
        pool = reading.infra.sites[d.site].pools[d.pool]
        hardware = reading.infra.hardware[pool.hardware]
        idle, busy = pool.power or hardware.power or (0.0, 0.0)
        hours = HOURS / 1000 * reading.members(d.site)
        takes = idle * d.bought * hours, (busy - idle) * _devices_busy(reading, d, hardware) * hours
        if sum(takes) > 0:
            found[d.site, d.pool] = takes
    total = sum(idle + busy for idle, busy in found.values())
    claimed = reading.plan.energy
    stated = {(i.site, i.pool): i for i in claimed.items} if claimed else {}
    claims.holds("energy is stated of the pools that take any", set(stated) == set(found))
    claims.equal("energy per month", claimed.per_month if claimed else 0.0, total, 1e-4, 1e-6)
    for key in set(stated) & set(found):
        claims.equal(f"energy of {'.'.join(key)}, idle", stated[key].idle, found[key][0], 1e-4, 1e-6)
        claims.equal(f"energy of {'.'.join(key)}, busy", stated[key].busy, found[key][1], 1e-4, 1e-6)
    return total


def _items(reading: Reading) -> dict[str, float]:
    """Money a month by what it is paid for; nothing is 0."""
    found: dict[str, float] = {}
    for d in reading.plan.devices:
        name = f"{d.site}.{d.pool}"
        spec = reading.infra.sites[d.site]
        pool = spec.pools[d.pool]
        hardware = reading.infra.hardware[pool.hardware]
        members = reading.members(d.site)
        if not pool.owned:
            price = hardware.price if pool.price is None else pool.price
            found[f"devices {name}"] = price * HOURS * d.bought * members
        idle, busy = pool.power or hardware.power or (0.0, 0.0)
        a_watt = HOURS / 1000 * spec.electricity * members
        found[f"energy {name}"] = idle * d.bought * a_watt
        found[f"busy energy {name}"] = (busy - idle) * _devices_busy(reading, d, hardware) * a_watt
    for i, a in enumerate(reading.plan.assignments):
        api = reading.app.components[a.component].realisations[a.variant].api
        if api is not None:
            calls = reading.stage_rate(i, mean=True) * reading.members(a.site) * HOURS * 3600
            found[f"calls {a.component}"] = found.get(f"calls {a.component}", 0.0) + calls * api.price
    for flow in reading.flows:
        for m in reading.messages(flow):
            sent = flow.mean * flow.members * m.share * reading.mean_bytes(flow, m) * HOURS * 3600
            for link, way in reading.passed(m):
                link_spec = reading.infra.links[link]
                side = link_spec.up if way == "up" else link_spec.down
                price = link_spec.egress if side is None else side.egress
                found[f"egress {link} {way}"] = found.get(f"egress {link} {way}", 0.0) + sent * price
    return found


def _devices_busy(reading: Reading, d: DevicesBought, hardware: Hardware) -> float:
    """How many devices of a pool are busy at the mean rate, at one member."""
    used = 0.0
    for i, a in enumerate(reading.plan.assignments):
        if (a.site, a.pool) == (d.site, d.pool):
            per_device = hardware.cores if hardware.sharing == "cores" else a.threads
            used += reading.stage_rate(i, mean=True) * reading.service(i).mean * a.threads / per_device
    return used

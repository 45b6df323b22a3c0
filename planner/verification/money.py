"""What the plan costs: devices, energy, egress."""

from __future__ import annotations

import math
from typing import Final

from planner.verification.claims import Claims
from planner.verification.reading import Reading

HOURS: Final = 730.0
"""A month."""


def check_cost(reading: Reading, claims: Claims) -> float:
    """Check what is claimed, and return what a month really costs; infinity where nothing is claimed."""
    claimed = reading.plan.cost
    if not claims.holds("cost is stated", claimed is not None):
        return math.inf
    assert claimed is not None
    month = _cost_a_month(reading)
    claims.holds("currency", claimed.currency == reading.infra.currency)
    claims.equal("cost per month", claimed.per_month, month, 1e-4, 1e-6)
    claims.equal("cost per hour", claimed.per_hour, month / HOURS, 1e-4, 1e-9)
    claims.equal("sum of cost items", sum(i.per_month for i in claimed.items), month, 1e-4, 1e-6)
    claims.holds("no cost item is negative", all(i.per_month >= 0 for i in claimed.items))
    requests = sum(f.mean * f.members for f in reading.flows) * HOURS * 3600
    claims.equal("cost per 1000 requests", claimed.per_1000, month / requests * 1000 if requests else 0.0, 1e-4, 1e-9)
    return month


def _cost_a_month(reading: Reading) -> float:
    total = 0.0
    for d in reading.plan.devices:
        spec = reading.infra.sites[d.site]
        pool = spec.pools[d.pool]
        hardware = reading.infra.hardware[pool.hardware]
        if not pool.owned:
            total += (hardware.price if pool.price is None else pool.price) * HOURS * d.bought * reading.members(d.site)
        idle, busy = pool.power or hardware.power or (0.0, 0.0)
        used = 0.0
        for i, a in enumerate(reading.plan.assignments):
            if (a.site, a.pool) == (d.site, d.pool):
                per_device = hardware.cores if hardware.sharing == "cores" else a.threads
                used += reading.stage_rate(i, mean=True) * reading.service(i).mean * a.threads / per_device
        watts = (idle * d.bought + (busy - idle) * used) * reading.members(d.site)
        total += watts / 1000 * HOURS * spec.electricity
    for flow in reading.flows:
        for m in reading.messages(flow):
            sent = flow.mean * flow.members * m.share * reading.mean_bytes(flow, m) * HOURS * 3600
            for link, way in reading.hops(m.start, m.end) if m.start != m.end else []:
                spec_ = reading.infra.links[link]
                side = spec_.up if way == "up" else spec_.down
                total += sent * (spec_.egress if side is None else side.egress)
    return total

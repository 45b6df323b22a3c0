"""The electricity that a placement takes, from the specs."""

from __future__ import annotations

from collections.abc import Mapping

from planner.placement.layout import Layout
from planner.pricing.prices import busy_energy, device_energy
from specs.plan import Energy, EnergyItem

PoolName = tuple[str, str]
"""Site and pool."""


def busy_devices(layout: Layout) -> dict[PoolName, float]:
    """How many devices are busy at the mean rate, at all members together; 0 where a pool is hardly used."""
    infra = layout.situation.infra.value
    found: dict[PoolName, float] = {}
    for of in layout.flows:
        for index in of.stages:
            stage = layout.stages[index]
            a = stage.assignment
            hardware = infra.hardware[infra.sites[a.site].pools[a.pool].hardware]
            part = a.threads / hardware.cores if hardware.sharing == "cores" else 1.0
            busy = of.flow.mean * of.flow.members * of.pipeline.runs(a.component) * stage.record.service.mean * part
            found[a.site, a.pool] = found.get((a.site, a.pool), 0.0) + busy
    return found


def energy_of(layout: Layout, bought: Mapping[PoolName, int]) -> Energy | None:
    """By pool; None where no power of any device in use is known. `bought` is devices at each member."""
    infra = layout.situation.infra.value
    working = busy_devices(layout)
    items: list[EnergyItem] = []
    for (site, pool), count in bought.items():
        spec = infra.sites[site].pools[pool]
        hardware = infra.hardware[spec.hardware]
        idle = device_energy(spec, hardware) * count * infra.members(site)
        busy = busy_energy(spec, hardware) * working.get((site, pool), 0.0)
        if idle + busy > 0:
            items.append(EnergyItem(site=site, pool=pool, idle=idle, busy=busy))
    if not items:
        return None
    return Energy(per_month=sum(i.idle + i.busy for i in items), items=tuple(items))

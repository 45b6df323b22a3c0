"""The table of pools: devices of one kind at each member of a site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from planner.formulation.names import ConstraintTable
from planner.formulation.numbers import MICRO
from planner.formulation.servers import Executors, ServerTable
from planner.pricing.prices import device_energy, device_price
from planner.problem import Pool
from planner.situation import Situation
from specs.errors import InputError, Issue
from specs.infrastructure import MOST_EXECUTORS

UNLIMITED_KB: Final = 10**12


@dataclass(frozen=True)
class PoolTable:
    """`index` maps (site, pool) to its place in `rows`."""

    rows: tuple[Pool, ...]
    index: dict[tuple[str, str], int]

    def at(self, site: str, name: str) -> Pool:
        return self.rows[self.index[site, name]]


def pools_of(situation: Situation, constraints: ConstraintTable, servers: ServerTable) -> PoolTable:
    """Every pool of every site; one that shares time has executors, which are a server.

    Raises InputError for what is not supported.
    """
    sites = situation.infra.value.sites
    keys = [(site, name) for site in sites for name in sites[site].pools]
    rows = tuple(_pool(situation, constraints, site, name) for site, name in keys)
    for index, (key, pool) in enumerate(zip(keys, rows, strict=True)):
        if pool.sharing == "time":
            servers.add(("pool", *key), pool.name, pool.constraint, Executors(index, pool.maximum))
    return PoolTable(rows, {key: i for i, key in enumerate(keys)})


def _pool(situation: Situation, constraints: ConstraintTable, site: str, name: str) -> Pool:
    infra = situation.infra
    spec = infra.value.sites[site].pools[name]
    place = infra.place("sites", site, "pools", name, "devices")
    hardware = infra.value.hardware[spec.hardware]
    if hardware.sharing == "time" and spec.devices[1] > MOST_EXECUTORS:
        message = f"not supported yet: more than {MOST_EXECUTORS} devices in a pool whose hardware shares time"
        raise InputError(Issue(message, place, "make several pools of them"))
    constraint = constraints.add("devices", f"sites.{site}.pools.{name}.devices", place)
    asked = situation.app.value.asks_energy
    return Pool(
        name=f"{site}.{name}",
        sharing=hardware.sharing,
        constraint=constraint,
        cores=hardware.cores,
        memory_kb=UNLIMITED_KB if hardware.memory is None else int(hardware.memory / 1000),
        minimum=spec.devices[0],
        maximum=spec.devices[1],
        price=round(device_price(situation, site, spec, hardware) * infra.value.members(site) * MICRO),
        energy=round(device_energy(spec, hardware) * infra.value.members(site) * MICRO) if asked else 0,
    )

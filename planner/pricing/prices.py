"""What devices take a month in money and in energy, from the specs."""

from __future__ import annotations

from typing import Final

from planner.situation import Situation
from specs.infrastructure import Hardware
from specs.infrastructure import Pool as PoolSpec
from specs.quantities import HOURS_PER_MONTH

SECONDS_PER_MONTH: Final = HOURS_PER_MONTH * 3600


def device_price(situation: Situation, site: str, spec: PoolSpec, hardware: Hardware) -> float:
    """Money a month of one device: its price, unless it is owned, and its energy when idle."""
    price = 0.0 if spec.owned else (hardware.price if spec.price is None else spec.price)
    return price * HOURS_PER_MONTH + device_energy(spec, hardware) * situation.infra.value.sites[site].electricity


def busy_price(situation: Situation, site: str, spec: PoolSpec, hardware: Hardware) -> float:
    """Money a month for the energy that one device takes beyond idle when it is always busy."""
    return busy_energy(spec, hardware) * situation.infra.value.sites[site].electricity


def call_price(situation: Situation, component: str, variant: str) -> float:
    """Money of one run of `component`: of one call where it is a hosted API, else nothing."""
    api = situation.app.value.components[component].realisations[variant].api
    return api.price if api is not None else 0.0


def device_energy(spec: PoolSpec, hardware: Hardware) -> float:
    """kWh a month of one device that is idle."""
    return power_of(spec, hardware)[0] / 1000 * HOURS_PER_MONTH


def busy_energy(spec: PoolSpec, hardware: Hardware) -> float:
    """kWh a month beyond idle of one device that is always busy."""
    idle, busy = power_of(spec, hardware)
    return (busy - idle) / 1000 * HOURS_PER_MONTH


def power_of(spec: PoolSpec, hardware: Hardware) -> tuple[float, float]:
    return spec.power or hardware.power or (0.0, 0.0)

"""What devices and their energy cost a month, from the specs."""

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
    idle = power_of(spec, hardware)[0] / 1000 * situation.infra.value.sites[site].electricity
    return (price + idle) * HOURS_PER_MONTH


def busy_price(situation: Situation, site: str, spec: PoolSpec, hardware: Hardware) -> float:
    """Money a month for the energy that one device takes beyond idle when it is always busy."""
    idle, busy = power_of(spec, hardware)
    return (busy - idle) / 1000 * situation.infra.value.sites[site].electricity * HOURS_PER_MONTH


def power_of(spec: PoolSpec, hardware: Hardware) -> tuple[float, float]:
    return spec.power or hardware.power or (0.0, 0.0)

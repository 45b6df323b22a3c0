"""What one inference costs on a class of hardware: money for the share of the device that it occupies."""

from __future__ import annotations

from specs.infrastructure import Hardware, Infrastructure
from specs.profile import Record


def price_of(infra: Infrastructure, name: str) -> float:
    """Money an hour for a device of a class: its own price, or the lowest of its pools' where these say one."""
    hardware = infra.hardware[name]
    pools = [p.price for s in infra.sites.values() for p in s.pools.values() if p.hardware == name]
    return min((price for price in pools if price is not None), default=hardware.price)


def cost_per_1000(record: Record, hardware: Hardware, price: float) -> float | None:
    """Money for 1,000 inferences on devices that are never idle; None where nothing is known of a price.

    With `sharing: cores` a replica pays for the cores that it reserves, with `sharing: time` for the device while it
    runs.
    """
    if price <= 0 or record.latency.mean <= 0:
        return None
    share = record.threads / hardware.cores if hardware.sharing == "cores" else 1.0
    return 1000 * price / 3600 * min(1.0, share) * record.latency.mean / record.batch


def quantile(record: Record, probability: float) -> float | None:
    """Seconds within which at least that share of runs ended; None where no run of the sample can lie beyond it.

    What is not of runs states what it states.
    """
    if record.is_sampled and min(probability, 1 - probability) * record.latency.n < 1 - 1e-9:
        return None
    return next((seconds for p, seconds in record.latency.points() if p >= probability - 1e-9), None)


def interval(record: Record, probability: float) -> tuple[float, float]:
    """Between what the quantile lies: of a measurement, its drift while measuring; of an estimate, what it says.

    Without end where the sample was too short for the quantile, or what is not of runs states no interval.
    """
    value = quantile(record, probability)
    low = value if value is not None else record.latency.points()[-1][1]
    high = value if value is not None else float("inf")
    if record.interval is not None:
        return low * record.interval[0], high * record.interval[1]
    if not record.is_sampled:
        return 0.0, float("inf")
    return max(0.0, low - record.latency.spread), high + record.latency.spread

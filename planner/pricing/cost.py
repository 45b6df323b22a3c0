"""What a placement costs, from the specs."""

from __future__ import annotations

from collections.abc import Mapping

from planner.placement.layout import Layout
from planner.pricing.energy import busy_devices
from planner.pricing.prices import SECONDS_PER_MONTH, busy_price, call_price, power_of
from specs.plan import Cost, CostItem
from specs.quantities import HOURS_PER_MONTH


def cost_of(layout: Layout, bought: Mapping[tuple[str, str], int]) -> Cost:
    """Money by item. `bought` is devices at each member by (site, pool). Owned devices cost their energy only."""
    items = {**_devices(layout, bought), **_busy(layout), **_calls(layout), **_egress(layout)}
    month = sum(items.values())
    requests = sum(f.mean * f.members for f in layout.situation.flows) * SECONDS_PER_MONTH
    return Cost(
        currency=layout.situation.infra.value.currency,
        per_hour=month / HOURS_PER_MONTH,
        per_month=month,
        per_1000=month / requests * 1000 if requests > 0 else 0.0,
        items=tuple(CostItem(name=n, per_month=v) for n, v in items.items() if v > 0),
    )


def _devices(layout: Layout, bought: Mapping[tuple[str, str], int]) -> dict[str, float]:
    infra = layout.situation.infra.value
    items: dict[str, float] = {}
    for (site, pool), count in bought.items():
        spec = infra.sites[site].pools[pool]
        hardware = infra.hardware[spec.hardware]
        many = count * infra.members(site)
        price = 0.0 if spec.owned else hardware.price if spec.price is None else spec.price
        idle = power_of(spec, hardware)[0] / 1000 * infra.sites[site].electricity
        items[f"devices {site}.{pool}"] = price * many * HOURS_PER_MONTH
        items[f"energy {site}.{pool}"] = idle * many * HOURS_PER_MONTH
    return items


def _busy(layout: Layout) -> dict[str, float]:
    """Energy beyond idle, at the mean rate."""
    infra = layout.situation.infra.value
    items: dict[str, float] = {}
    for (site, pool), busy in busy_devices(layout).items():
        spec = infra.sites[site].pools[pool]
        price = busy_price(layout.situation, site, spec, infra.hardware[spec.hardware])
        items[f"busy energy {site}.{pool}"] = busy * price
    return items


def _calls(layout: Layout) -> dict[str, float]:
    """What hosted APIs ask for their calls, at the mean rate."""
    items: dict[str, float] = {}
    for of in layout.flows:
        for component, variant in of.pipeline.variants.items():
            calls = of.flow.mean * of.flow.members * of.pipeline.runs(component) * SECONDS_PER_MONTH
            name = f"calls {component}"
            items[name] = items.get(name, 0.0) + calls * call_price(layout.situation, component, variant)
    return items


def _egress(layout: Layout) -> dict[str, float]:
    network = layout.situation.network
    items: dict[str, float] = {}
    for of in layout.flows:
        for leg in of.legs:
            size = of.pipeline.size(leg.message).mean
            for passage in leg.route:
                sent = of.flow.mean * of.flow.members * leg.message.share * size * SECONDS_PER_MONTH
                name = f"egress {passage.link} {passage.way}"
                items[name] = items.get(name, 0.0) + sent * network.direction(passage).egress
    return items

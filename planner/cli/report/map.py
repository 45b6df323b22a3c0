"""Where things stand on the map of the placement: sites in columns by their distance from the origin, links between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from specs.plan import Assignment, DevicesBought, LinkLoad, Plan

CARD_WIDTH: Final = 252
STAGE_HEIGHT: Final = 58
_CARD_HEAD: Final = 64
_POOL_HEIGHT: Final = 40
_COLUMN_GAP: Final = 190
_ROW_GAP: Final = 28
_MARGIN: Final = 12
_BULGE: Final = 56
_LABEL_WIDTH: Final = 130


@dataclass(frozen=True, slots=True)
class Box:
    """One stage on a card. `x` and `y` are of its upper left corner."""

    x: int
    y: int
    assignment: Assignment
    label: str


@dataclass(frozen=True, slots=True)
class PoolBar:
    """The devices of a pool, and how busy they are (0 to 1)."""

    x: int
    y: int
    devices: DevicesBought


@dataclass(frozen=True, slots=True)
class Card:
    """A site: its stages and pools."""

    site: str
    tier: str
    x: int
    y: int
    height: int
    origin: bool
    boxes: tuple[Box, ...]
    pools: tuple[PoolBar, ...]


@dataclass(frozen=True, slots=True)
class Wire:
    """A link between two cards, with the load of each direction that the plan uses, and of what its links share.

    `beside`: it joins two cards of one column, and goes round on their right, where its label stands as well.
    """

    name: str
    x1: int
    y1: int
    x2: int
    y2: int
    loads: tuple[LinkLoad, ...]
    busiest: float
    beside: bool
    downwards: bool

    @property
    def bend(self) -> int:
        """Where both control points of the curve are."""
        return self.x1 + _BULGE if self.beside else (self.x1 + self.x2) // 2

    @property
    def label_x(self) -> int:
        return self.x1 + _BULGE * 3 // 4 + 8 if self.beside else self.bend

    @property
    def label_y(self) -> int:
        return (self.y1 + self.y2) // 2


@dataclass(frozen=True, slots=True)
class Map:
    width: int
    height: int
    cards: tuple[Card, ...]
    wires: tuple[Wire, ...]


def draw_map(plan: Plan, ends: dict[str, tuple[str, str]], tiers: dict[str, str]) -> Map:
    """The map of `plan`. `ends` gives the two sites of each link, `tiers` the tier of each site where it is known."""
    origins = origin_sites(plan)
    columns = _columns(_sites(plan, ends, origins), ends, origins)
    heights = {site: _height(plan, site) for column in columns for site in column}
    tallest = max((sum(heights[s] + _ROW_GAP for s in column) - _ROW_GAP for column in columns), default=0)
    cards: dict[str, Card] = {}
    for index, column in enumerate(columns):
        y = _MARGIN + (tallest - sum(heights[s] + _ROW_GAP for s in column) + _ROW_GAP) // 2
        x = _MARGIN + index * (CARD_WIDTH + _COLUMN_GAP)
        for site in column:
            cards[site] = _card(plan, site, tiers.get(site, ""), x, y, heights[site], site in origins)
            y += heights[site] + _ROW_GAP
    wires = tuple(_wire(plan, name, cards[a], cards[b]) for name, (a, b) in ends.items() if a in cards and b in cards)
    width = 2 * _MARGIN + len(columns) * CARD_WIDTH + max(0, len(columns) - 1) * _COLUMN_GAP
    width = max([width, *(wire.label_x + _LABEL_WIDTH for wire in wires if wire.beside)])
    return Map(width, tallest + 2 * _MARGIN, tuple(cards.values()), wires)


def origin_sites(plan: Plan) -> tuple[str, ...]:
    """Sites where requests enter; a flow is called ``source@site``."""
    flows = [path.flow for path in plan.paths] + [flow for a in plan.assignments for flow in a.flows]
    return tuple(dict.fromkeys(flow.rpartition("@")[2] for flow in flows))


def _sites(plan: Plan, ends: dict[str, tuple[str, str]], origins: Sequence[str]) -> list[str]:
    used = [*origins, *(a.site for a in plan.assignments), *(d.site for d in plan.devices)]
    on_routes = [site for route in plan.routes for site in (route.from_, route.to)]
    linked = [site for pair in ends.values() for site in pair]
    return list(dict.fromkeys([*used, *on_routes, *linked]))


def _columns(sites: list[str], ends: dict[str, tuple[str, str]], origins: Sequence[str]) -> list[list[str]]:
    """Sites by their number of links from the nearest origin; those without a way stand last."""
    level = dict.fromkeys(origins, 0)
    todo = list(origins)
    for site in todo:
        for a, b in ends.values():
            other = b if site == a else a if site == b else None
            if other is not None and other not in level:
                level[other] = level[site] + 1
                todo.append(other)
    last = max(level.values(), default=-1) + 1
    columns: list[list[str]] = [[] for _ in range(last + 1)]
    for site in sites:
        columns[level.get(site, last)].append(site)
    return [column for column in columns if column]


def _height(plan: Plan, site: str) -> int:
    stages = sum(a.site == site for a in plan.assignments)
    pools = sum(d.site == site for d in plan.devices)
    return _CARD_HEAD + max(1, stages) * (STAGE_HEIGHT + 8) + pools * _POOL_HEIGHT + 8


def _card(plan: Plan, site: str, tier: str, x: int, y: int, height: int, origin: bool) -> Card:
    here = [a for a in plan.assignments if a.site == site]
    step = STAGE_HEIGHT + 8
    boxes = tuple(Box(x + 12, y + _CARD_HEAD + i * step, a, a.stage_name) for i, a in enumerate(here))
    below = y + _CARD_HEAD + max(1, len(here)) * step + 4
    devices = [d for d in plan.devices if d.site == site]
    pools = tuple(PoolBar(x + 12, below + i * _POOL_HEIGHT, d) for i, d in enumerate(devices))
    return Card(site, tier, x, y, height, origin, boxes, pools)


def _wire(plan: Plan, name: str, a: Card, b: Card) -> Wire:
    left, right = (a, b) if a.x <= b.x else (b, a)
    loads = tuple(load for load in plan.links if load.name in (name, f"{name} shared"))
    return Wire(
        name,
        left.x + CARD_WIDTH,
        left.y + left.height // 2,
        right.x if right.x > left.x else right.x + CARD_WIDTH,
        right.y + right.height // 2,
        loads,
        max((load.load for load in loads), default=0.0),
        a.x == b.x,
        a.y <= b.y,
    )


def link_ends(plan: Plan, declared: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The sites that each link joins: as `declared` in the infrastructure, else as routes of one hop tell."""
    ends = dict(declared)
    for route in plan.routes:
        if len(route.hops) == 1:
            hop = route.hops[0]
            pair = (route.from_, route.to) if hop.direction == "up" else (route.to, route.from_)
            ends.setdefault(hop.link, pair)
    return ends

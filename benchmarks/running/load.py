"""The slice in which what is busiest has the load that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.placement.slicing import default_slice
from planner.prediction.measured import moments
from planner.prediction.timings import Queue, Timings
from planner.situation import Situation
from specs.plan import Plan
from specs.run_result import Slice

MOST_CORES: Final = 0.6
"""Of this machine, that the work of all emulated sites may take: beyond it a run measures its own contention."""
STEPS: Final = 60
LEAST: Final = 1e-6
MOST: Final = 1e6
"""The multipliers of the members' own rate between which is looked."""
CLOSE: Final = 1e-3
"""Shares of a load that count as equal."""


@dataclass(frozen=True)
class Busy:
    """`queue` is the busiest, with `load` and `rate` requests (or messages) a second; `cores` of this machine work."""

    part: Slice
    queue: str
    load: float
    rate: float
    cores: float


def busy_slice(
    situation: Situation, plan: Plan, members: Mapping[str, int], load: float, requests: int, seed: int
) -> Busy:
    """`members` take part, each asking so much that the busiest queue has `load`, or the machine `MOST_CORES` of work.

    Where what the others bring (background) is above `load` by itself, they ask for as much as adds nothing to that.
    Raises InputError for a plan that places nothing or members that are not there.
    """

    def at(multiplier: float) -> Busy:
        return _busy(situation, plan, default_slice(situation, plan, members, multiplier, requests, seed))

    low, high = LEAST, MOST
    most = max(load, at(low).load * (1 + CLOSE))
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        found = at(middle)
        low, high = (middle, high) if found.load < most and found.cores < MOST_CORES else (low, middle)
    return at(low)


def _busy(situation: Situation, plan: Plan, part: Slice) -> Busy:
    layout = plan_layout(situation, plan)
    timings = Timings(layout, Demand(situation, part))
    queue: Queue = max(timings.queues.values(), key=lambda q: q.load)
    hardware = situation.infra.value.hardware
    cores = 0.0
    for index, stage in enumerate(layout.stages):
        a = stage.assignment
        spec = hardware[a.hardware]
        share = spec.emulate.cpu if spec.emulate else 1.0
        cores += part.members.get(a.site, 1) * timings.rate(index) * moments(stage.record).mean * share
    return Busy(part, queue.name, queue.load, sum(a.rate for a in queue.arrivals), cores)

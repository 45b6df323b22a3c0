"""Whether a refined plan keeps what it promises, measured in a world whose laws are known (tests/planner/played.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from planner.formulation import limit_name
from planner.plan import solve
from planner.refinement import compared, refine
from planner.simulation.figures import half_width
from specs.application import PathConstraint
from specs.errors import NotKnown
from specs.plan import Plan
from tests.planner.dags import Dag, dag
from tests.planner.laws import Reals
from tests.planner.played import Player
from tests.planner.pressed import FOUND, with_limits

EDGE: Final = 1.0005
"""Limits are so many times the upper end of what is simulated of the plan for a loose limit: it is just accepted."""
FEWEST: Final = 100_000
MOST: Final = 3_200_000
KNOWN: Final = 0.0035
"""Half of the 95 % interval of a measured percentile, as a share of it: a third of what it may be over."""
SECONDS: Final = 20.0
"""For each plan; one that is not proven the best has to keep its promise too."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One limit of one plan, in milliseconds. `half` is half of the 95 % interval of `measured`.

    `stated` is what the plan says that the percentile is.
    """

    level: float
    limit: float
    stated: float
    measured: float
    half: float

    @property
    def over(self) -> float:
        return self.measured / self.limit - 1

    @property
    def off(self) -> float:
        return self.measured / self.stated - 1


def pressed_dag(seed: int, requests: int) -> Dag | None:
    """World `seed` with limits at what its first plan just keeps. None where it has no plan."""
    given = dag(seed)
    plan = solve(given.situation, time_limit=SECONDS, proofs=False)
    if plan.status not in FOUND:
        return None
    found = compared(given.situation, plan, requests, seed=0).limits
    limits = {
        name: {q: found[limit_name(name, q)].high * EDGE for q in c.limits}
        for name, c in given.situation.app.value.constraints.items()
        if isinstance(c, PathConstraint)
    }
    return Dag(with_limits(given.situation, limits), given.services, given.sizes)


def promises(seed: int, requests: int) -> list[Promise] | None:
    """Of the refined plan for the pressed world `seed`. None where there is none. The simulator plays `requests`."""
    world = pressed_dag(seed, requests)
    if world is None:
        return None
    try:
        plan = refine(world.situation, time_limit=SECONDS, requests=requests)
    except NotKnown:
        return None
    return kept(world, plan, seed) if plan.refined else None


def kept(world: Dag, plan: Plan, seed: int) -> list[Promise]:
    """The limits of `plan`, measured until they are known well enough, or are kept without doubt."""
    assert plan.refined is not None
    levels = {limit.name: float(limit.name.rpartition(".p")[2]) / 100 for limit in plan.refined.limits}
    requests = FEWEST
    while True:
        times = played(world, plan, requests, seed)
        found = [
            Promise(levels[limit.name], limit.limit_ms, limit.simulated_ms, *measured(times, levels[limit.name]))
            for limit in plan.refined.limits
        ]
        if requests >= MOST or all(p.half <= KNOWN * p.measured or p.measured + p.half <= p.limit for p in found):
            return found
        requests *= 2


def played(world: Dag, plan: Plan, requests: int, seed: int) -> Reals:
    """Milliseconds of requests to the only sink."""
    return Player(world, plan, requests, 10_000 + seed).times("out") * 1e3


def measured(times: Reals, level: float) -> tuple[float, float]:
    """A percentile, and half of its 95 % interval."""
    half = half_width(times, level)
    assert half is not None
    return float(np.quantile(times, level)), half

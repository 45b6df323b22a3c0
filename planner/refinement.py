"""Solve, simulate, correct, solve again: until the simulated percentiles keep the limits and loosening gains nothing.

The prediction that the solver works with takes waits as independent, and arrivals at every queue as Poisson. What that
is off by is the ratio of simulated to predicted, so a prediction that keeps limit / ratio stands for a percentile that
keeps the limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from planner.path_limits import PathLimit, path_limits
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.plan import solve
from planner.prediction.distribution import Reals
from planner.prediction.latency import Latency
from planner.simulation import Simulation
from planner.simulation.figures import asked, half_width
from planner.situation import Situation
from specs.application import PathConstraint
from specs.errors import NotKnown
from specs.plan import ConstraintCheck, Plan, RefinedLimit, Refinement

REQUESTS: Final = 200_000
MOST_REQUESTS: Final = 4_000_000
"""A rare branch needs more of them before its percentile has an interval."""
ROUNDS: Final = 10
STEP: Final = 0.003
"""Share by which a missed limit is tightened beyond its correction; it doubles with each round."""
WORTH: Final = 0.002
"""A correction that loosens a limit by a smaller share than this is not tried."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Percentile:
    """Seconds; `half` is half of the confidence interval of `simulated`, infinite where there are too few requests.

    Of a share: of the time that it must be answered in, whose limit is the deadline.
    """

    limit: float
    predicted: float
    simulated: float
    half: float
    is_share: bool = False

    @property
    def high(self) -> float:
        return self.simulated + self.half

    @property
    def corrected(self) -> float:
        """The prediction at which the end of the interval would be at the limit.

        That of a share is never loosened: the plan states the share that is predicted, which must be what is asked.
        """
        exact = self._exact
        return min(exact, self.limit) if self.is_share else exact

    @property
    def _exact(self) -> float:
        return self.limit * self.predicted / self.high if 0 < self.high < math.inf else self.limit


def refine(
    situation: Situation,
    *,
    time_limit: float = 60.0,
    gap: float = 0.0,
    seed: int = 0,
    requests: int = REQUESTS,
    tell: Tell = lambda text: None,
) -> Plan:
    """The best plan found whose simulated percentiles, to the upper end of their intervals, keep every limit, and so
    the shares that must be answered by their deadline.

    The first plan's answer where there is none, or where no limit is asked for. Raises as `solve` does, and NotKnown
    where no plan was found that a simulation agrees with, or a share is too close to all. `requests` are played at
    first, more where a branch is rare.
    """
    ends = time.perf_counter() + time_limit
    best: Plan | None = None
    corrected: dict[str, float] = {}
    for number in range(1, ROUNDS + 1):
        left = max(0.1, ends - time.perf_counter())
        plan = solve(situation, time_limit=left, gap=gap, seed=seed, corrected=corrected)
        if plan.status not in ("optimal", "feasible"):
            if number == 1:
                return plan
            break
        found = simulated(situation, plan, requests, seed)
        while any(p.half == math.inf for p in found.values()) and requests < MOST_REQUESTS:
            requests *= 2
            found = simulated(situation, plan, requests, seed)
        if not found:
            return plan
        rare = next((name for name, p in found.items() if p.is_share and p.half == math.inf), None)
        if rare is not None:
            raise NotKnown(
                f"{rare}: {requests:,} requests are too few to simulate such a share; solve without --refine"
            )
        worst = max(found, key=lambda name: found[name].high / found[name].limit)
        tell(f"round {number}: {worst} is {found[worst].high / found[worst].limit:.1%} of its limit at most")
        missed = [name for name, p in found.items() if p.high > p.limit]
        if missed and best is not None:
            break
        if not missed:
            if best is not None and plan.objective >= best.objective:
                break
            best = _refined(plan, found, corrected, number, requests, seed)
            looser = {n: p.corrected for n, p in found.items()}
            if all(limit <= corrected.get(n, found[n].limit) * (1 + WORTH) for n, limit in looser.items()):
                break
            corrected = {n: max(limit, corrected.get(n, found[n].limit)) for n, limit in looser.items()}
        else:
            for name in missed:
                before = corrected.get(name, found[name].limit)
                corrected[name] = min(before, found[name].corrected) * (1 - STEP * 2 ** (number - 1))
        if time.perf_counter() > ends:
            break
    if best is None:
        raise NotKnown(
            f"no plan found in {number} rounds whose simulated percentiles keep the limits: {worst} does not"
        )
    return best


def simulated(situation: Situation, plan: Plan, requests: int, seed: int) -> dict[str, _Percentile]:
    """Each path limit of the plan, by name such as ``answer.p99``, and each share; of the flow that keeps it least."""
    layout, demand = plan_layout(situation, plan), Demand(situation)
    played = Simulation(layout, demand, seed).run(requests)
    latency = Latency(layout, demand)
    found: dict[str, _Percentile] = {}
    for of in layout.flows:
        for constraint, patterns in asked(layout, of):
            seconds = played.flows[of.flow.name].times(constraint.to, patterns)
            for limit in _limits(situation, constraint):
                level = limit.quantile
                half = half_width(seconds, level)
                predicted = (
                    latency.slowest(limit.path, level) if limit.is_share else _predicted(plan, constraint, level)
                )
                value = _quantile(seconds, level)
                width = math.inf if half is None else half
                now = _Percentile(limit.seconds, predicted, value, width, limit.is_share)
                if limit.name not in found or now.high > found[limit.name].high:
                    found[limit.name] = now
    return found


def _limits(situation: Situation, path: PathConstraint) -> Iterator[PathLimit]:
    """Every limit that the user sets on that path."""
    for limit in path_limits(situation.app.value):
        of = limit.path
        if (of.from_, of.to, of.about) == (path.from_, path.to, path.about):
            yield limit


def _quantile(seconds: Reals, level: float) -> float:
    return float(np.quantile(seconds, level)) if len(seconds) else 0.0


def _predicted(plan: Plan, constraint: PathConstraint, level: float) -> float:
    """Seconds; the largest of the flows."""
    about = (constraint.from_, constraint.to, constraint.about)
    values = [getattr(p.predicted, f"p{level * 100:.0f}_ms") for p in plan.paths if (p.from_, p.to, p.over) == about]
    return max(values, default=0.0) / 1e3


def _refined(
    plan: Plan, found: Mapping[str, _Percentile], corrected: Mapping[str, float], rounds: int, requests: int, seed: int
) -> Plan:
    """`plan` with what was simulated; its path constraints then speak of that."""
    limits = tuple(
        RefinedLimit(
            name=name,
            limit_ms=p.limit * 1e3,
            corrected_ms=corrected.get(name, p.limit) * 1e3,
            predicted_ms=p.predicted * 1e3,
            simulated_ms=p.simulated * 1e3,
            low_ms=max(0.0, p.simulated - p.half) * 1e3,
            high_ms=p.high * 1e3,
        )
        for name, p in found.items()
    )
    checks = tuple(_checked(check, found.get(check.name)) for check in plan.constraints)
    refined = Refinement(rounds=rounds, requests=requests, seed=seed, limits=limits)
    return plan.model_copy(update={"constraints": checks, "refined": refined})


def _checked(check: ConstraintCheck, of: _Percentile | None) -> ConstraintCheck:
    if of is None or of.is_share:
        return check
    return check.model_copy(update={"value": of.simulated * 1e3, "slack": (of.limit - of.simulated) * 1e3})

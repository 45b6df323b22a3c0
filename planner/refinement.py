"""Solve, simulate, correct, solve again: until the simulated percentiles keep the limits and loosening gains nothing.

The prediction that the solver works with takes waits as independent, and arrivals at every queue as Poisson. What that
is off by is the ratio of simulated to predicted, so a prediction that keeps limit / ratio stands for a percentile that
keeps the limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from planner.simulation.figures import asked, half_width, percentiles
from planner.simulation.precision import Interval, imprecision, intervals
from planner.situation import Situation
from specs.application import PathConstraint
from specs.errors import NotKnown
from specs.plan import ConstraintCheck, PathPrediction, Percentiles, Plan, RefinedLimit, RefinedPath, Refinement

REQUESTS: Final = 200_000
MOST_REQUESTS: Final = 4_000_000
"""A rare branch needs more of them before its percentile has an interval."""
MOST_FOR_PRECISION: Final = 2_000_000
"""So many at most are played for percentiles that few requests are near, of which no number would tell."""
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


@dataclass(frozen=True)
class ComparedPath:
    """What sums predict of a path, and what is simulated of it; `known` are the latter's intervals in milliseconds."""

    sums: PathPrediction
    simulated: Percentiles
    known: Mapping[str, Interval]

    @property
    def corrected(self) -> PathPrediction:
        """What was simulated, if enough of it was."""
        enough = imprecision(self.known) < math.inf
        return self.sums.model_copy(update={"predicted": self.simulated}) if enough else self.sums

    @property
    def refined(self) -> RefinedPath:
        p = self.sums
        return RefinedPath.model_validate(
            {"flow": p.flow, "from": p.from_, "to": p.to, "over": p.over, "sums": p.predicted}
            | {"interval_ms": dict(self.known)}
        )


@dataclass(frozen=True)
class Comparison:
    """Of a plan: its `limits` by name, and all paths that some request takes, where `requests` were simulated."""

    requests: int
    limits: dict[str, _Percentile]
    paths: tuple[ComparedPath, ...]

    @property
    def missed(self) -> list[str]:
        """Limits that the upper ends of intervals exceed."""
        return [name for name, p in self.limits.items() if p.high > p.limit]

    @property
    def lacks_intervals(self) -> bool:
        """Whether some limit's percentile has none."""
        return any(p.half == math.inf for p in self.limits.values())

    @property
    def imprecision(self) -> float:
        """Of the path that is known least, as `planner.simulation.precision` says; of none: 0."""
        return max((imprecision(path.known) for path in self.paths), default=0.0)


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
    the shares that must be answered by their deadline. Its paths are then predicted as they were simulated; p50 and p99
    are known to half of `planner.simulation.precision.TOLERANCE`, or their intervals say how well.

    The first plan's answer where there is none, or where no limit is asked for. Raises as `solve` does, and NotKnown
    where no plan was found that a simulation agrees with, or a share is too close to all. `requests` are played at
    first, more where a branch is rare or a percentile is not known well enough.
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
        comparison = _with_intervals(situation, plan, requests, seed)
        requests = comparison.requests
        if comparison.limits and not comparison.missed:
            comparison = _known_well(situation, plan, comparison, seed, ends)
        found = comparison.limits
        if not found:
            return plan
        rare = next((name for name, p in found.items() if p.is_share and p.half == math.inf), None)
        if rare is not None:
            raise NotKnown(
                f"{rare}: {requests:,} requests are too few to simulate such a share; solve without --refine"
            )
        worst = max(found, key=lambda name: found[name].high / found[name].limit)
        tell(f"round {number}: {worst} is {found[worst].high / found[worst].limit:.1%} of its limit at most")
        missed = comparison.missed
        if missed and best is not None:
            break
        if not missed:
            if best is not None and plan.objective >= best.objective:
                break
            best = _refined(plan, comparison, corrected, number, seed)
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


def compared(situation: Situation, plan: Plan, requests: int, seed: int) -> Comparison:
    """What a simulation of `requests` says of a plan, beside what sums of distributions predict of it."""
    layout, demand = plan_layout(situation, plan), Demand(situation)
    played = Simulation(layout, demand, seed).run(requests)
    latency = Latency(layout, demand)
    sums = latency.paths()
    limits: dict[str, _Percentile] = {}
    paths: list[ComparedPath] = []
    for of in layout.flows:
        for constraint, patterns in asked(layout, of):
            seconds = played.flows[of.flow.name].times(constraint.to, patterns)
            about = (constraint.from_, constraint.to, constraint.about)
            alike = [p for p in sums if (p.from_, p.to, p.over) == about]
            mine = next(p for p in alike if p.flow == of.flow.name)
            paths.append(ComparedPath(mine, percentiles(seconds), intervals(seconds)))
            for limit in _limits(situation, constraint):
                level = limit.quantile
                half = half_width(seconds, level)
                predicted = latency.slowest(limit.path, level) if limit.is_share else _largest(alike, level)
                value = _quantile(seconds, level)
                width = math.inf if half is None else half
                now = _Percentile(limit.seconds, predicted, value, width, limit.is_share)
                if limit.name not in limits or now.high > limits[limit.name].high:
                    limits[limit.name] = now
    return Comparison(requests, limits, tuple(paths))


def simulated(situation: Situation, plan: Plan, requests: int, seed: int) -> dict[str, _Percentile]:
    """Each path limit of the plan, by name such as ``answer.p99``, and each share; of the flow that keeps it least."""
    return compared(situation, plan, requests, seed).limits


def _with_intervals(situation: Situation, plan: Plan, requests: int, seed: int) -> Comparison:
    """Of as many requests as the intervals of limits need, `requests` at least."""
    found = compared(situation, plan, requests, seed)
    while found.lacks_intervals and found.requests < MOST_REQUESTS:
        found = compared(situation, plan, 2 * found.requests, seed)
    return found


def _known_well(situation: Situation, plan: Plan, found: Comparison, seed: int, ends: float) -> Comparison:
    """Of as many more requests as it takes to know all percentiles well enough, while there is time."""
    while found.imprecision > 1 and 2 * found.requests <= MOST_FOR_PRECISION and time.perf_counter() < ends:
        found = compared(situation, plan, 2 * found.requests, seed)
    return found


def _limits(situation: Situation, path: PathConstraint) -> Iterator[PathLimit]:
    """Every limit that the user sets on that path."""
    for limit in path_limits(situation.app.value):
        of = limit.path
        if (of.from_, of.to, of.about) == (path.from_, path.to, path.about):
            yield limit


def _quantile(seconds: Reals, level: float) -> float:
    return float(np.quantile(seconds, level)) if len(seconds) else 0.0


def _largest(paths: Iterable[PathPrediction], level: float) -> float:
    """Seconds; of the flows."""
    return max((getattr(p.predicted, f"p{level * 100:.0f}_ms") for p in paths), default=0.0) / 1e3


def _refined(plan: Plan, found: Comparison, corrected: Mapping[str, float], rounds: int, seed: int) -> Plan:
    """`plan` with what was simulated; its paths and their constraints then speak of that."""
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
        for name, p in found.limits.items()
    )
    checks = tuple(_checked(check, found.limits.get(check.name)) for check in plan.constraints)
    by = tuple(path.refined for path in found.paths)
    refined = Refinement(rounds=rounds, requests=found.requests, seed=seed, limits=limits, paths=by)
    paths = tuple(path.corrected for path in found.paths)
    return plan.model_copy(update={"paths": paths, "constraints": checks, "refined": refined})


def _checked(check: ConstraintCheck, of: _Percentile | None) -> ConstraintCheck:
    if of is None or of.is_share:
        return check
    return check.model_copy(update={"value": of.simulated * 1e3, "slack": (of.limit - of.simulated) * 1e3})

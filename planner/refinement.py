"""Solve, simulate, correct, solve again: until the simulated percentiles keep the limits and loosening gains nothing.

The prediction that the solver works with takes waits as independent, and arrivals at every queue as Poisson. What that
is off by is the ratio of simulated to predicted, so a prediction that keeps limit / ratio stands for a percentile that
keeps the limit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from planner.path_limits import PathLimit, path_limits
from planner.placement.demand import Demand
from planner.placement.layout import Layout, plan_layout
from planner.plan import Interrupted, solve
from planner.prediction.distribution import Reals
from planner.prediction.latency import Latency
from planner.simulation import Simulation
from planner.simulation.figures import asked, half_width, percentiles
from planner.simulation.precision import Interval, imprecision, intervals
from planner.situation import Situation
from specs.application import PathConstraint
from specs.errors import NotKnown
from specs.plan import (
    ConstraintCheck,
    PathKey,
    PathPrediction,
    Percentiles,
    Plan,
    RefinedLimit,
    RefinedPath,
    Refinement,
)

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
    """Seconds; the largest of the flows that are limited. From `low` to `high` is the 95 % confidence interval of
    `simulated`; without end where there are too few requests of some flow.

    Of a share: of the time that it must be answered in, whose limit is the deadline.
    """

    limit: float
    predicted: float
    simulated: float
    low: float
    high: float
    is_share: bool = False

    def or_larger(self, of: _Percentile) -> _Percentile:
        """Of this flow and another: the largest has its interval between the largest ends."""
        simulated, low, high = max(self.simulated, of.simulated), max(self.low, of.low), max(self.high, of.high)
        return _Percentile(self.limit, max(self.predicted, of.predicted), simulated, low, high, self.is_share)

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
        """Each percentile as it was simulated where it has an interval, the mean where the median has one."""
        figures = [f"{name}_ms" for name in self.known] + ["mean_ms"] * ("p50" in self.known)
        simulated = {figure: getattr(self.simulated, figure) for figure in figures}
        return self.sums.model_copy(update={"predicted": self.sums.predicted.model_copy(update=simulated)})

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
        return any(p.high == math.inf for p in self.limits.values())

    @property
    def imprecision(self) -> float:
        """Of the path that is known least, as `planner.simulation.precision` says; of none: 0."""
        return max((imprecision(path.known) for path in self.paths), default=0.0)


class _Prediction:
    """Of a plan, made once: what simulations of any length are compared with."""

    def __init__(self, situation: Situation, plan: Plan) -> None:
        self._layout: Layout = plan_layout(situation, plan)
        self._demand = Demand(situation)
        latency = Latency(self._layout, self._demand)
        sums = latency.paths()
        self._sums: dict[PathKey, PathPrediction] = {p.key: p for p in sums}
        self._limits: list[tuple[PathLimit, float]] = []
        for limit in path_limits(situation.app.value):
            about = (limit.path.from_, limit.path.to, limit.path.about)
            alike = [_seconds(p.predicted, limit.quantile) for p in sums if p.key[1:] == about and not limit.is_share]
            by_sums = latency.slowest(limit.path, limit.quantile) if limit.is_share else max(alike, default=0.0)
            self._limits.append((limit, by_sums))

    def compared(self, requests: int, seed: int) -> Comparison:
        """With a simulation of `requests`."""
        played = Simulation(self._layout, self._demand, seed).run(requests)
        limits: dict[str, _Percentile] = {}
        paths: list[ComparedPath] = []
        for of in self._layout.flows:
            for constraint, patterns in asked(self._layout, of):
                about = (constraint.from_, constraint.to, constraint.about)
                seconds = played.flows[of.flow.name].times(constraint.to, patterns)
                simulated = percentiles(seconds)
                path = ComparedPath(self._sums[of.flow.name, *about], simulated, intervals(seconds, simulated))
                paths.append(path)
                for limit, by_sums in self._about(constraint):
                    now = _percentile(limit, by_sums, seconds, path)
                    limits[limit.name] = now.or_larger(limits.get(limit.name, now))
        return Comparison(requests, limits, tuple(paths))

    def with_intervals(self, requests: int, seed: int) -> Comparison:
        """Of as many requests as the intervals of limits need, `requests` at least."""
        found = self.compared(requests, seed)
        while found.lacks_intervals and found.requests < MOST_REQUESTS:
            found = self.compared(2 * found.requests, seed)
        return found

    def known_well(self, found: Comparison, seed: int, ends: float) -> Iterator[Comparison]:
        """Of ever more requests than `found`, until all percentiles are known well enough or a limit is missed, while
        there is time.
        """
        while (
            not found.missed
            and found.imprecision > 1
            and 2 * found.requests <= MOST_FOR_PRECISION
            and time.perf_counter() < ends
        ):
            found = self.compared(2 * found.requests, seed)
            yield found

    def _about(self, path: PathConstraint) -> Iterator[tuple[PathLimit, float]]:
        """Every limit that the user sets on that path, and what sums predict of it."""
        for limit, by_sums in self._limits:
            of = limit.path
            if (of.from_, of.to, of.about) == (path.from_, path.to, path.about):
                yield limit, by_sums


@dataclass(frozen=True)
class _Kept:
    """A plan that a simulation agrees with, found in round `rounds` with limits `corrected` so."""

    plan: Plan
    prediction: _Prediction
    comparison: Comparison
    corrected: Mapping[str, float]
    rounds: int
    seed: int

    def known_well(self, ends: float) -> Iterator[_Kept]:
        """As ever longer simulations say. The last one may miss a limit."""
        for longer in self.prediction.known_well(self.comparison, self.seed, ends):
            yield replace(self, comparison=longer)

    def answer(self, missed_at: int | None) -> Plan:
        """The refined plan, called feasible where a longer simulation, of so many requests, missed a limit."""
        plan = self.refined
        if missed_at is None or plan.refined is None:
            return plan
        refined = plan.refined.model_copy(update={"missed_at": missed_at})
        return plan.model_copy(update={"status": "feasible", "refined": refined})

    @property
    def tighter(self) -> dict[str, float]:
        """The limits that predictions must keep where this simulation misses some."""
        return _tighter(self.comparison, self.corrected, self.rounds)

    @property
    def refined(self) -> Plan:
        """The plan with what was simulated; its paths and their constraints then speak of that."""
        found = self.comparison
        limits = tuple(
            RefinedLimit(
                name=name,
                limit_ms=p.limit * 1e3,
                corrected_ms=self.corrected.get(name, p.limit) * 1e3,
                predicted_ms=p.predicted * 1e3,
                simulated_ms=p.simulated * 1e3,
                low_ms=p.low * 1e3,
                high_ms=p.high * 1e3,
            )
            for name, p in found.limits.items()
        )
        checks = tuple(_checked(check, found.limits.get(check.name)) for check in self.plan.constraints)
        by = tuple(path.refined for path in found.paths)
        refined = Refinement(rounds=self.rounds, requests=found.requests, seed=self.seed, limits=limits, paths=by)
        paths = tuple(path.corrected for path in found.paths)
        return self.plan.model_copy(update={"paths": paths, "constraints": checks, "refined": refined})


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
    where no plan was found that a simulation agrees with, or a share is too close to all. On Ctrl-C `Interrupted` has
    the best refined plan, once there is one. `requests` are played at first, more where a branch is rare, and of the
    plan that is the answer where a percentile is not known well enough. Where so many more say that it misses a limit,
    that is tightened and the search goes on; a plan for which it ends before another is found is called feasible.
    """
    start = _Start(time.perf_counter() + time_limit, gap, seed, requests, tell)
    best: _Kept | None = None
    missed_at: int | None = None
    try:
        while best is None or (missed_at and start.goes_on):
            try:
                for found in _rounds(situation, start):
                    if isinstance(found, Plan):
                        return found
                    best, missed_at = found, None
            except NotKnown:
                if best is None:
                    raise
                if missed_at:
                    break
            assert best is not None
            for longer in best.known_well(start.ends):
                if longer.comparison.missed:
                    missed_at = longer.comparison.requests
                    tell(f"{longer.comparison.requests:,} requests miss {', '.join(longer.comparison.missed)}")
                    start = start.after(longer)
                else:
                    best = longer
    except KeyboardInterrupt:
        if best is None:
            raise
        raise Interrupted(best.answer(missed_at)) from None
    assert best is not None
    return best.answer(missed_at)


@dataclass(frozen=True)
class _Start:
    """From where rounds begin: when they must end, how plans are sought, how many requests are played of each, what
    predictions must keep, and how many rounds there were before.
    """

    ends: float
    gap: float
    seed: int
    requests: int
    tell: Tell
    corrected: Mapping[str, float] = field(default_factory=dict)
    before: int = 0

    @property
    def goes_on(self) -> bool:
        return self.before < ROUNDS and time.perf_counter() < self.ends

    def after(self, missed: _Kept) -> _Start:
        """Where more requests say that a plan misses limits: these are tightened, and of the next plan as many are
        played."""
        return replace(
            self,
            requests=missed.comparison.requests,
            corrected=missed.tighter,
            before=max(self.before + 1, missed.rounds),
        )


def _rounds(situation: Situation, start: _Start) -> Iterator[Plan | _Kept]:
    """Ever better plans that a simulation agrees with, one at least; or the first plan where there is nothing to
    refine. Raises as `refine` does.
    """
    best: Plan | None = None
    corrected, requests, worst = dict(start.corrected), start.requests, "every limit"
    for number in range(start.before + 1, ROUNDS + 1):
        left = max(0.1, start.ends - time.perf_counter())
        plan = solve(situation, time_limit=left, gap=start.gap, seed=start.seed, corrected=corrected)
        if plan.status not in ("optimal", "feasible"):
            if number == 1:
                yield plan
                return
            break
        prediction = _Prediction(situation, plan)
        comparison = prediction.with_intervals(requests, start.seed)
        requests = comparison.requests
        found = comparison.limits
        if not found:
            yield plan
            return
        rare = next((name for name, p in found.items() if p.is_share and p.high == math.inf), None)
        if rare is not None:
            raise NotKnown(
                f"{rare}: {requests:,} requests are too few to simulate such a share; solve without --refine"
            )
        worst = max(found, key=lambda name: found[name].high / found[name].limit)
        start.tell(f"round {number}: {worst} is {found[worst].high / found[worst].limit:.1%} of its limit at most")
        missed = comparison.missed
        if missed and best is not None:
            break
        if not missed:
            if best is not None and plan.objective >= best.objective:
                break
            best = plan
            yield _Kept(plan, prediction, comparison, dict(corrected), number, start.seed)
            looser = {n: p.corrected for n, p in found.items()}
            if all(limit <= corrected.get(n, found[n].limit) * (1 + WORTH) for n, limit in looser.items()):
                break
            corrected = {n: max(limit, corrected.get(n, found[n].limit)) for n, limit in looser.items()}
        else:
            corrected = _tighter(comparison, corrected, number)
        if time.perf_counter() > start.ends:
            break
    if best is None:
        raise NotKnown(
            f"no plan found in {number} rounds whose simulated percentiles keep the limits: {worst} does not"
        )


def _tighter(found: Comparison, corrected: Mapping[str, float], number: int) -> dict[str, float]:
    """What predictions must keep after round `number`, in which they kept `corrected` and `found` missed limits."""
    limits = dict(corrected)
    for name in found.missed:
        of = found.limits[name]
        limits[name] = min(limits.get(name, of.limit), of.corrected) * (1 - STEP * 2 ** (number - 1))
    return limits


def compared(situation: Situation, plan: Plan, requests: int, seed: int) -> Comparison:
    """What a simulation of `requests` says of a plan, beside what sums of distributions predict of it."""
    return _Prediction(situation, plan).compared(requests, seed)


def _percentile(limit: PathLimit, by_sums: float, seconds: Reals, path: ComparedPath) -> _Percentile:
    """Of one flow, whose requests on that `path` took so many `seconds`."""
    if not limit.is_share:
        value = _seconds(path.simulated, limit.quantile)
        low, high = (end / 1e3 for end in path.known.get(f"p{limit.quantile * 100:.0f}", (0.0, math.inf)))
        return _Percentile(limit.seconds, by_sums, value, low, high)
    value = float(np.quantile(seconds, limit.quantile)) if len(seconds) else 0.0
    half = half_width(seconds, limit.quantile)
    width = math.inf if half is None else half
    return _Percentile(limit.seconds, by_sums, value, max(0.0, value - width), value + width, is_share=True)


def _seconds(of: Percentiles, level: float) -> float:
    return float(getattr(of, f"p{level * 100:.0f}_ms")) / 1e3


def _checked(check: ConstraintCheck, of: _Percentile | None) -> ConstraintCheck:
    if of is None or of.is_share:
        return check
    return check.model_copy(update={"value": of.simulated * 1e3, "slack": (of.limit - of.simulated) * 1e3})

"""The front of plans that no other beats in latency, cost and accuracy at once, by the epsilon-constraint method.

One objective is minimised while the others are limited, the limits moving from tightest to loosest by a step, so that
each search has the cost of the point before as its ceiling. A plan that the tables allow and that is not on the front
is beaten, to a thousandth of its cost, by a point of it whose latency is at most one step higher.

Source: Haimes, Lasdon and Wismer, 1971 (epsilon-constraint).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from planner.answers.again import Again, TimeIsUp
from planner.answers.dial import FAR, MOST_MONEY, figure, nice
from planner.answers.forced import as_it_is, for_at_most
from planner.answers.relaxations import fewest_steps
from planner.formulation import limit_name
from planner.situation import Situation
from specs.application import AccuracyConstraint, CostConstraint, PathConstraint
from specs.errors import InputError, Issue
from specs.nearest import near
from specs.plan import Plan

Axis = Literal["latency", "cost", "accuracy"]
POINTS: Final = 20
"""Steps between the ends unless a step is given."""
FINE: Final = 8
"""The ends are found to a step divided by this."""
SAME: Final = 1e-6
ROUNDED: Final = 1e-4
"""A Problem rounds each option's cost up, so that by it a plan may cost so much a month more than it says."""
WORTH: Final = 1e-3
"""Between the ends, a point is by this share cheaper than the one before."""


@dataclass(frozen=True, slots=True)
class Point:
    """A plan on the front: the percentile (ms), money a month and accuracy, and whether it keeps the user's limits."""

    latency_ms: float
    per_month: float
    accuracy: float | None
    keeps: bool
    places: dict[str, str]
    devices: dict[str, int]
    changes: tuple[str, ...]

    def on(self, axis: Axis) -> float:
        """Smaller is better."""
        if axis == "latency":
            return self.latency_ms
        return self.per_month if axis == "cost" else -(self.accuracy or 0.0)


@dataclass(frozen=True, slots=True)
class Front:
    """`latency` names the percentile, `step_ms` how far apart its limits were; `complete` unless time ran out."""

    latency: str
    step_ms: float | None
    points: tuple[Point, ...]
    complete: bool


def pareto(
    situation: Situation,
    axes: Sequence[Axis],
    *,
    latency: str = "",
    step_ms: float | None = None,
    time_limit: float = 60.0,
    seed: int = 0,
) -> Front:
    """The front of `situation` on `axes`. The user's own limits on an axis do not count; `Point.keeps` says of each.

    `latency` is such as ``answer_time.p99``; without it, the first path constraint's highest percentile. Raises
    InputError where there is no such constraint, or none on accuracy though that is an axis.
    """
    name, constraint = _percentile(situation, latency)
    data = _data(situation) if "accuracy" in axes else ""
    sweep = _Sweep(Again(situation, time.perf_counter() + time_limit, seed), tuple(axes), name, constraint, step_ms)
    complete = True
    try:
        for floor in sweep.floors(data):
            sweep.at(floor)
    except TimeIsUp:
        complete = False
    return Front(name, sweep.step_ms, undominated(sweep.points, axes), complete)


def undominated(points: Sequence[Point], axes: Sequence[Axis]) -> tuple[Point, ...]:
    """Points that none beats on all `axes`, of equal ones the first, by the first axis."""

    def no_worse(a: Point, b: Point) -> bool:
        return all(a.on(x) <= b.on(x) + SAME * max(1.0, abs(b.on(x))) for x in axes)

    kept: list[Point] = []
    for point in sorted(points, key=lambda p: [p.on(axis) for axis in axes]):
        if not any(no_worse(other, point) for other in kept):
            kept = [other for other in kept if not no_worse(point, other)] + [point]
    return tuple(kept)


def _percentile(situation: Situation, asked: str) -> tuple[str, str]:
    """The full name of a percentile such as ``answer_time.p99``, and the constraint's own."""
    paths = {n: c for n, c in situation.app.value.constraints.items() if isinstance(c, PathConstraint)}
    names = {limit_name(n, max(c.limits)): n for n, c in paths.items()}
    names |= {limit_name(n, q): n for n, c in paths.items() for q in c.limits}
    place = situation.app.place("constraints")
    if not names:
        raise InputError(Issue("no constraint on latency", place, "add one with from, to and p99"))
    if asked and asked not in names:
        raise InputError(Issue(f"no percentile {asked!r}", place, near(asked, names)))
    chosen = asked or next(iter(names))
    return chosen, names[chosen]


def _data(situation: Situation) -> str:
    """The data set that accuracy is measured on: that of the first constraint, whose limit is what moves."""
    known = [a.data for b in situation.behaviours for a in b.accuracy]
    if not known:
        place = situation.app.place("data")
        raise InputError(Issue("accuracy was not measured", place, "name labelled data and profile again"))
    constrained = [c.on for c in situation.app.value.constraints.values() if isinstance(c, AccuracyConstraint)]
    if not constrained:
        place = situation.app.place("constraints")
        hint = f"add one, such as quality: {{accuracy: '>= 0', on: {known[0]}}}"
        raise InputError(Issue("no constraint on accuracy", place, hint))
    return constrained[0]


@dataclass
class _Sweep:
    """Points are collected as they are found, so that what is there when time runs out counts."""

    again: Again
    axes: tuple[Axis, ...]
    name: str
    constraint: str
    step_ms: float | None

    def __post_init__(self) -> None:
        self.points: list[Point] = []

    def floors(self, data: str) -> list[tuple[str, float]]:
        """Accuracies to keep at least, the highest first: all that a combination of variants reaches."""
        if not data:
            return [("", 0.0)]
        found = {a.value for b in self.again.situation.choices for a in b.accuracy if a.data == data}
        return [(data, value) for value in sorted(found, reverse=True)]

    def at(self, floor: tuple[str, float]) -> None:
        """All points that keep an accuracy: both ends, then by rising latency from the one to the other."""
        if "latency" not in self.axes:
            self._best(floor, None)
            return
        fastest = self._best(floor, None, objective=f"[{{latency: {self.constraint}}}]")
        if fastest is None:
            return
        cheapest = self._best(floor, None) if "cost" in self.axes else fastest
        assert cheapest is not None
        if self.step_ms is None:
            self.step_ms = nice(max((cheapest.latency_ms - fastest.latency_ms) / POINTS, fastest.latency_ms / 200))
        mine = [p for p in self.points if (p.accuracy or 0.0) >= floor[1]]
        fastest = self._lowest(floor, min(mine, key=lambda p: p.latency_ms), None)
        if "cost" in self.axes:
            fastest = self._best(floor, fastest.latency_ms + self.step_ms / FINE) or fastest
            cheapest = self._lowest(floor, cheapest, cheapest.per_month * (1 + SAME) + ROUNDED)
            self._between(floor, fastest, cheapest)

    def _lowest(self, floor: tuple[str, float], point: Point, most: float | None) -> Point:
        """The point of the lowest latency, to a part of a step, that costs `most` a month at most (None: whatever it
        costs); `point` if it is that. The lexicographic ends of the front.
        """
        assert self.step_ms is not None
        fine = self.step_ms / FINE
        found = {0: point}

        def gone(steps: int) -> bool:
            better = self._best(floor, point.latency_ms - steps * fine, most=most)
            if better is not None:
                found[steps] = better
            return better is None

        fewest_steps(gone, max(1, min(FINE * 64, int(point.latency_ms / fine))))
        return found[max(found)]

    def _between(self, floor: tuple[str, float], fastest: Point, cheapest: Point) -> None:
        """Points by limits a step apart, from the `fastest` on, each the first within which something is cheaper than
        the one before: what that costs is the ceiling of each search.
        """
        step = self.step_ms
        assert step is not None
        last = ceil((cheapest.latency_ms - fastest.latency_ms) / step - SAME)
        known = {0: fastest, last: cheapest}
        done = 0
        while done < last and known[done].per_month * (1 - WORTH) >= cheapest.per_month:
            ceiling = known[done].per_month * (1 - WORTH)

            def cheaper(steps: int, done: int = done, ceiling: float = ceiling) -> bool:
                at = done + steps
                if at not in known:
                    point = self._best(floor, fastest.latency_ms + at * step, most=ceiling)
                    if point is not None:
                        known[at] = point
                return at in known and known[at].per_month <= ceiling

            done += fewest_steps(cheaper, last - done) or last - done

    def _best(
        self, floor: tuple[str, float], limit: float | None, objective: str = "", most: float | None = None
    ) -> Point | None:
        """The cheapest plan (or the best by `objective`) that keeps the limits and costs `most` a month at most, added
        to the points.
        """
        if limit is not None and limit <= 0:
            return None
        changes = self._changes(floor, limit, objective or ("[cost]" if "cost" in self.axes else ""))
        restrict = as_it_is if most is None else for_at_most(most)
        plan = self.again.plan(changes, restrict=restrict, quick=limit is not None)
        if plan is None:
            return None
        point = self._point(plan, floor[0], tuple(changes))
        self.points.append(point)
        return point

    def _changes(self, floor: tuple[str, float], limit: float | None, objective: str) -> list[str]:
        app = self.again.situation.app.value
        constraint = app.constraints[self.constraint]
        assert isinstance(constraint, PathConstraint)
        own = constraint.limits[int(self.name.rpartition(".p")[2]) / 100] * 1e3
        found = [f"objective={objective}"] if objective else []
        if "latency" in self.axes:
            found.append(f"constraint.{self.name}={figure(FAR * own if limit is None else limit)} ms")
        currency = self.again.situation.infra.value.currency
        for name, c in app.constraints.items():
            if isinstance(c, CostConstraint) and "cost" in self.axes:
                found.append(f"constraint.{name}.cost={figure(MOST_MONEY)} {currency}/month")
            if isinstance(c, AccuracyConstraint) and "accuracy" in self.axes:
                found.append(f"constraint.{name}.accuracy={repr(floor[1]) if c.on == floor[0] else 0}")
        return found

    def _point(self, plan: Plan, data: str, changes: tuple[str, ...]) -> Point:
        assert plan.cost is not None
        checks = {c.name: c for c in plan.constraints}
        reached = [b.accuracy[data] for b in plan.behaviour if data in b.accuracy]
        return Point(
            latency_ms=checks[self.name].value,
            per_month=plan.cost.per_month,
            accuracy=min(reached) if reached else None,
            keeps=self._keeps(plan),
            places={a.stage_name: f"{a.site}.{a.pool}" for a in plan.assignments},
            devices={f"{d.site}.{d.pool}": d.bought for d in plan.devices if d.bought},
            changes=changes,
        )

    def _keeps(self, plan: Plan) -> bool:
        """Whether the plan keeps the limits that the user gave, some of which the sweep had changed."""
        assert plan.cost is not None
        values = {c.name: c.value for c in plan.constraints}
        room: list[float] = []
        for name, c in self.again.situation.app.value.constraints.items():
            if isinstance(c, PathConstraint):
                room += [limit * 1e3 * (1 + SAME) - values[limit_name(name, q)] for q, limit in c.limits.items()]
            elif isinstance(c, CostConstraint):
                room.append(c.cost * (1 + SAME) - plan.cost.per_hour)
            elif isinstance(c, AccuracyConstraint):
                room.append(values[name] - c.accuracy + SAME)
        return all(r >= 0 for r in room)

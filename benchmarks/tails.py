"""What plans cost that are made with percentiles of whole paths, beside sums of percentiles and beside means; and
whether what is promised is kept.

``python -m benchmarks.tails`` writes benchmarks/results/tails.json. Worlds are those of tests/planner/dags.py, with p99
limits that are drawn without looking at any plan. All plans come from the same solver. The peers have other tables:

- sum of percentiles: each stage (its wait and service together) and each passage of a link counts with its own p99, and
  the sums along each path are to be within the limit. Waits at links and the overhead of a hop count with their means,
  and passages as normal, which is in the peer's favour.
- means: the mean of each path is to be within the limit.

Ours is refined (`planner solve --refine`). Every plan is then played with the true laws (tests/planner/played.py).
Cost is compared where both have a plan; a ratio below 1 is in our favour.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.about import about
from benchmarks.solve import row
from planner.draft import Draft
from planner.formulation import Formulation, formulation
from planner.formulation.stations import StationKey
from planner.prediction.distribution import Grid, from_quantiles
from planner.prediction.measured import moments
from planner.prediction.timings import Arrival, Queue
from planner.problem import PPB, Edge, Limit, Option, Problem, Scenario, Station, StationLevel, TailRow, Transfer
from planner.refinement import refine
from planner.solver import solve_problem
from specs.application import PathConstraint
from specs.errors import NotKnown
from specs.plan import Plan
from tests.planner.dags import STEEPNESS, Dag, dag
from tests.planner.pressed import FOUND
from tests.planner.promise import Promise, measured, played, promises

RESULT: Final = Path(__file__).parent / "results" / "tails.json"
CASES: Final = ((0.3, STEEPNESS), (0.5, STEEPNESS), (0.7, STEEPNESS), (1.0, STEEPNESS), (0.7, 1.0))
"""Coefficients of variation of the services, with the power of speed as which prices grow."""
WORLDS: Final = 40
PROMISES: Final = 200
"""Plans; `tests/planner/test_promise.py` looks at over a thousand."""
LEVEL: Final = 0.99
NORMAL: Final = 2.3263
"""Standard deviations above the mean of a normal distribution's p99."""
SECONDS: Final = 10.0
REQUESTS: Final = 60_000
PLAYED: Final = 200_000
TOLERANCE: Final = 0.01
POINTS: Final = 4096
"""Of the grid on which a stage's percentile is found."""


# Tables of the peers


def summed(given: Formulation) -> Problem:
    """The Problem in which everything counts with its own p99 as if it always took that long."""

    def option(o: Option) -> Option:
        own = quantile_of(given.stations[o.station])
        return replace(o, mean_us=math.ceil(own * 1e6), var_us2=0)

    def transfer(t: Transfer) -> Transfer:
        return replace(t, mean_us=t.mean_us + math.ceil(NORMAL * math.sqrt(t.var_us2)), var_us2=0)

    stations = (
        replace(s, levels=tuple(replace(v, wait_us=beyond(key, v), wait_var=0) for v in s.levels))
        for key, s in zip(given.stations, given.problem.stations, strict=True)
    )
    return _constant(given, option, transfer, stations)


def mean_only(given: Formulation) -> Problem:
    """The Problem in which everything counts with its mean as if it always took that long."""
    stations = (replace(s, levels=tuple(replace(v, wait_var=0) for v in s.levels)) for s in given.problem.stations)
    return _constant(given, lambda o: replace(o, var_us2=0), lambda t: replace(t, var_us2=0), stations)


def _constant(
    given: Formulation,
    option: Callable[[Option], Option],
    transfer: Callable[[Transfer], Transfer],
    stations: Iterable[Station],
) -> Problem:
    """`given` with times that do not vary, and limits on their sums along each path."""

    def edge(e: Edge) -> Edge:
        return replace(e, transfers=tuple(map(transfer, e.transfers)), hops=tuple(map(transfer, e.hops)), apart_us2=0)

    def limit(of: Limit) -> Limit:
        longest = TailRow(limit_us(given, of), 0, 0)
        return replace(of, shapes=tuple(replace(shape, rows=(longest,)) for shape in of.shapes))

    def scenario(s: Scenario) -> Scenario:
        steps = tuple(replace(step, options=tuple(map(option, step.options))) for step in s.steps)
        return replace(s, steps=steps, edges=tuple(map(edge, s.edges)), limits=tuple(map(limit, s.limits)))

    problem = given.problem
    servers = (replace(s, levels=tuple(replace(v, wait_var=0) for v in s.levels)) for s in problem.servers)
    return replace(
        problem,
        scenarios=tuple(map(scenario, problem.scenarios)),
        stations=tuple(stations),
        servers=tuple(servers),
    )


def limit_us(given: Formulation, limit: Limit) -> int:
    name, _, level = given.problem.constraints[limit.constraint].name.rpartition(".p")
    constraint = given.scenarios[0].situation.app.value.constraints[name]
    assert isinstance(constraint, PathConstraint)
    return int(constraint.limits[int(level) / 100] * 1e6 + 1e-6)


def quantile_of(key: StationKey) -> float:
    """Seconds: the p99 of the service, as measured."""
    return dict(key.record.latency.points())[LEVEL]


def beyond(key: StationKey, level: StationLevel) -> int:
    """Microseconds by which the p99 of wait and service together is beyond that of the service."""
    service = moments(key.record)
    values = from_quantiles(key.record.latency.points(), service.mean)
    queue = Queue("", level.replicas, (Arrival(level.load_ppb / PPB / service.mean, service, values),))
    longest = queue.wait.mean + 14 * math.sqrt(queue.wait.variance) + float(values.max())
    grid = Grid(longest / POINTS, POINTS)
    alone = grid.transform(values)
    (together,) = grid.quantiles(queue.transform(grid) * alone, [LEVEL])
    (own,) = grid.quantiles(alone, [LEVEL])
    return max(0, math.ceil((together - own) * 1e6))


# Plans


@dataclass(frozen=True, slots=True)
class Made:
    """A plan's cost a month, and its true p99 as a multiple of the limit."""

    cost: float
    of_limit: float


Beside = tuple[Made | None, Made | None, Made | None]
"""Ours, by sums of percentiles, and by means."""


def planned(world: Dag, given: Formulation, problem: Problem, seed: int) -> Made | None:
    """What a peer's table leads to; None where it leaves no plan."""
    solution = solve_problem(problem, time_limit=SECONDS)
    if solution.choice is None:
        return None
    plan = Draft(world.situation, given, solution, {}).plan(time.perf_counter(), 0.0, 0)
    return _made(world, plan, seed)


def ours(world: Dag, seed: int) -> Made | None:
    try:
        plan = refine(world.situation, time_limit=SECONDS, requests=REQUESTS)
    except NotKnown:
        return None
    return _made(world, plan, seed) if plan.status in FOUND else None


def _made(world: Dag, plan: Plan, seed: int) -> Made:
    assert plan.cost is not None
    (constraint,) = (c for c in world.situation.app.value.constraints.values() if isinstance(c, PathConstraint))
    p99, _ = measured(played(world, plan, PLAYED, seed), LEVEL)
    return Made(plan.cost.per_month, p99 / 1e3 / constraint.limits[LEVEL])


def costs(cv: float, steepness: float) -> list[dict[str, Any]]:
    """Of `WORLDS` worlds whose services have that coefficient of variation."""
    found: list[Beside] = []
    for seed in range(WORLDS):
        world = dag(seed, cv=cv, quantiles=(99,), steepness=steepness)
        given = formulation(world.situation)
        by_sums, by_means = (planned(world, given, problem, seed) for problem in (summed(given), mean_only(given)))
        found.append((ours(world, seed), by_sums, by_means))
        print(cv, steepness, seed, found[-1], file=sys.stderr, flush=True)
    return cost_rows(f"cv {cv:g}, price as speed to the {steepness:g}", found)


def cost_rows(case: str, found: Sequence[Beside]) -> list[dict[str, Any]]:
    mine, sums, means = (list(column) for column in zip(*found, strict=True))
    rows: list[dict[str, Any]] = []
    for name, theirs in (("sum of percentiles", sums), ("means", means)):
        both = [(a.cost, b.cost) for a, b in zip(mine, theirs, strict=True) if a and b]
        if both:
            rows.append(_cost(case, name, both))
        rows.append(row(case, "worlds with a plan", _count(mine), name, _count(theirs), len(found)))
        rows.append(_broken(case, name, mine, theirs))
    return rows


def _cost(case: str, peer: str, both: list[tuple[float, float]]) -> dict[str, Any]:
    """Medians, and the median of the ratio with its quartiles; `lost`: how often ours is dearer.

    Where the peer's plan is for free, there is no ratio.
    """
    ratios = np.array([a / b for a, b in both if b > 0])
    a, b = (float(np.median(column)) for column in zip(*both, strict=True))
    low, middle, high = (round(float(x), 4) for x in np.quantile(ratios, (0.25, 0.5, 0.75)))
    return row(case, "cost a month, median", a, peer, b, len(both)) | {
        "ratio": middle,
        "quartiles": [low, high],
        "mean_ratio": round(float(ratios.mean()), 4),
        "lost": sum(a > b * (1 + 1e-6) for a, b in both),
        "equal": sum(math.isclose(a, b, rel_tol=1e-6) for a, b in both),
    }


def _count(made: list[Made | None]) -> int:
    return sum(m is not None for m in made)


def _broken(case: str, peer: str, mine: list[Made | None], theirs: list[Made | None]) -> dict[str, Any]:
    """Shares of plans whose true p99 is over the limit by more than `TOLERANCE`."""

    def share(made: list[Made | None]) -> float:
        return float(np.mean([m.of_limit > 1 + TOLERANCE for m in made if m]))

    middle = [float(np.median([m.of_limit for m in made if m])) for made in (mine, theirs)]
    found = row(case, "share that breaks its promise", share(mine), peer, share(theirs), len(mine))
    return found | {"median_of_limit": [round(x, 3) for x in middle]}


# Promises


def promised() -> list[dict[str, Any]]:
    """The true percentiles of refined plans whose limits are tight, as shares over the limit."""
    found: list[Promise] = []
    plans = seed = 0
    while plans < PROMISES:
        kept = promises(seed, REQUESTS)
        seed += 1
        if kept:
            plans += 1
            found += kept
            print(seed, kept, file=sys.stderr, flush=True)
    return promise_rows(found, plans, seed)


def promise_rows(found: list[Promise], plans: int, tried: int) -> list[dict[str, Any]]:
    """`tried` counts the worlds without a plan too; the share over 1 counts what is surely so (95 %)."""
    over = np.array([p.over for p in found])
    sure = np.array([(p.measured - p.half) / p.limit - 1 for p in found])
    case = f"{plans} refined plans, {len(found)} limits, of {tried} worlds"
    values = {
        "over the limit at worst, share": (float(over.max()), TOLERANCE),
        "over the limit, median, share": (float(np.median(over)), TOLERANCE),
        "limits that are over": (float((over > 0).mean()), 1.0),
        "limits that are over by more than 1 %": (float((over > TOLERANCE).mean()), 1.0),
        "limits that are surely over by more than 1 %": (float((sure > TOLERANCE).mean()), 1.0),
        "beyond what the plan says at worst, share": (max(p.off for p in found), TOLERANCE),
    }
    return [row(case, metric, value, "most", most, len(found)) for metric, (value, most) in values.items()]


def main() -> int:
    """Measure, write the result, print a line a row."""
    rows: list[dict[str, Any]] = []
    parts: list[Callable[[], list[dict[str, Any]]]] = [*(partial(costs, *case) for case in CASES), promised]
    for part in parts:
        rows += part()
        write(rows)
    for each in rows:
        print(each, file=sys.stderr)
    return 0


def write(rows: list[dict[str, Any]]) -> None:
    value = about("numpy", "numba")
    value["versions"] = {**value["versions"], "ortools": version("ortools")}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({**value, "rows": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())

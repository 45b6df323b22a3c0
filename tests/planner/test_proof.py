"""Optimal by prediction: what the tables of the solver forbid too soon is looked at before a plan is called optimal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import pytest

from planner.answers.again import vary
from planner.draft import Draft, assignments_of
from planner.formulation import Formulation, formulate, formulation, limit_name
from planner.placement.demand import Demand
from planner.placement.layout import layout_of
from planner.plan import solve
from planner.prediction.latency import Latency, exceeded
from planner.problem import Problem
from planner.proof.best import settle
from planner.proof.no_goods import with_no_goods, without_limits
from planner.proof.reasons import Reasons
from planner.situation import Situation
from planner.solver import Choice, Solution, solve_problem
from planner.solver.evaluate import evaluate
from planner.solver.ways import Ways
from specs.application import PathConstraint
from specs.behaviour import PayloadSize
from specs.errors import InputError, TierplanError
from specs.plan import Plan
from tests.planner.networks import Server, chain
from tests.planner.pressed import pressed
from tests.planner.worlds import world

MOST = 300
CHEAPER = ((0, 0.5), (6, 0.5))
"""Worlds and loads in which a cheaper plan than the tables allow keeps every limit."""


def choices(problem: Problem) -> Iterator[Choice]:
    """Every choice of a Problem; none where there are more than `MOST`."""
    flows = [list(_of_flow(problem, f)) for f in range(len(problem.flows))]
    if prod(map(len, flows)) > MOST:
        return
    for picked in product(*flows):
        options = tuple(of for _, of in picked)
        used = {
            problem.scenarios[s].steps[i].options[o].station
            for s, of in picked
            for i, chosen in enumerate(of)
            for o in chosen
        }
        counts = [
            sorted({level.replicas for level in station.levels} or {1}) if k in used else [0]
            for k, station in enumerate(problem.stations)
        ]
        if prod(map(len, counts)) <= 6:
            for replicas in product(*counts):
                yield Choice(tuple(s for s, _ in picked), options, problem.members, replicas)


def _of_flow(problem: Problem, flow: int) -> Iterator[tuple[int, tuple[tuple[int, ...], ...]]]:
    for s, scenario in enumerate(problem.scenarios):
        ways = []
        for step in scenario.steps:
            spans = [(o.first, o.last) for o in step.options]
            whole = [(k,) for k, span in enumerate(spans) if span == (0, step.tasks - 1)]
            halves = [(a, b) for a, x in enumerate(spans) for b, y in enumerate(spans) if x == (0, 0) and y == (1, 1)]
            ways.append(whole + (halves if step.tasks == 2 else []))
        if scenario.flow == flow and prod(map(len, ways)) <= MOST:
            yield from ((s, of) for of in product(*ways))


def keeps_its_limits(given: Situation, made: Formulation, choice: Choice) -> bool:
    """By prediction."""
    try:
        latency = Latency(layout_of(given, assignments_of(given, made, Solution("feasible", choice))), Demand(given))
        return not exceeded(latency, latency.paths(), limits(given))
    except InputError:
        return False  # overloaded


def limits(given: Situation) -> dict[str, float]:
    found = given.app.value.constraints.items()
    return {limit_name(n, q): x for n, c in found if isinstance(c, PathConstraint) for q, x in c.limits.items()}


def cheaper(given: Situation, made: Formulation, than: int | None) -> list[int]:
    """The cost of the cheapest placement that keeps all constraints and costs less; as predictions say, not tables."""
    problem = without_limits(made).problem
    costs = []
    ways = Ways()
    for choice in choices(problem):
        found = evaluate(problem, choice, ways=ways)
        if found.holds() and (than is None or found.cost < than):
            costs.append((found.cost, choice))
    costs.sort(key=lambda each: each[0])
    return next(([cost] for cost, choice in costs if keeps_its_limits(given, made, choice)), [])


def planned(seed: int, load: float | None) -> tuple[Situation, Plan] | None:
    given = world(seed) if load is None else pressed(seed, load)
    if given is None or given.app.value.objective[0] != "cost":
        return None
    try:
        return given, solve(given)
    except TierplanError:
        return None


@dataclass(frozen=True)
class Unhurried:
    """As long as it takes."""

    left: float = 60.0
    seed: int = 0
    strategy: str = "auto"


def none_is_cheaper(seeds: range) -> int:
    looked = 0
    for seed, load in product(seeds, (None, 0.5)):
        found = planned(seed, load)
        if found is None:
            continue
        given, plan = found
        made = formulation(given)
        settled = settle(given, made, limits(given), None, Unhurried(), 200)
        assert settled.proven, (seed, load)
        than = settled.best.solution.objectives[0] if settled.best else None
        assert not cheaper(given, made, than), (seed, load)
        assert than is None or not plan.objective or round(plan.objective[0] * 1e6) >= than
        looked += 1
    return looked


def test_no_placement_that_keeps_its_limits_by_prediction_costs_less_than_an_optimal_plan() -> None:
    assert none_is_cheaper(range(4)) >= 1


@pytest.mark.deep
def test_no_placement_costs_less_in_many_more_worlds() -> None:
    assert none_is_cheaper(range(4, 120)) >= 50


@pytest.mark.parametrize(("seed", "load"), CHEAPER)
def test_a_plan_that_the_tables_forbid_is_found_where_its_prediction_keeps_the_limits(seed: int, load: float) -> None:
    found = planned(seed, load)
    assert found is not None
    given, plan = found
    best = solve_problem(formulate(given))
    assert best.status == "infeasible" or best.objectives[0] > round(plan.objective[0] * 1e6)
    assert all(c.slack >= 0 for c in plan.constraints)


def test_a_cut_rules_out_only_placements_that_miss_a_limit_by_prediction() -> None:
    ruled_out = tried = 0
    for seed in range(8):
        found = planned(seed, None)
        if found is None:
            continue
        given, _ = found
        made = formulation(given)
        free = without_limits(made)
        reasons = Reasons(given, made, limits(given))
        every = [c for c in choices(free.problem) if evaluate(free.problem, c).holds()][::7][:40]
        drafts = [Draft(given, made, Solution("feasible", choice), {}) for choice in every[:8]]
        no_goods = [no_good for draft in drafts for no_good in reasons.no_goods(draft)]
        problem = with_no_goods(free, no_goods).problem
        for choice in every:
            tried += 1
            if not evaluate(problem, choice).holds():
                ruled_out += 1
                assert not keeps_its_limits(given, made, choice), seed
    assert ruled_out > 0.05 * tried
    assert ruled_out < tried


def test_a_cut_knows_that_the_same_requests_have_large_messages_both_ways() -> None:
    """4 % of the requests have eight items: 80 ms over the link there and back. Others take no time: p95 is kept."""
    counts = {0: 0.96, 8: 0.04}
    servers = {"a": Server([1e-6]), "b": Server([1e-6], site="there"), "c": Server([1e-6])}
    given, _ = chain(servers, 1e-3, link={"rate": "1 MB/s"}, payload=1.0, fan_out=("b", counts))
    (behaviour,) = given.behaviours
    sizes = behaviour.payloads | dict.fromkeys(("a.out", "b.out"), PayloadSize.stack(10_000, counts))
    behaviour = behaviour.model_copy(update={"payloads": sizes})
    given = replace(vary(given, ["constraint.time={from: src, to: end, p95: 50 ms}"]), behaviours=(behaviour,))
    made = formulation(given)
    (steps,) = (scenario.steps for scenario in made.problem.scenarios)
    crossed = 0
    for picked in product(*(range(len(step.options)) for step in steps)):
        used = {step.options[o].station for step, o in zip(steps, picked, strict=True)}
        replicas = tuple(int(k in used) for k in range(len(made.problem.stations)))
        choice = Choice((0,), (tuple((o,) for o in picked),), made.problem.members, replicas)
        assert keeps_its_limits(given, made, choice)
        draft = Draft(given, made, Solution("feasible", choice), {})
        crossed += any(leg.route for leg in draft.layout.flows[0].legs)
        assert not Reasons(given, made, limits(given)).no_goods(draft)
    assert crossed

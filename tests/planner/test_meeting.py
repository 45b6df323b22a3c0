"""Branches of one request on one executor: planned, predicted, verified and simulated as served one after the other."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from planner import solve, verify
from planner.formulation import formulate
from planner.placement.demand import Demand
from planner.placement.layout import Layout, plan_layout
from planner.prediction.latency import Latency
from planner.problem import Path, Problem
from planner.problem.file import parse_problem, problem_json
from planner.simulation import Simulation
from planner.situation import Situation
from planner.solver import solve_problem
from planner.solver.evaluate import evaluate
from specs.errors import InputError
from specs.plan import Percentiles
from tests.planner.brute import TooLarge, brute_force
from tests.planner.networks import Server, chain, exponential
from tests.planner.test_solver import family
from tests.planner.test_strategies import EXACT, equal
from tests.planner.transformed import with_hops, with_tables
from tests.planner.worlds import forked

REQUESTS = 300_000
FORK = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "c": {"x": "a.out", "y": "b.out"}}
DIAMOND = {"z": {"x": "src.v"}, "a": {"x": "z.out"}, "b": {"x": "z.out"}, "c": {"x": "a.out", "y": "b.out"}}
THREE = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "d": {"x": "src.v"}, "c": {"x": "a.out", "y": "b.out", "z": "d.out"}}


def predicted(situation: Situation, layout: Layout) -> Percentiles:
    (path,) = Latency(layout, Demand(situation)).paths()
    return path.predicted


def played(situation: Situation, layout: Layout, seed: int = 1) -> tuple[float, float, float]:
    """Milliseconds that are not exceeded by 50, 95 and 99 % of simulated requests."""
    times = Simulation(layout, Demand(situation), seed).run(REQUESTS).flows["src@here"].times("end", [0])
    p50, p95, p99 = np.quantile(times, [0.5, 0.95, 0.99]) * 1e3
    return float(p50), float(p95), float(p99)


def test_the_join_waits_for_the_sum() -> None:
    """Nearly no load: 30 ms and 10 ms, then 1 ms, however the branches are named."""
    for a, b in ((0.03, 0.01), (0.01, 0.03)):
        servers = {"a": Server([a]), "b": Server([b]), "c": Server([0.001])}
        given = chain(servers, 0.001, inputs=FORK, sharing="time")
        assert predicted(*given).p50_ms == pytest.approx(41.0, rel=0.002)
        assert played(*given)[0] == pytest.approx(41.0, rel=0.002)


def test_on_reserved_threads_the_join_waits_for_the_slower_branch() -> None:
    servers = {"a": Server([0.03]), "b": Server([0.01]), "c": Server([0.001])}
    assert predicted(*chain(servers, 0.001, inputs=FORK)).p50_ms == pytest.approx(31.0, rel=0.002)


def test_a_branch_that_comes_when_the_other_is_done_waits_for_others_only() -> None:
    """`b` comes 10 ms behind `a`, over a link, and `a` takes 5 ms: they are two visits."""
    servers = {"a": Server([0.005], site="there"), "b": Server([0.004], site="there"), "c": Server([0.001])}
    link = {"rate": None, "up": {"rate": "10 kB/s"}, "down": {"rate": "1 GB/s"}}
    situation, layout = chain(servers, 0.001, inputs=FORK, link=link, payload=100.0, sharing="time")
    timings = Latency(layout, Demand(situation)).timings
    (of,) = layout.flows
    course = timings.course(of, of.pipeline.shapes[0])
    assert course is not None
    assert [bool(course.begins[s].all()) for s in (0, 1)] == [True, True]
    assert predicted(situation, layout).p50_ms == pytest.approx(25.0, rel=0.01)


def test_an_executor_that_is_overloaded_is_named() -> None:
    """What is asked of it can still be looked at, and simulated."""
    servers = {"a": Server([0.03]), "b": Server([0.01]), "c": Server([0.001])}
    situation, layout = chain(servers, 30.0, inputs=FORK, sharing="time")
    latency = Latency(layout, Demand(situation))
    assert latency.timings.queues["pool box at here"].load == pytest.approx(1.23, rel=0.01)
    with pytest.raises(InputError, match=r"overloaded: pool box at here \(stages a, b, c\)"):
        latency.paths()


def meeting_plan(seed: int) -> tuple[Situation, Layout]:
    """Up to three branches that meet on an executor over a fast link, at a load of up to a half."""
    draw = random.Random(seed)

    def server(site: str) -> Server:
        mean = draw.choice([0.004, 0.01, 0.02])
        values = draw.choice([[mean], exponential(mean), [mean / 2] * 9 + [mean * 5.5]])
        return Server(values, site=site)

    inputs = draw.choice([FORK, DIAMOND, THREE])
    servers = {name: server("there") for name in inputs}
    servers["c"] = Server([0.001], site=draw.choice(["here", "there"]))
    work = sum(float(np.mean(s.values)) for s in servers.values() if s.site == "there")
    rate = draw.choice([0.1, 0.3, 0.5]) / work
    delay = {"mean": f"{draw.choice([1, 5])} ms", "jitter": f"{draw.choice([0, 1])} ms"}
    link = {"rate": None, "up": {"rate": f"{draw.choice([100, 10_000])} kB/s"}, "down": {"rate": "1 MB/s"}}
    return chain(servers, rate, inputs=inputs, link={**link, "delay": delay}, payload=100.0, sharing="time")


def agree(seed: int) -> None:
    situation, layout = meeting_plan(seed)
    found, simulated = predicted(situation, layout), played(situation, layout, seed)
    assert found.p50_ms == pytest.approx(simulated[0], rel=0.03), seed
    assert found.p99_ms == pytest.approx(simulated[2], rel=0.05), seed


@pytest.mark.parametrize("seed", range(12))
def test_the_prediction_is_what_is_simulated(seed: int) -> None:
    agree(seed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(12, 100))
def test_the_prediction_is_what_is_simulated_of_many_more(seed: int) -> None:
    agree(seed)


def paths(problem: Problem) -> list[Path]:
    limits = (limit for scenario in problem.scenarios for limit in scenario.limits)
    return [path for limit in limits for shape in limit.shapes for path in shape.paths]


def test_status_and_objective_equal_brute_force_where_branches_meet() -> None:
    problems = [formulate(forked(seed)) for seed in range(50)]
    assert sum(any(path.beside for path in paths(p)) for p in problems) >= 25
    found = family(problems.__getitem__, range(50), 30_000, small=0.8)
    longer = 0
    for problem, solution in found.solved:
        if solution.choice is not None:
            assert parse_problem(problem_json(problem)) == problem
            longer += evaluate(alone(problem), solution.choice).objectives != solution.objectives
    assert longer >= 2


def alone(problem: Problem) -> Problem:
    """As if each branch had an executor to itself."""
    scenarios = []
    for scenario in problem.scenarios:
        means = tuple(
            tuple(replace(s, paths=tuple(replace(p, beside=()) for p in s.paths)) for s in shapes)
            for shapes in scenario.means
        )
        scenarios.append(replace(scenario, means=means))
    return replace(problem, scenarios=tuple(scenarios))


def test_every_exact_strategy_equals_brute_force_where_branches_meet() -> None:
    compared = 0
    for seed in range(10):
        for change in (with_tables, with_hops):
            problem = change(formulate(forked(seed)))
            try:
                best = brute_force(with_tables(problem), most=20_000)
            except TooLarge:
                continue
            compared += 1
            for strategy in EXACT.values():
                equal(problem, best, strategy)
    assert compared >= 16


@pytest.mark.deep
@pytest.mark.parametrize("first", [100, 600])
def test_status_and_objective_equal_brute_force_where_branches_meet_in_many_more(first: int) -> None:
    family(lambda seed: formulate(forked(seed)), range(first, first + 500), 30_000, small=0.8)


def verified(seeds: range) -> None:
    meeting = 0
    for seed in seeds:
        given = forked(seed)
        plan = solve(given)
        if plan.assignments:
            wrong = verify(given, plan, 30_000).wrong
            assert not wrong, (seed, wrong)
            layout = plan_layout(given, plan)
            timings = Latency(layout, Demand(given)).timings
            meeting += any(timings.meets(of, shape) for of in layout.flows for shape in of.pipeline.shapes)
    assert meeting >= len(seeds) // 10


def test_the_verifier_agrees_where_branches_meet() -> None:
    verified(range(12))


@pytest.mark.deep
def test_the_verifier_agrees_where_branches_meet_in_many_more() -> None:
    verified(range(12, 200))


def test_where_there_is_no_end_of_executors_branches_do_not_meet() -> None:
    """As conflicts ask: without the pools' capacities the same choices take no longer."""
    sooner = 0
    for seed in range(20):
        problem = formulate(forked(seed))
        devices = frozenset(pool.constraint for pool in problem.pools)
        choice = solve_problem(problem).choice
        if choice is not None:
            held, free = evaluate(problem, choice), evaluate(problem, choice, devices)
            assert free.holds(devices)
            assert free.objectives <= held.objectives
            assert evaluate(alone(problem), choice, devices).objectives == free.objectives
            sooner += free.objectives < held.objectives
    assert sooner


def test_a_step_beside_a_path_must_be_beside_it() -> None:
    problem = formulate(forked(3))
    assert any(path.beside for path in paths(problem))
    text = problem_json(problem)
    path = next(path for path in paths(problem) if path.beside)
    on_it = replace(path, beside=(replace(path.beside[0], step=path.steps[0]),))
    changed = [replace(p, beside=on_it.beside) if p == path else p for p in paths(problem)]
    assert changed != paths(problem)
    limits = tuple(
        replace(limit, shapes=tuple(replace(s, paths=(on_it,)) for s in limit.shapes))
        for limit in problem.scenarios[0].limits
    )
    wrong = replace(problem, scenarios=(replace(problem.scenarios[0], limits=limits), *problem.scenarios[1:]))
    assert parse_problem(text) == problem
    with pytest.raises(InputError, match="a step beside a path"):
        parse_problem(problem_json(wrong))

"""Schedules of one isolated request: against brute force, by an independent check, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks.task_graphs import task_graph
from planner.problem import Limit, Objective, Problem, Throughput
from planner.problem.file import parse_problem, problem_json, write_problem
from planner.solver import solve_problem
from planner.solver.scheduling import Schedule, isolated_request, wrong_in
from planner.solver.schema import solution_schema
from specs.errors import InputError
from tests.cli.calling import planner
from tests.planner.scheduling.brute import best
from tests.planner.scheduling.requests import request


def scheduled(problem: Problem, *, strategy: str = "auto", seed: int = 0, at_most: int | None = None) -> Schedule:
    found = solve_problem(problem, strategy=strategy, seed=seed, at_most=at_most)
    assert isinstance(found, Schedule)
    return found


def check(seeds: range) -> tuple[int, int]:
    """How many have no schedule, and where HEFT alone is not best."""
    infeasible = late = 0
    for seed in seeds:
        problem = request(seed)
        expected, found = best(problem), scheduled(problem)
        assert found.status == ("infeasible" if expected is None else "optimal"), seed
        assert found.objectives == (expected or ()), seed
        assert found.bounds == found.objectives
        assert not (wrong := wrong_in(problem, found)), (seed, wrong)
        quick = scheduled(problem, strategy="heft")
        assert not wrong_in(problem, quick)
        assert quick.status in ("feasible", "unknown")
        infeasible += expected is None
        late += expected is not None and quick.objectives != expected
    return infeasible, late


def test_status_and_objectives_equal_brute_force() -> None:
    infeasible, late = check(range(100))
    assert infeasible >= 20
    assert late >= 15


@pytest.mark.deep
def test_status_and_objectives_equal_brute_force_on_many_more() -> None:
    infeasible, late = check(range(100, 1500))
    assert infeasible >= 280
    assert late >= 200


def test_waiting_for_the_better_device_is_found() -> None:
    """HEFT takes what finishes first; the last step's only device is better left free for it."""
    problem = isolated_request(
        {"a": {"slow": 9, "fast": 4}, "b": {"slow": 5, "fast": 4}, "c": {"fast": 3}},
        {("b", "c"): {("slow", "fast"): 0}},
    )
    found = scheduled(problem)
    assert (found.status, found.objectives) == ("optimal", (8,))
    assert found.orders == ((1,), (0, 2))
    assert found.starts == (0, 0, 5)


def test_the_example_of_the_page_is_solved_as_it_says() -> None:
    page = (Path(__file__).parents[3] / "docs" / "scheduling.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(example, "docs/scheduling.md", "exec"), {})


def test_the_command_shows_the_order_and_answers_by_its_schema(tmp_path: Path) -> None:
    file = tmp_path / "problem.json"
    problem = isolated_request(
        {"a": {"slow": 9, "fast": 4}, "b": {"slow": 5, "fast": 4}, "c": {"fast": 3}}, {("a", "c"): {}}
    )
    write_problem(problem, file)
    shown = planner("solve", "--problem", str(file), folder=tmp_path)
    assert shown.code == 0
    assert "makespan: 0.007 ms, bound 0.007 ms" in shown.out
    called = planner("solve", "--problem", str(file), "--format", "json", folder=tmp_path)
    value = json.loads(called.out)
    jsonschema.validate(value, solution_schema())
    assert value["schema"] == "tierplan.solution/v1"
    assert value["orders"] == [[1], [0, 2]]
    refused = planner("solve", "--problem", str(file), "--strategy", "greedy", folder=tmp_path)
    assert refused.code == 2
    assert "expected auto, heft" in refused.err


def test_fifteen_steps_are_proven_and_better_than_heft() -> None:
    better = 0
    for seed in range(4):
        problem = task_graph(15, 4, 0.3, seed).problem("15")
        found = scheduled(problem)
        assert found.status == "optimal"
        assert not wrong_in(problem, found)
        better += found.objectives < scheduled(problem, strategy="heft").objectives
    assert better >= 2


def test_the_same_seed_gives_the_same_schedule() -> None:
    problem = task_graph(15, 4, 0.3, 0).problem("15")
    one, other = scheduled(problem, seed=3), scheduled(problem, seed=3)
    assert (one.choice, one.orders, one.starts) == (other.choice, other.orders, other.starts)


def test_only_schedules_that_are_short_enough_count() -> None:
    problem = task_graph(10, 3, 1.0, 0).problem("10")
    least = scheduled(problem).objectives[0]
    assert scheduled(problem, at_most=least).objectives == (least,)
    assert scheduled(problem, at_most=least - 1).status == "infeasible"


def test_a_request_is_read_back_with_the_same_schedule() -> None:
    for seed in range(30):
        problem = request(seed)
        again = parse_problem(problem_json(problem))
        assert again == problem
        one, other = scheduled(problem), scheduled(again)
        assert (one.status, one.choice, one.orders) == (other.status, other.choice, other.orders)


def test_times_scale() -> None:
    graph = task_graph(10, 3, 1.0, 1)
    thrice = replace(
        graph, costs=tuple(3 * c for c in graph.costs), sizes={edge: 3 * size for edge, size in graph.sizes.items()}
    )
    assert scheduled(thrice.problem("3")).objectives[0] == 3 * scheduled(graph.problem("1")).objectives[0]


def test_one_more_device_is_never_worse() -> None:
    for seed in range(3):
        graph = task_graph(9, 4, 0.5, seed)
        fewer = replace(graph, speeds=graph.speeds[:3])
        assert scheduled(graph.problem("4")).objectives <= scheduled(fewer.problem("3")).objectives


def test_a_request_of_nothing_takes_no_time() -> None:
    found = scheduled(isolated_request({"a": {"d": 0}}, {}))
    assert (found.status, found.objectives) == ("optimal", (0,))


def test_the_largest_times_are_added_up_right() -> None:
    most = 10**15
    problem = isolated_request({f"t{i}": {"d": most, "e": most - 1} for i in range(5)}, {})
    assert scheduled(problem).objectives == (3 * (most - 1),)


REFUSED: dict[str, tuple[Callable[[Problem], Problem], str]] = {
    "two flows": (lambda p: replace(p, flows=("a", "b"), members=(1, 1)), "flows: expected exactly one"),
    "a percentile": (
        lambda p: replace(p, scenarios=(replace(p.scenarios[0], limits=(Limit(0, 0, ()),)),)),
        r"scenarios\[0\].limits: expected none",
    ),
    "a rate": (lambda p: replace(p, throughputs=(Throughput(0, (0,), 10**6),)), "throughputs: expected none"),
    "another objective": (
        lambda p: replace(p, objectives=(*p.objectives, Objective("latency", "x"))),
        r"objectives\[1\].kind",
    ),
    "cores": (lambda p: replace(p, pools=(replace(p.pools[0], sharing="cores"),)), "shares time"),
    "a spread": (lambda p: with_option(p, var_us2=5), r"steps\[0\].options\[0\].var_us2: expected 0"),
    "a load": (lambda p: with_option(p, load_ppb=5), r"steps\[0\].options\[0\]: expected load_ppb 0"),
}


def with_option(problem: Problem, **changes: Any) -> Problem:
    (scenario,) = problem.scenarios
    first, *rest = scenario.steps
    steps = (replace(first, options=(replace(first.options[0], **changes),)), *rest)
    return replace(problem, scenarios=(replace(scenario, steps=steps),))


@pytest.mark.parametrize("case", REFUSED)
def test_what_one_request_cannot_have_is_refused_with_its_place(case: str) -> None:
    change, expected = REFUSED[case]
    with pytest.raises(InputError, match=expected):
        scheduled(change(isolated_request({"a": {"d": 3}, "b": {"d": 2}}, {("a", "b"): {}})))


def test_steps_that_wait_for_each_other_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="in a circle"):
        scheduled(isolated_request({"a": {"d": 3}, "b": {"d": 2}}, {("a", "b"): {}, ("b", "a"): {}}))


def test_strategies_that_do_not_order_are_refused() -> None:
    with pytest.raises(InputError, match="expected auto, heft"):
        scheduled(isolated_request({"a": {"d": 3}}, {}), strategy="greedy")


def planted(found: Schedule) -> dict[str, Schedule]:
    """Wrong in one thing each."""
    assert found.choice is not None
    (options,) = found.choice.options
    return {
        "a start too soon": replace(found, starts=(*found.starts[:-1], 0), ends=(*found.ends[:-1], 3)),
        "a step cut short": replace(found, ends=(found.ends[0] - 1, *found.ends[1:])),
        "two at once": replace(found, starts=(0, 1, *found.starts[2:]), ends=(4, 5, *found.ends[2:])),
        "a makespan too low": replace(found, objectives=(found.objectives[0] - 1,)),
        "another order": replace(found, orders=((0, 1, 2)[::-1],)),
        "a step left out of the order": replace(found, orders=((0, 1),)),
        "a step left out": replace(found, choice=replace(found.choice, options=(options[1:],))),
    }


def test_every_planted_error_is_seen() -> None:
    problem = isolated_request({"a": {"d": 4}, "b": {"d": 4}, "c": {"d": 3}}, {("a", "c"): {}, ("b", "c"): {}})
    found = scheduled(problem)
    assert not wrong_in(problem, found)
    for name, wrong in planted(found).items():
        assert wrong_in(problem, wrong), name

"""A Problem file's numbers multiply and add up: what would leave the solver's 64 bits is refused, with the field."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from planner.formulation import formulate
from planner.problem.file import parse_problem, problem_json
from planner.solver import solve_problem
from specs.errors import InputError
from tests.planner.blog import situation
from tests.planner.worlds import world

FACTORS = {
    *("price", "cost", "mean_us", "var_us2", "load_ppb", "work_ns", "memory_kb", "cores", "wait_us", "wait_var"),
    *("weight", "excess_ppb", "limit", "allowed_ppb", "threads", "replicas", "maximum", "minimum", "max_load"),
}


def problems() -> list[dict[str, Any]]:
    return [json.loads(problem_json(formulate(s))) for s in (situation(), *map(world, range(6)))]


@pytest.fixture(scope="module")
def known() -> list[dict[str, Any]]:
    return problems()


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from numbers(item, (*path, key))
    if isinstance(value, int) and path[-1] in FACTORS:
        yield path


def inflated(known: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """One of the problems with one or all numbers of one kind made huge."""
    draw = random.Random(seed)
    value: dict[str, Any] = json.loads(json.dumps(draw.choice(known)))
    places = list(numbers(value))
    kind = draw.choice(sorted({p[-1] for p in places}))
    mine = [p for p in places if p[-1] == kind]
    huge = draw.choice((10**12, 10**15, 10**15))
    for *path, last in draw.sample(mine, min(len(mine), draw.choice((1, len(mine), len(mine))))):
        inner: Any = value
        for key in path:
            inner = inner[key]
        inner[last] = huge
    return value


def test_whatever_numbers_are_huge_there_is_an_answer(known: list[dict[str, Any]]) -> None:
    solved = 0
    for seed in range(120):
        try:
            problem = parse_problem(json.dumps(inflated(known, seed)))
            assert solve_problem(problem, 0.3).status in ("optimal", "feasible", "infeasible", "unknown")
            solved += 1
        except InputError:
            continue
    assert solved > 60


def test_numbers_whose_sums_leave_64_bits_are_refused_and_the_largest_is_named(known: list[dict[str, Any]]) -> None:
    value = known[0]
    pool = next(i for i, p in enumerate(value["pools"]) if p["sharing"] == "cores")
    value["pools"][pool].update(minimum=100_000, maximum=100_000, price=10**15)
    with pytest.raises(InputError, match=rf"sums leave 64 bits; the largest is problem.pools\[{pool}\].price, 1e\+15"):
        solve_problem(parse_problem(json.dumps(value)))

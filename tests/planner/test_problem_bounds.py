"""A Problem file's numbers multiply and add up: what would leave the solver's 64 bits is refused, with the field."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from planner.formulation import formulate
from planner.problem_file import parse_problem, problem_json
from planner.solver import solve_problem
from planner.solver.build import build, reduced
from planner.solver.draft import Scope
from specs.errors import InputError
from tests.planner.blog import situation
from tests.planner.worlds import world

FACTORS = {
    *("price", "cost", "mean_us", "var_us2", "load_ppb", "work_ns", "memory_kb", "cores", "wait_us", "wait_var"),
    *("weight", "excess_ppb", "limit", "allowed_ppb", "threads", "replicas", "maximum", "minimum", "max_load"),
}
CP_SAT = 2**62
"""No sum may pass it, whatever the variables are (`PossibleIntegerOverflow` in OR-Tools)."""


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


def test_what_is_accepted_fits_into_the_solver_whatever_is_relaxed(known: list[dict[str, Any]]) -> None:
    seen = {"accepted": 0, "too large": 0}
    for seed in range(120):
        try:
            problem = parse_problem(json.dumps(inflated(known, seed)))
        except InputError as error:
            (issue,) = error.issues
            seen["too large"] += "too large" in issue.message
            continue
        seen["accepted"] += 1
        for relaxed in (frozenset[int](), frozenset(range(len(problem.constraints)))):
            for encoding in ("pair", "cond"):
                model = build(reduced(problem, relaxed), Scope(encoding)).model
                for terms in (*(row.terms for row in model.rows), *model.objectives):
                    assert sum(abs(f) * max(map(abs, model.domains[v])) for v, f in terms) <= CP_SAT
        assert solve_problem(problem, 0.3).status in ("optimal", "feasible", "infeasible", "unknown")
    assert min(seen.values()) >= 5, seen


CASES = {
    "weight": ("a latency objective", r"means\[0\]\[0\]\.weight"),
    "mean_us": ("a latency objective", r"options\[\d+\]\.mean_us"),
    "memory_kb": ("the memory of a pool", r"memory_kb"),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_field_with_the_largest_part_is_named(known: list[dict[str, Any]], kind: str) -> None:
    what, field = CASES[kind]
    value = json.loads(json.dumps(known[0]))
    for *path, last in numbers(value):
        if last == kind:
            inner: Any = value
            for key in path:
                inner = inner[key]
            inner[last] = 10**15
    if kind == "memory_kb":
        value["pools"][0]["minimum"] = value["pools"][0]["maximum"] = (
            100_000 if value["pools"][0]["sharing"] == "cores" else 1
        )
        value["pools"][-1]["minimum"] = value["pools"][-1]["maximum"] = 100_000
    with pytest.raises(InputError, match=f"{field}: too large: {what} could reach"):
        parse_problem(json.dumps(value), "p.json")

"""The Problem's file format: what is written is read back, and what is hostile is refused with one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.formulation import formulate
from planner.problem_file import parse_problem, problem_json, read_problem, write_problem
from planner.solver import solve_problem
from specs.errors import InputError
from tests.planner.blog import situation
from tests.planner.worlds import busy, world


@pytest.mark.parametrize("seed", range(12))
def test_what_is_written_is_read_back(seed: int, tmp_path: Path) -> None:
    problem = formulate(world(seed))
    file = tmp_path / "problem.json"
    write_problem(problem, file)
    assert read_problem(file) == problem


@pytest.mark.parametrize("seed", range(3))
def test_a_problem_with_throughputs_is_read_back(seed: int) -> None:
    problem = formulate(busy(seed))
    assert parse_problem(problem_json(problem)) == problem


def test_a_problem_read_back_has_the_same_solution() -> None:
    problem = formulate(situation())
    assert solve_problem(parse_problem(problem_json(problem))).objectives == solve_problem(problem).objectives


def change(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(value: dict[str, Any]) -> None:
        inner: Any = value
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to

    return apply


def rate(constraint: int, flows: list[int], scale: int) -> dict[str, Any]:
    return {"constraint": constraint, "flows": flows, "scale": scale}


def remove(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda value: value.pop(key) and None


HOSTILE = {
    "another format": (change("schema", to="tierplan.problem/v9"), "schema"),
    "negative price": (change("pools", 0, "price", to=-5), "price"),
    "fraction": (change("pools", 0, "price", to=0.5), "integer"),
    "too large": (change("pools", 0, "price", to=10**18), "integer"),
    "far too large": (change("pools", 0, "price", to=10**40), "too large"),
    "boolean": (change("pools", 0, "price", to=True), "integer"),
    "text": (change("pools", 0, "price", to="12"), "integer"),
    "null": (change("pools", to=None), "list"),
    "unknown key": (change("extra", to=1), "keys"),
    "missing key": (remove("pools"), "keys"),
    "no site": (change("sites", to=[]), "at least one site"),
    "unknown sharing": (change("pools", 0, "sharing", to="magic"), "cores, time"),
    "dangling pool": (change("stations", 0, "pool", to=99), "index 99"),
    "dangling constraint": (change("pools", 0, "constraint", to=9999), "index 9999"),
    "dangling site": (change("scenarios", 0, "steps", 0, "options", 0, "site", to=77), "index 77"),
    "dangling station": (change("scenarios", 0, "steps", 0, "options", 0, "station", to=-1), "zero or more"),
    "tasks out of range": (change("scenarios", 0, "steps", 0, "options", 0, "last", to=5), "index 5"),
    "too many tasks": (change("scenarios", 0, "steps", 0, "tasks", to=10**9), "1 to"),
    "path to nowhere": (change("scenarios", 0, "limits", 0, "shapes", 0, "paths", 0, "steps", 0, to=50), "index 50"),
    "levels that fall": (change("servers", 0, "levels", to=[{"wait_us": 5, "wait_var": 0}]), "rise"),
    "minimum above maximum": (change("pools", 0, "minimum", to=3), "minimum"),
    "a flow without scenario": (change("scenarios", to=[]), "each flow"),
    "throughput of no constraint": (change("throughputs", to=[rate(99, [0], 2_000_000)]), "index 99"),
    "throughput of no flow": (change("throughputs", to=[rate(0, [9], 2_000_000)]), "index 9"),
    "throughput below the peak": (change("throughputs", to=[rate(0, [0], 5)]), "at least 1000000"),
    "long text": (change("name", to="x" * 100_000), "text of at most"),
}


@pytest.mark.parametrize("case", HOSTILE, ids=str)
def test_a_hostile_file_is_refused_with_the_place(case: str) -> None:
    apply, expected = HOSTILE[case]
    value = json.loads(problem_json(formulate(situation())))
    apply(value)
    with pytest.raises(InputError, match=expected):
        parse_problem(json.dumps(value), "p.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "NaN", '{"schema": Infinity}', "[" * 100_000, b"\xff\xfe", "9" * 5000])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(InputError, match="not a Problem"):
        parse_problem(text, "p.json")


def test_nan_in_a_number_is_refused() -> None:
    text = problem_json(formulate(situation())).replace('"minimum": 0', '"minimum": NaN', 1)
    with pytest.raises(InputError, match="NaN"):
        parse_problem(text, "p.json")


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_problem(tmp_path / "none.json")

"""The Problem's file format: what is written is read back, and what is hostile is refused with one clear line."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planner.formulation import formulate
from planner.problem.fields import FIELDS, tables
from planner.problem.file import parse_problem, problem_json, read_problem, write_problem
from planner.situation import Situation
from planner.solver import Solution, solve_problem
from planner.solver.scheduling import isolated_request
from planner.solver.schema import problem_schema
from specs.errors import AnswerIsNo, InputError
from tests.planner.blog import situation
from tests.planner.scheduling.requests import request
from tests.planner.worlds import batching, busy, careful, cramped, fanned, lossy, patient, thrifty, together, world

SCHEMA = jsonschema.Draft202012Validator(problem_schema())
SMALL = problem_json(request(7, 3, 2))


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


@cache
def blog() -> str:
    return problem_json(formulate(situation()))


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
    "an older version": (change("schema", to="tierplan.problem/v0"), "got 'tierplan.problem/v0' .*write it again"),
    "a newer version": (
        change("schema", to="tierplan.problem/v9"),
        "another version of tierplan: .*got 'tierplan.problem/v9'",
    ),
    "another kind": (change("schema", to="tierplan.plan/v1"), "this is a plan, not the numbers alone"),
    "no kind": (remove("schema"), "schema: expected 'tierplan.problem/v1', got None"),
    "a kind that is no text": (change("schema", to=["tierplan.problem/v1"]), "schema: expected"),
    "negative price": (change("pools", 0, "price", to=-5), r"pools\[0\].price: expected an integer from 0 .*got -5"),
    "fraction": (change("pools", 0, "price", to=0.5), "integer"),
    "too large": (change("pools", 0, "price", to=10**18), "integer"),
    "far too large": (change("pools", 0, "price", to=10**40), "too large"),
    "boolean": (change("pools", 0, "price", to=True), "integer"),
    "text": (change("pools", 0, "price", to="12"), "integer"),
    "null": (change("pools", to=None), "list"),
    "unknown key": (change("extra", to=1), "the key 'extra' is not known"),
    "missing key": (remove("pools"), "the key 'pools' is missing"),
    "a key near another": (change("pools", 0, "prize", to=1), r"pools\[0\]: the key 'prize' .*mean 'price'"),
    "no site": (change("sites", to=[]), "at least one site"),
    "unknown sharing": (change("pools", 0, "sharing", to="magic"), "cores, time"),
    "dangling pool": (change("stations", 0, "pool", to=99), "index 99"),
    "dangling constraint": (change("pools", 0, "constraint", to=9999), "index 9999"),
    "dangling site": (change("scenarios", 0, "steps", 0, "options", 0, "site", to=77), "index 77"),
    "dangling station": (change("scenarios", 0, "steps", 0, "options", 0, "station", to=-1), "from 0 to"),
    "tasks out of range": (change("scenarios", 0, "steps", 0, "options", 0, "last", to=5), "index 5"),
    "too many tasks": (change("scenarios", 0, "steps", 0, "tasks", to=10**9), "1 to"),
    "path to nowhere": (change("scenarios", 0, "limits", 0, "shapes", 0, "paths", 0, "steps", 0, to=50), "index 50"),
    "levels that fall": (change("servers", 0, "levels", to=[{"wait_us": 5, "wait_var": 0}]), "rise"),
    "minimum above maximum": (change("pools", 0, "minimum", to=3), "minimum"),
    "a flow without scenario": (change("scenarios", to=[]), "each flow"),
    "throughput of no constraint": (change("throughputs", to=[rate(99, [0], 2_000_000)]), "index 99"),
    "throughput of no flow": (change("throughputs", to=[rate(0, [9], 2_000_000)]), "index 9"),
    "throughput below the peak": (change("throughputs", to=[rate(0, [0], 5)]), "at least 1000000"),
    "apart without hops": (change("scenarios", 0, "edges", 0, "apart_us", to=5), "expected 0 without hops"),
    "a flow of nobody": (change("members", 0, to=0), r"members\[0\]: expected at least 1"),
    "pools of a budget": (
        change("budgets", to=[{"constraint": 0, "limit": 1, "of": "cost", "pools": [0]}]),
        r"budgets\[0\].pools: expected none",
    ),
    "a message to itself": (
        change("scenarios", 0, "edges", 0, "producer", to={"step": 0, "task": 0, "site": 0}),
        r"edges\[0\]: expected a message from a task to a later one",
    ),
    "an unknown objective": (change("objectives", 0, "kind", to="speed"), "makespan, got 'speed'"),
    "long text": (change("name", to="x" * 100_000), "text of at most"),
}


@pytest.mark.parametrize("case", HOSTILE, ids=str)
def test_a_hostile_file_is_refused_with_the_place(case: str) -> None:
    apply, expected = HOSTILE[case]
    value = json.loads(blog())
    apply(value)
    with pytest.raises(InputError, match=expected):
        parse_problem(json.dumps(value), "p.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "NaN", '{"schema": Infinity}', "[" * 100_000, b"\xff\xfe", "9" * 5000])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(InputError, match="not a Problem"):
        parse_problem(text, "p.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1.0", "-0.0", "9" * 30])
def test_what_is_no_integer_is_refused_where_it_stands(number: str) -> None:
    text = blog().replace('"minimum": 0', f'"minimum": {number}', 1)
    with pytest.raises(InputError, match=rf"pools\[\d+\].minimum: expected an integer from 0 to .* got {number[:20]}"):
        parse_problem(text, "p.json")


def test_a_key_that_stands_twice_is_refused_where_it_stands() -> None:
    text = blog().replace('"minimum": 0', '"minimum": 0, "minimum": 1', 1)
    with pytest.raises(InputError, match=r"pools\[\d+\]: .*the key 'minimum' twice"):
        parse_problem(text, "p.json")


def test_broken_json_is_refused_with_line_and_column() -> None:
    with pytest.raises(InputError, match=r"p.json:2:12: not a Problem"):
        parse_problem('{\n "schema": tierplan\n}', "p.json")


def test_steps_that_wait_in_a_circle_are_refused_by_name() -> None:
    problem = isolated_request({"a": {"d": 3}, "b": {"d": 2}}, {("a", "b"): {}, ("b", "a"): {}})
    with pytest.raises(InputError, match=r"scenarios\[0\].edges: steps wait for each other in a circle"):
        parse_problem(problem_json(problem))


FAMILIES = (world, batching, together, thrifty, cramped, patient, lossy, busy, fanned, careful)


def answered(solution: Solution) -> Solution:
    """All that an answer says but how long it took."""
    return replace(solution, seconds=0.0, seconds_first=None, seconds_best=None, seconds_proof=None)


def same_answer(family: Callable[[int], Situation], seed: int) -> bool:
    """Whether it could be formulated at all."""
    try:
        problem = formulate(family(seed))
    except (AnswerIsNo, InputError):
        return False
    text = problem_json(problem)
    again = parse_problem(text)
    assert again == problem
    assert problem_json(again) == text
    SCHEMA.validate(json.loads(text))
    assert answered(solve_problem(again)) == answered(solve_problem(problem))
    return True


def test_what_is_read_back_has_the_same_answer() -> None:
    """Of every family of Problems there is: batches, standbys, energy, memory, losses, throughput, fan-out, shares."""
    for family in FAMILIES:
        assert same_answer(family, 1)
        assert same_answer(family, 3)


@pytest.mark.deep
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FAMILIES), st.integers(0, 10_000))
def test_what_is_read_back_has_the_same_answer_on_many_more(family: Callable[[int], Situation], seed: int) -> None:
    assume(same_answer(family, seed))


STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything in a file, where it stands."""
    if here:
        yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*here, key))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_value_anywhere_is_read_or_refused_in_one_line(data: st.DataObject) -> None:
    """And a file that the JSON Schema refuses is never read."""
    value = json.loads(SMALL)
    place = data.draw(st.sampled_from(sorted(places(value), key=str)))
    change(*place, to=data.draw(STRANGE))(value)
    try:
        problem = parse_problem(json.dumps(value), "p.json")
    except InputError as error:
        refused = str(error)
    else:
        SCHEMA.validate(value)
        refused = ""
        assert parse_problem(problem_json(problem)) == problem
    assert "\n" not in refused


def test_every_field_has_a_meaning_and_no_other() -> None:
    for kind, meanings in FIELDS.items():
        assert [f.name for f in dataclasses.fields(kind)] == list(meanings), kind
    named = {*SCHEMA.schema["$defs"], "Problem"}
    assert named == {kind.__name__ for kind in FIELDS}


PAGE = Path(__file__).parents[2] / "docs" / "problem-format.md"


def test_the_page_says_what_the_code_says() -> None:
    page = PAGE.read_text("utf-8")
    for table in tables():
        assert table in page


def test_the_example_of_the_page_is_solved_as_it_says() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    SCHEMA.validate(json.loads(example))
    solution = solve_problem(parse_problem(example))
    assert (solution.status, solution.objectives) == ("optimal", (5_000_000,))


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_problem(tmp_path / "none.json")

"""`planner simulate` on a real plan: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from specs.plan import read_plan
from specs.schema import MODELS, json_schema
from tests.cli.calling import Called, planner

FILES = ("plan.yaml", "app.yaml", "--infra", "infra.yaml")


def simulate(folder: Path, *more: str) -> Called:
    return planner("simulate", *FILES, "--requests", "4000", *more, folder=folder)


def answer(called: Called) -> dict[str, Any]:
    assert called.code == 0, called.err
    value: dict[str, Any] = json.loads(called.out)
    jsonschema.validate(value, json_schema(MODELS["simulation"]))
    return value


def test_a_simulation_gives_the_figures_of_a_run(solved: Path) -> None:
    value = answer(simulate(solved, "--format", "json"))
    requests = value["requests"]
    assert requests["sent"] == requests["answered"] > 3000
    (path,) = value["paths"]
    assert path["simulated"]["p50_ms"] == pytest.approx(path["predicted"]["p50_ms"], rel=0.1)
    assert {s["name"] for s in value["stages"] if s["kind"] == "stage"} == {"measure", "judge"}
    again = answer(simulate(solved, "--format", "json"))
    assert again["paths"] == value["paths"]
    shown = simulate(solved)
    assert "ask -> answer (all)" in shown.out
    assert "answered" in shown.out


def test_a_site_that_is_down_fails_requests_while_it_is(solved: Path) -> None:
    value = answer(simulate(solved, "--fault", "site phones down 50s..100s", "--duration", "3min", "--format", "json"))
    before, down, after = value["periods"]
    assert before["answered"] == before["sent"] > 100
    assert down["faults"] == ["site phones down 50s..100s"]
    assert down["answered"] == 0
    assert after["answered"] == after["sent"] > 100


def test_recorded_arrivals_are_played_as_they_were(solved: Path) -> None:
    (solved / "trace.csv").write_text("time,site,member\n100.0,phones,1\n100.5,phones,2\n103.0,,\n", "utf-8")
    value = answer(simulate(solved, "--trace", "ask=trace.csv", "--format", "json"))
    assert value["requests"]["sent"] == 3
    assert value["seconds"] == 3.0
    (solved / "trace.jsonl").write_text('{"time": "2026-01-01T00:00:00Z"}\n{"time": "now"}\n', "utf-8")
    called = simulate(solved, "--trace", "ask=trace.jsonl")
    assert (called.code, called.err) == (
        2,
        "error: trace.jsonl:2:1: expected `time` in seconds or ISO 8601, got 'now'\n",
    )


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--arrivals", "bursty", "expected poisson, constant or burst:FACTOR,SECONDS"),
        ("--arrivals", "burst:0.5,10s", "a factor above 1"),
        ("--arrivals", "burst:5", "expected burst:FACTOR,SECONDS"),
        ("--fault", "site phone down 1s..", "did you mean 'phones'"),
        ("--trace", "asks=x.csv", "expected SOURCE=FILE"),
        ("--duration", "3", "unit"),
        ("--requests", "999999999", "too many to keep"),
    ],
)
def test_what_it_cannot_read_is_said_in_one_line(solved: Path, option: str, value: str, says: str) -> None:
    called = planner("simulate", *FILES, option, value, folder=solved)
    assert called.code == 2
    assert says in called.err.splitlines()[-1]
    assert called.out == ""


def test_requests_that_are_refused_are_a_no(solved: Path) -> None:
    called = simulate(solved, "--multiplier", "100000", "--members", "phones=4", "--queue-limit", "1")
    assert called.code == 1
    assert "requests refused" in called.err.splitlines()[-1]


def test_a_refined_plan_says_what_was_simulated_and_verifies(solved: Path) -> None:
    called = planner("solve", "app.yaml", "--infra", "infra.yaml", "--refine", "-o", "fine.yaml", folder=solved)
    assert called.code == 0, called.err
    assert "answer_time.p99: " in called.out
    assert "ms simulated (" in called.out
    refined = read_plan(solved / "fine.yaml").refined
    assert refined is not None
    assert [limit.name for limit in refined.limits] == ["answer_time.p99"]
    assert planner("verify", "fine.yaml", "app.yaml", "--infra", "infra.yaml", folder=solved).code == 0

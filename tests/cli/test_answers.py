"""explain, pareto, sensitivity and relaxations, by the command on a real application."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema

from planner.cli import results
from specs.plan import Plan
from specs.schema import json_schema
from tests.cli.calling import Called, planner

FILES = ("app.yaml", "--infra", "infra.yaml")


def answer(called: Called, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(called.out)
    assert value["schema"] == f"tierplan.{name}/v1"
    jsonschema.validate(value, json_schema((results.MODELS | {"plan": Plan})[name]))
    return value


def test_explain_prices_what_was_rejected(solved: Path) -> None:
    value = answer(planner("explain", "plan.yaml", *FILES, "-f", "json", folder=solved), "explain")
    cloud = next(c for c in value["candidates"] if (c["component"], c["choice"]) == ("judge", "cloud.vm"))
    assert cloud["status"] == "possible"
    assert cloud["prices"][0] > 70
    called = planner("explain", "plan.yaml", *FILES, "-c", "judge", folder=solved)
    assert called.code == 0
    assert "answer_time.p99 does not bind" in called.out
    assert planner("explain", "plan.yaml", *FILES, "-c", "juge", folder=solved).code == 2


def test_pareto_writes_the_same_points_as_csv(solved: Path) -> None:
    called = planner("pareto", *FILES, "--csv", "front.csv", "-f", "json", folder=solved)
    value = answer(called, "pareto")
    assert called.code == 0, called.err
    rows = list(csv.reader(io.StringIO((solved / "front.csv").read_text("utf-8"))))
    assert rows[0][:2] == ["answer_time.p99_ms", "USD_per_month"]
    figures = [(p["latency_ms"], p["per_month"]) for p in value["points"]]
    assert [(float(row[0]), float(row[1])) for row in rows[1:]] == figures != []
    assert planner("pareto", *FILES, "--x", "cost", folder=solved).code == 2
    assert planner("pareto", *FILES, "--csv", "app.yaml", folder=solved).code == 2


def test_sensitivity_gives_ranges_and_regrets(solved: Path) -> None:
    called = planner("sensitivity", "plan.yaml", *FILES, "--only", "link.*", "-f", "json", folder=solved)
    value = answer(called, "sensitivity")
    assert called.code == 0, called.err
    assert [r["name"] for r in value["ranges"]] == ["link.radio.rate", "link.radio.delay"]
    assert value["worst_regret"] >= 0


def test_an_infeasible_answer_says_what_would_be_enough(solved: Path) -> None:
    impossible = ("--set", "component.judge.at={tier: cloud}", "--set", "constraint.budget.cost=1 USD/month")
    called = planner("solve", *FILES, *impossible, "-o", "none.yaml", "-f", "json", folder=solved)
    assert called.code == 1
    value = answer(called, "plan")
    (budget,) = (r["changes"][0] for r in value["relaxations"] if r["changes"][0]["name"] == "budget")
    enough = planner("solve", *FILES, *impossible, "--set", budget["set"], "-o", "some.yaml", folder=solved)
    assert enough.code == 0, enough.err
    shown = planner("solve", *FILES, *impossible, "-o", "none.yaml", folder=solved)
    assert f"enough: --set '{budget['set']}'" in shown.out


def test_explain_of_no_plan_names_every_conflict_and_what_is_enough_for_all(solved: Path) -> None:
    file = solved / "app.yaml"
    two = "answer_time: {from: ask, to: answer, p99: 1 us}\n  room: {memory: 1 B}"
    file.write_text(file.read_text("utf-8").replace("answer_time: {from: ask, to: answer, p99: 500 ms}", two), "utf-8")
    solving = planner("solve", *FILES, folder=solved)
    assert solving.code == 1
    called = planner("explain", "plan.yaml", *FILES, "-f", "json", folder=solved)
    assert called.code == 1, called.err
    value = json.loads(called.out)
    assert {c["name"] for conflict in value["conflicts"] for c in conflict} >= {"answer_time.p99", "room"}
    assert len(value["conflicts"]) == 2
    (relaxation,) = value["relaxations"]
    assert sorted(c["name"] for c in relaxation["changes"]) == ["answer_time.p99", "room"]
    for said in (solving.err, called.err):
        assert "answer_time.p99 (app.yaml:24)" in said
        assert "room (app.yaml:25)" in said

"""`planner replan` and `planner profile --from-run`: what a run measured counts, and the originals stay as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from planner.observation import observations
from specs.plan import read_plan
from specs.profile import read_records
from specs.replan import ReplanResult
from specs.schema import json_schema
from tests.cli.calling import Called, planner
from tests.cli.runs import run_of, write_run

REPLAN = ("replan", "plan.yaml", "app.yaml", "--infra", "infra.yaml")


def answer(called: Called) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(called.out)
    jsonschema.validate(value, json_schema(ReplanResult))
    return value


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_what_a_run_measured_counts_and_nothing_is_written_without_an_output(solved: Path) -> None:
    run = write_run(solved, {"measure": 2.0, "judge": 2.0})
    before = {p for p in solved.rglob("*") if "__pycache__" not in str(p)}
    profiles = contents(solved / "profiles")
    called = planner(*REPLAN, "--observed", "run.json", "--format", "json", folder=solved)
    value = answer(called)
    assert called.code == 0
    assert value["old"]["plan"] == run.plan
    assert [(o["name"], o["promoted"], round(o["ratio"], 3)) for o in value["observed"]] == [
        ("measure", True, 2.0),
        ("judge", True, 2.0),
    ]
    (path,) = value["difference"]["paths"]
    assert path["new"]["p50_ms"] > path["old"]["p50_ms"]
    assert {i["kind"] for i in value["difference"]["inputs"]} == {"record"}
    assert {p for p in solved.rglob("*") if "__pycache__" not in str(p)} == before
    assert contents(solved / "profiles") == profiles


def test_the_new_plan_rests_on_a_copy_of_the_profiles(solved: Path) -> None:
    write_run(solved, {"judge": 1.5})
    before = contents(solved / "profiles")
    called = planner(*REPLAN, "--observed", "run.json", "-o", "new.yaml", folder=solved)
    assert called.code == 0, called.err
    assert "wrote new.yaml, which rests on new.profiles" in called.out
    assert contents(solved / "profiles") == before
    copied = contents(solved / "new.profiles")
    assert {name: copied[name] for name in before} == before
    promoted = [json.loads(line) for line in copied["observed.jsonl"].splitlines()]
    assert {r["provenance"] for r in promoted} == {"emulated"}
    assert all(r["method"].startswith("planner run ") and "300 requests at" in r["method"] for r in promoted)
    verified = planner(
        "verify", "new.yaml", "app.yaml", "--infra", "infra.yaml", "--profiles", "new.profiles", folder=solved
    )
    assert verified.code == 0, verified.err
    assert planner("verify", "new.yaml", "app.yaml", "--infra", "infra.yaml", folder=solved).code == 2
    again = planner(*REPLAN, "--observed", "run.json", "-o", "new.yaml", folder=solved)
    assert again.code == 0, again.err
    assert contents(solved / "new.profiles") == copied


def test_it_moves_nothing_only_because_what_did_not_run_was_not_observed(solved: Path) -> None:
    """A component that serves slower than profiled stays where it would be no faster elsewhere."""
    write_run(solved, {"measure": 1.5, "judge": 3.0})
    value = answer(planner(*REPLAN, "--observed", "run.json", "--format", "json", folder=solved))
    assert [p for p in value["difference"]["placements"] if p["moved"]] == []
    assert value["certain"] is True


def test_changed_files_are_a_reason_too(solved: Path) -> None:
    file = solved / "app.yaml"
    file.write_text(file.read_text("utf-8").replace("peak: 5/s", "peak: 8/s"), "utf-8")
    value = answer(planner(*REPLAN, "--format", "json", folder=solved))
    assert [i["kind"] for i in value["difference"]["inputs"]] == ["app"]
    value = answer(planner(*REPLAN, "-o", "new.yaml", "--format", "json", folder=solved))
    assert (value["plan_file"], value["profiles"]) == ("new.yaml", "profiles")
    assert not (solved / "new.profiles").exists()
    assert value["observed"] == []


def test_where_only_what_was_not_observed_keeps_the_constraints_that_is_said(solved: Path) -> None:
    write_run(solved, {"measure": 30_000.0})
    called = planner(*REPLAN, "--observed", "run.json", folder=solved)
    assert called.code == 0
    assert "not certain: were what did not run off by as much" in " ".join(called.out.split())


def test_no_plan_for_what_was_observed_is_an_answer_of_no(solved: Path) -> None:
    write_run(solved, {"measure": 1.1})
    file = solved / "app.yaml"
    file.write_text(file.read_text("utf-8").replace("p99: 500 ms", "p99: 1 us"), "utf-8")
    called = planner(*REPLAN, "--observed", "run.json", "--format", "json", folder=solved)
    assert called.code == 1
    assert called.err.splitlines()[-1].startswith("no: for what was observed, no plan keeps")
    assert "answer_time.p99" in answer(called)["new"]["conflict"]


def test_a_folder_is_searched_for_runs_of_the_plan(solved: Path) -> None:
    seen = solved / "observations"
    seen.mkdir()
    write_run(solved, {}, "observations/one.json")
    write_run(solved, {}, "observations/two.json", plan="00" * 32)
    (seen / "status.json").write_text('{"schema": "tierplan.status/v1"}')
    (seen / "one.prediction.json").write_text('{"schema": "tierplan.prediction/v1"}')
    (seen / "notes.json").write_text("[")
    value = answer(planner(*REPLAN, "--observed", "observations", "--format", "json", folder=solved))
    assert len(value["observed"]) == 2
    assert {Path(name).name for name in value["left_out"]} == {"two.json", "status.json", "notes.json"}
    (seen / "one.json").unlink()
    called = planner(*REPLAN, "--observed", "observations", folder=solved)
    assert (called.code, called.out) == (2, "")
    assert called.err.startswith("error: observations: no run of the plan in this folder: ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"plan": "00" * 32}, "a run of plan 0000000000000000, not of "),
        ({"host": "another machine"}, "run on 'another machine'"),
        ({"shaping": "none: as they are"}, "the run slowed no processor, as its profile does"),
        ({"ended_at": ""}, "made by a version that kept percentiles only"),
        ({"ended_at": "2001-01-01T00:00:00+00:00"}, "profiled again since"),
    ],
)
def test_what_cannot_count_is_refused_with_the_reason(solved: Path, changes: dict[str, Any], said: str) -> None:
    write_run(solved, {}, **changes)
    called = planner(*REPLAN, "--observed", "run.json", folder=solved)
    assert (called.code, called.out) == (2, "")
    assert "error: run.json: " in called.err
    assert said in called.err


def test_profiles_that_the_plan_does_not_rest_on_are_told_with_the_way_out(solved: Path) -> None:
    write_run(solved, {"measure": 2.0, "judge": 2.0})
    (solved / "empty").mkdir()
    missing = planner(*REPLAN, "--observed", "run.json", "--profiles", "elsewhere", folder=solved)
    assert (missing.code, "no profiles: elsewhere is not a folder (run: planner profile" in missing.err) == (2, True)
    empty = planner(*REPLAN, "--observed", "run.json", "--profiles", "empty", folder=solved)
    assert empty.code == 2
    assert "(name the profiles that the plan rests on with --profiles)" in empty.err


def test_outputs_that_would_replace_an_input_are_refused(solved: Path) -> None:
    write_run(solved, {})
    for more in (
        ("-o", "plan.yaml"),
        ("-o", "run.json"),
        ("-o", "new.yaml", "--profiles-out", "profiles"),
        ("-o", "new.yaml", "--profiles-out", "bundle"),
        ("--profiles-out", "elsewhere"),
    ):
        called = planner(*REPLAN, "--observed", "run.json", *more, folder=solved)
        assert called.code == 2, more
        assert called.out == ""


def test_a_stage_of_too_few_requests_keeps_its_profile(solved_once: Path) -> None:
    plan, records = read_plan(solved_once / "plan.yaml"), read_records(solved_once / "profiles")
    run = run_of(plan, records, {"judge": 2.0})
    few = tuple(s.model_copy(update={"service": None, "n": 7}) if s.name == "judge" else s for s in run.stages)
    seen = observations(plan, records, [run.model_copy(update={"stages": few})])
    assert [(o.stage.name, o.promoted is not None, o.reason) for o in seen] == [
        ("measure", True, ""),
        ("judge", False, "7 requests are too few to tell"),
    ]


def test_a_run_becomes_profiles_where_that_is_asked_for(solved: Path) -> None:
    write_run(solved, {"judge": 2.0})
    arguments = ("profile", "plan.yaml", "--from-run", "run.json", "--format", "json")
    value = json.loads(planner(*arguments, folder=solved).out)
    assert (value["measured"], value["kept"], value["problems"]) == (2, 0, [])
    assert any(r["method"].startswith("planner run ") for r in value["records"])
    again = json.loads(planner(*arguments, folder=solved).out)
    assert (again["measured"], again["kept"]) == (0, 2)
    assert len((solved / "profiles" / "observed.jsonl").read_text("utf-8").splitlines()) == 2
    assert planner(*REPLAN, "--observed", "run.json", folder=solved).code == 0
    assert planner("solve", "app.yaml", "--infra", "infra.yaml", folder=solved).code == 0
    called = planner("profile", "plan.yaml", "--from-run", "run.json", "--infra", "infra.yaml", folder=solved)
    assert called.err.startswith("error: --infra: not with --from-run")

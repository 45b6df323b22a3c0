"""The verbs on a real application: streams, formats against their schemas, and what they write."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from planner.cli import results
from planner.cli.schema import known_schemas
from specs.plan import read_plan
from specs.schema import MODELS, json_schema
from tests.cli.calling import Called, planner
from tests.runtime.processes import until

ALL = MODELS | results.MODELS


def answer(called: Called, name: str) -> dict[str, Any]:
    """What was said as JSON, valid under its own schema."""
    value: dict[str, Any] = json.loads(called.out)
    assert value["schema"] == f"tierplan.{name}/v1"
    jsonschema.validate(value, json_schema(ALL[name]))
    return value


def test_validate_answers_in_every_format(project: Path) -> None:
    value = answer(planner("validate", "app.yaml", "--format", "json", folder=project), "validate")
    assert value["ok"] is True
    said = planner("validate", "app.yaml", "-f", "yaml", folder=project)
    assert yaml.safe_load(said.out) == value


def test_validate_gives_issues_to_programs_too(project: Path) -> None:
    (project / "judge.onnx").unlink()
    called = planner("validate", "app.yaml", "--format", "json", folder=project)
    value = answer(called, "validate")
    assert called.code == 2
    assert value["ok"] is False
    assert [(i["line"], i["column"]) for i in value["issues"]] == [(15, 5)]
    assert called.err.count("error: ") == 1


def test_a_profile_that_is_complete_measures_nothing_again(solved: Path) -> None:
    before = (solved / "profiles" / "profiles.jsonl").read_bytes()
    called = planner("profile", "app.yaml", "--infra", "infra.yaml", "--format", "json", folder=solved)
    value = answer(called, "profiling")
    assert (called.code, value["measured"], value["behaviours"], value["hops"]) == (0, 0, 0, 0)
    assert value["kept"] == len(value["records"]) == 4
    assert (solved / "profiles" / "profiles.jsonl").read_bytes() == before


def test_a_profile_goes_on_where_it_stopped(solved: Path) -> None:
    """Even where a crash left half a line."""
    file = solved / "profiles" / "profiles.jsonl"
    lines = file.read_text("utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:2]) + lines[2][:40], "utf-8")
    arguments = ("--infra", "infra.yaml", "--budget", "0.05", "--format", "json")
    value = answer(planner("profile", "app.yaml", *arguments, folder=solved), "profiling")
    assert (value["measured"], value["kept"]) == (2, 2)
    assert file.read_text("utf-8").startswith("".join(lines[:2]))


def test_what_was_disturbed_is_told_and_measured_again_on_demand(solved: Path) -> None:
    file = solved / "profiles" / "profiles.jsonl"
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    for r in records:
        r["others"] = 0.0
        r["latency"]["spread"] = 0.0
    records[0]["others"] = 0.4
    records[1] |= {"others": 0.4, "method": "planner run 0 of plan 0: 9 requests at phones"}  # in service
    records.append(records[0] | {"hardware": "gone"})
    file.write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    arguments = ("profile", "app.yaml", "--infra", "infra.yaml", "--budget", "0.05")
    told = planner(*arguments, folder=solved).out
    assert re.search(r"1 of 4 were disturbed, most of all .*: others used 40% of the processors; --again", told)
    assert "0 measured, 4 known before" in told
    assert "gone" not in told
    value = answer(planner(*arguments, "--again", "--format", "json", folder=solved), "profiling")
    assert (value["measured"], value["kept"], len(value["records"])) == (1, 3, 4)
    assert [r["method"][:11] for r in value["records"] if r.get("others") == 0.4] == ["planner run"]


def test_profile_of_one_component_alone(solved: Path) -> None:
    (solved / "profiles" / "profiles.jsonl").unlink()
    arguments = ("--infra", "infra.yaml", "--budget", "0.05", "--only", "measure", "--format", "json")
    value = answer(planner("profile", "app.yaml", *arguments, folder=solved), "profiling")
    assert {r["backend"] for r in value["records"]} == {"python"}
    unknown = planner("profile", "app.yaml", "--infra", "infra.yaml", "--only", "mesure", folder=solved)
    assert unknown.err == "error: unknown component 'mesure' (did you mean 'measure'?)\n"


def test_solve_writes_the_plan_that_it_shows(solved: Path) -> None:
    called = planner("solve", "app.yaml", "--infra", "infra.yaml", "-o", "new.yaml", "--format", "json", folder=solved)
    value = answer(called, "plan")
    assert called.code == 0
    assert yaml.safe_load((solved / "new.yaml").read_text("utf-8")) == value
    assert read_plan(solved / "new.yaml").digest == read_plan(solved / "plan.yaml").digest


def test_solve_shows_a_table_of_what_runs_where(solved: Path) -> None:
    called = planner("solve", "app.yaml", "--infra", "infra.yaml", folder=solved)
    assert called.code == 0
    for word in ("component", "measure", "judge", "onnxruntime", "p99", "USD/month", "status: optimal", "gap 0.00 %"):
        assert word in called.out
    assert called.err == ""


def test_solve_shows_the_memory_that_a_limit_is_about(solved: Path) -> None:
    app = solved / "app.yaml"
    app.write_text(app.read_text().replace("constraints:\n", "constraints:\n  small: {memory: 400 MB}\n"))
    called = planner("solve", "app.yaml", "--infra", "infra.yaml", "-o", "small.yaml", folder=solved)
    assert called.code == 0, called.err
    (kept,) = [c for c in read_plan(solved / "small.yaml").constraints if c.name == "small"]
    (shown,) = [line for line in called.out.splitlines() if line.startswith("memory: ")]
    assert shown.endswith(" MB at most (limit small <= 400 MB)")
    assert float(shown.split()[1]) == pytest.approx(kept.value, rel=0.01)


def test_solve_names_what_cannot_hold_together(solved: Path) -> None:
    file = solved / "app.yaml"
    file.write_text(file.read_text("utf-8").replace("p99: 500 ms", "p99: 1 us"), "utf-8")
    called = planner("solve", "app.yaml", "--infra", "infra.yaml", folder=solved)
    assert called.code == 1
    assert called.err.startswith("no: ")
    assert "answer_time.p99 (app.yaml:24)" in called.err
    plan = read_plan(solved / "plan.yaml")
    assert plan.status == "infeasible"
    assert ("answer_time.p99", 24) in [(c.name, c.line) for c in plan.conflict]


def test_the_problem_alone_gives_the_same_objective(solved: Path) -> None:
    saved = planner("solve", "app.yaml", "--infra", "infra.yaml", "--save-problem", "p.json", folder=solved)
    assert saved.code == 0
    jsonschema.validate(json.loads((solved / "p.json").read_text("utf-8")), known_schemas()["problem"][1]())
    called = planner("solve", "--problem", "p.json", "--format", "json", folder=solved)
    assert called.code == 0
    assert json.loads(called.out)["status"] == "optimal"
    jsonschema.validate(json.loads(called.out), known_schemas()["solution"][1]())


def test_verify_recomputes_the_plan(solved: Path) -> None:
    called = planner("verify", "plan.yaml", "app.yaml", "--infra", "infra.yaml", "--format", "json", folder=solved)
    value = answer(called, "verify")
    assert called.code == 0, called.err
    assert value["ok"]
    assert value["checks"]


def test_verify_says_no_to_a_false_claim(solved: Path) -> None:
    plan = yaml.safe_load((solved / "plan.yaml").read_text("utf-8"))
    plan["cost"]["per_month"] += 5
    (solved / "plan.yaml").write_text(yaml.safe_dump(plan), "utf-8")
    called = planner("verify", "plan.yaml", "app.yaml", "--infra", "infra.yaml", folder=solved)
    assert called.code == 1
    assert called.err.startswith("no: ")


def test_compile_is_deterministic(solved: Path) -> None:
    arguments = ("compile", "plan.yaml", "app.yaml", "--infra", "infra.yaml", "-o", "again", "--format", "json")
    value = answer(planner(*arguments, folder=solved), "compile")
    assert value["compiled"] == 0
    assert (solved / "again" / "manifest.json").read_bytes() == (solved / "bundle" / "manifest.json").read_bytes()


def test_run_saves_the_prediction_first_and_measures_beside_it(solved: Path) -> None:
    """Under a limit that the noisiest machine keeps, so that the answer is yes."""
    file = solved / "app.yaml"
    file.write_text(file.read_text("utf-8").replace("p99: 500 ms", "p99: 60 s"), "utf-8")
    for verb in (("solve",), ("compile", "plan.yaml")):
        assert planner(*verb, "app.yaml", "--infra", "infra.yaml", folder=solved).code == 0
    arguments = ("--requests", "30", "--members", "phones=2", "--multiplier", "4", "--format", "json")
    called = planner("run", "bundle", *arguments, folder=solved, timeout=300)
    assert called.code == 0, called.err
    value = answer(called, "run")
    assert value["requests"] == {"sent": 30, "answered": 30, "refused": 0, "failed": 0, "lost": 0, "wrong": 0}
    assert value["plan"] == read_plan(solved / "plan.yaml").digest
    kept = {s["name"]: s.get("service", {"n": 0})["n"] for s in value["stages"] if s["kind"] == "stage"}
    assert kept == {"measure": 30, "judge": 30}
    assert value["host"]
    assert value["ended_at"] > "2020"
    lines = called.err.splitlines()
    assert lines[0] == f"plan {value['plan']}"
    assert lines[1].startswith(f"prediction {value['prediction']} in ")
    saved = json.loads((solved / "run.prediction.json").read_text("utf-8"))
    jsonschema.validate(saved, json_schema(MODELS["prediction"]))
    assert json.loads((solved / "run.json").read_text("utf-8")) == value
    page = planner("report", "plan.yaml", "--run", "run.json", "--infra", "infra.yaml", folder=solved)
    assert (page.code, page.out) == (0, "wrote report.html\n")
    assert "Predicted and measured" in (solved / "report.html").read_text("utf-8")
    again = planner(
        "replan", "plan.yaml", "app.yaml", "--infra", "infra.yaml", "--observed", ".", "--format", "json", folder=solved
    )
    assert [s["promoted"] for s in answer(again, "replan")["observed"]] == [True, True]


def test_run_says_which_limit_is_missed(solved: Path) -> None:
    """A plan's limit below what any machine can do is missed when it runs."""
    from planner.cli.run import limit_texts, shortcomings
    from tests.cli.samples import sample_plan, sample_run

    result = sample_run(sample_plan())
    assert shortcomings(result) == []
    assert limit_texts(result)[0] == "p99 of upload -> answer over all: 334 ms measured, limit 600 ms: kept"
    path = result.paths[0].model_copy(update={"limit_ms": {"p99": 300.0}})
    requests = result.requests.model_copy(update={"answered": 298, "lost": 1, "wrong": 2})
    missed = result.model_copy(update={"paths": (path,), "requests": requests})
    assert limit_texts(missed) == ["p99 of upload -> answer over all: 334 ms measured, limit 300 ms: missed"]
    found = shortcomings(missed)
    assert found[0] == "2 of 300 requests wrong (not what the reference answers)"
    assert found[1] == "1 of 300 requests lost"
    assert re.match(r"p99 of upload -> answer over all is 334 ms, limit 300 ms", found[2])


def in_group(group: int) -> bool:
    """Whether any process of that group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interruption_ends_profile_cleanly(project: Path) -> None:
    """Code 130, what was measured is kept whole, and no child is left."""
    steps = project / "steps.py"
    slow = steps.read_text("utf-8").replace("    counts =", "    time.sleep(0.1)\n    counts =")
    steps.write_text(f"import time\n{slow}", "utf-8")
    command = [
        sys.executable,
        "-m",
        "planner.cli.entry",
        "profile",
        "app.yaml",
        "--infra",
        "infra.yaml",
        "--budget",
        "20",
    ]
    process = subprocess.Popen(
        command,
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test that runs in the background of a shell would hand on that interruptions are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    marker = project / "profiles" / "behaviour.jsonl"
    deadline = time.monotonic() + 300
    while not (marker.exists() and marker.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    file = project / "profiles" / "profiles.jsonl"
    assert all(json.loads(line) for line in file.read_text("utf-8").splitlines()) if file.exists() else True
    assert until(lambda: not in_group(process.pid), 60)


def test_schema_prints_one_or_lists_all(project: Path) -> None:
    assert set(json.loads(planner("schema", "--format", "json", folder=project).out)["names"]) == set(known_schemas())
    printed = json.loads(planner("schema", "app", folder=project).out)
    jsonschema.validate(yaml.safe_load((project / "app.yaml").read_text("utf-8")), printed)
    called = planner("schema", "ap", folder=project)
    assert called.code == 2
    assert "did you mean 'app'" in called.err


def test_verify_counts_by_subject_and_shows_the_figures_that_matter(solved: Path) -> None:
    short = planner("verify", "plan.yaml", "app.yaml", "--infra", "infra.yaml", folder=solved)
    every = planner("verify", "plan.yaml", "app.yaml", "--infra", "infra.yaml", "--all", folder=solved)
    assert len(short.out.splitlines()) < 40 < len(every.out.splitlines())
    for part in ("placement", "latency", "largest difference", "cost per month", "<= 100", "--all shows each"):
        assert part in short.out, part
    assert "stage judge service: p99 ms" in every.out
    assert "-0." not in every.out


def test_a_measured_accuracy_stands_beside_its_limit() -> None:
    """A limit is missed only where the whole interval lies below it."""
    from planner.cli.run import accuracy_text, shortcomings
    from tests.cli.samples import sample_plan, sample_run

    run = sample_run(sample_plan())
    (measured,) = run.accuracies
    text = "accuracy on held_out: 0.9433 measured (0.911 to 0.964 at 95 %), 0.9417 planned, limit 0.94: "
    assert accuracy_text(measured).startswith(f"{text}not certain: the interval straddles it")
    assert shortcomings(run) == []
    kept = measured.model_copy(update={"limit": 0.9})
    assert accuracy_text(kept).endswith("limit 0.9: kept")
    missed = measured.model_copy(update={"limit": 0.97})
    assert accuracy_text(missed).endswith("limit 0.97: missed: the whole interval lies below")
    assert shortcomings(run.model_copy(update={"accuracies": (missed,)})) == [accuracy_text(missed)]

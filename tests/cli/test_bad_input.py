"""Bad input of each kind: one clear line that says what, where and the way out, and the right exit code."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import onnx
import pytest
import yaml

from tests.cli.calling import Called, planner


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


def validate(folder: Path) -> Called:
    return planner("validate", "app.yaml", "--infra", "infra.yaml", folder=folder)


def solve(folder: Path, *more: str) -> Called:
    return planner("solve", "app.yaml", "--infra", "infra.yaml", *more, folder=folder)


def one_line(called: Called, code: int, *parts: str) -> None:
    assert called.code == code, called.err
    assert called.out == ""
    errors = [line for line in called.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, called.err
    assert "Traceback" not in called.err
    for part in parts:
        assert part in errors[0]


def test_a_project_that_is_right_is_valid(project: Path) -> None:
    called = validate(project)
    assert (called.code, called.err) == (0, "")
    assert called.out == "tiny is valid: 2 components, 1 model, 2 constraints; 2 sites\n"


def test_a_missing_model_file(project: Path) -> None:
    (project / "judge.onnx").unlink()
    one_line(validate(project), 2, "app.yaml:15:5: ", "model file 'judge.onnx' is missing")


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x08\x12\x04"])
def test_a_corrupt_model(project: Path, data: bytes) -> None:
    (project / "judge.onnx").write_bytes(data)
    one_line(validate(project), 2, "app.yaml:15:5: judge.onnx: ")


def test_a_model_cut_off_in_the_middle(project: Path) -> None:
    data = (project / "judge.onnx").read_bytes()
    (project / "judge.onnx").write_bytes(data[: len(data) // 2])
    one_line(validate(project), 2, "app.yaml:15:5: judge.onnx: ")


def test_a_shape_mismatch_between_two_components(project: Path) -> None:
    change(project / "app.yaml", "f32[4]", "f32[5]")
    expected = "measure.features is f32[5] (line 13), but input 'features' of 'judge' takes f32[4]"
    one_line(validate(project), 2, "app.yaml:16:14: ", expected)


def test_a_cycle(project: Path) -> None:
    change(project / "app.yaml", "inputs: {text: ask.text}", "inputs: {text: ask.text, more: judge.verdict}")
    one_line(validate(project), 2, "components feed themselves: measure -> judge -> measure")


def test_an_unknown_site(project: Path) -> None:
    change(project / "infra.yaml", "[phones, cloud]", "[phones, clowd]")
    called = validate(project)
    assert called.code == 2
    assert "infra.yaml:14:11: unknown site 'clowd' (did you mean 'cloud'?)" in called.err


def test_an_unknown_unit(project: Path) -> None:
    change(project / "app.yaml", "500 ms", "500 msec")
    one_line(validate(project), 2, "app.yaml:24:40: ", "unknown unit 'msec'", "did you mean 'ms'")


def test_a_negative_rate(project: Path) -> None:
    change(project / "app.yaml", "mean: 1/s", "mean: -1/s")
    one_line(validate(project), 2, "app.yaml:6:12: ", "negative")


def test_no_route_between_sites(project: Path) -> None:
    file = project / "infra.yaml"
    file.write_text(file.read_text("utf-8").split("links:")[0], "utf-8")
    one_line(validate(project), 2, "infra.yaml:", "no link leads from site 'phones'", "add one under `links`")


def test_no_profiles(project: Path) -> None:
    called = solve(project)
    one_line(called, 2, "profiles", "run: planner profile app.yaml --infra infra.yaml -o profiles")


def test_a_profile_missing_for_a_component(solved: Path) -> None:
    file = solved / "profiles" / "profiles.jsonl"
    kept = [line for line in file.read_text("utf-8").splitlines() if '"python"' not in line]
    file.write_text("\n".join(kept) + "\n", "utf-8")
    called = solve(solved)
    assert called.code == 2
    assert "profile missing: measure/default on hardware 'phone'" in called.err
    assert "planner profile app.yaml" in called.err


def test_a_profile_under_another_emulation_is_refused(solved: Path) -> None:
    change(solved / "infra.yaml", "cpu: 0.5", "cpu: 0.25")
    called = solve(solved)
    assert called.code == 2
    assert "expected emulated at cpu 0.25" in called.err


def test_a_profile_that_is_no_record_is_named_with_its_line(solved: Path) -> None:
    with (solved / "profiles" / "profiles.jsonl").open("a") as stream:
        stream.write('{"schema": "tierplan.profile/v1"}\n')
    called = solve(solved)
    assert called.code == 2
    assert "profiles.jsonl:" in called.err
    assert "not a Record" in called.err


def test_a_model_changed_since_profiling(solved: Path) -> None:
    model = onnx.load(str(solved / "judge.onnx"))
    model.doc_string = "another"
    onnx.save(model, str(solved / "judge.onnx"))
    called = solve(solved)
    assert called.code == 2
    assert "Traceback" not in called.err
    assert "judge/default" in called.err


def test_a_model_changed_since_solving_is_named_where_the_plan_has_it(solved: Path) -> None:
    model = onnx.load(str(solved / "judge.onnx"))
    model.doc_string = "another"
    onnx.save(model, str(solved / "judge.onnx"))
    called = planner("compile", "plan.yaml", "app.yaml", "--infra", "infra.yaml", folder=solved)
    one_line(called, 2, "plan.yaml:", "older than its inputs: judge/default")
    line = int(called.err.split("plan.yaml:")[1].split(":")[0])
    assert "judge/default" in (solved / "plan.yaml").read_text("utf-8").splitlines()[line - 1]


@pytest.mark.parametrize("verb", ["verify", "compile"])
def test_a_plan_older_than_its_inputs(solved: Path, verb: str) -> None:
    change(solved / "app.yaml", "500 ms", "400 ms")
    called = planner(verb, "plan.yaml", "app.yaml", "--infra", "infra.yaml", folder=solved)
    assert called.code == 2
    assert "changed since" in called.err
    assert "Traceback" not in called.err


def test_a_plan_that_is_none(solved: Path) -> None:
    (solved / "plan.yaml").write_text("status: splendid\n")
    called = planner("report", "plan.yaml", folder=solved)
    assert called.code == 2
    assert "not a plan" in called.err


def test_a_tampered_artefact(solved: Path) -> None:
    file = next((solved / "bundle" / "artefacts").glob("*/model.*"))
    file.chmod(0o644)
    file.write_bytes(file.read_bytes() + b"\0")
    one_line(
        planner("run", "bundle", folder=solved), 2, str(Path("bundle", "artefacts")), "the file was changed", "sha256"
    )


def test_a_tampered_plan_in_a_bundle(solved: Path) -> None:
    change(solved / "bundle" / "plan.yaml", "replicas: 1", "replicas: 2")
    one_line(planner("run", "bundle", folder=solved), 2, "plan.yaml", "the file was changed")


def test_a_file_that_does_not_belong_to_a_bundle(solved: Path) -> None:
    (solved / "bundle" / "more.py").write_text("")
    one_line(planner("run", "bundle", folder=solved), 2, "more.py", "not in the bundle's manifest")


def test_a_folder_that_is_no_bundle(project: Path) -> None:
    one_line(planner("run", ".", folder=project), 2, "not a bundle", "planner compile")


def test_nobody_answers_at_the_address(solved: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    called = planner("run", "bundle", "--address", f"127.0.0.1:{port}", folder=solved)
    one_line(called, 3, f"127.0.0.1:{port}")


def test_one_cluster_or_several(solved: Path) -> None:
    called = planner("run", "bundle", "--address", "127.0.0.1:6379", "--clusters", "clusters.yaml", folder=solved)
    one_line(called, 2, "there is one cluster or several", "--address or --clusters, not both")


def test_clusters_that_lack_a_site(solved: Path) -> None:
    (solved / "clusters.yaml").write_text(
        "schema: tierplan.clusters/v1\nclusters:\n  core: {address: 127.0.0.1:6379, sites: [cloud]}\n", "utf-8"
    )
    called = planner("run", "bundle", "--clusters", "clusters.yaml", folder=solved)
    one_line(called, 2, "clusters.yaml:2:", "no cluster has the site 'phones'")


def test_a_port_that_something_else_uses(solved: Path) -> None:
    """What answers there is no Ray cluster."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = planner("run", "bundle", "--address", f"127.0.0.1:{port}", folder=solved, timeout=60)
    one_line(called, 3, f"127.0.0.1:{port}")


@pytest.mark.parametrize("text", ["phones", "phones=0", "phones=x", "=2"])
def test_members_that_are_no_count(solved: Path, text: str) -> None:
    one_line(planner("run", "bundle", "--members", text, folder=solved), 2, "expected SITE=N")


def test_members_of_a_site_that_is_not_there(solved: Path) -> None:
    one_line(planner("run", "bundle", "--members", "fones=2", folder=solved), 2, "unknown site 'fones'")


def test_a_report_of_another_plans_run(solved: Path) -> None:
    plan = yaml.safe_load((solved / "plan.yaml").read_text())
    inputs = {"app": plan["inputs"]["app"], "infra": plan["inputs"]["infra"]}
    assert set(inputs) == {"app", "infra"}
    (solved / "run.json").write_text("{}")
    called = planner("report", "plan.yaml", "--run", "run.json", folder=solved)
    assert called.code == 2
    assert "run.json: not the result of a run: the key 'plan' is missing" in called.err


def test_a_problem_file_that_is_none(project: Path) -> None:
    (project / "problem.json").write_text('{"schema": "tierplan.problem/v1", "flows": 1e400}')
    one_line(planner("solve", "--problem", "problem.json", folder=project), 2, "not a Problem")


def test_a_problem_with_an_application_is_refused(project: Path) -> None:
    one_line(planner("solve", "app.yaml", "--problem", "p.json", folder=project), 2, "--problem stands alone")


def test_a_word_that_an_option_does_not_know_is_told_with_those_that_it_does(project: Path) -> None:
    called = planner("export", "bundle", "--to", "docker", "-o", "out", folder=project)
    one_line(called, 2, "'--to': 'docker' is not one of 'compose', 'kubernetes'")


def test_an_infrastructure_given_as_an_application_is_said_to_be_one(project: Path) -> None:
    called = planner("validate", "infra.yaml", folder=project)
    one_line(called, 2, "infra.yaml:1:1: this is an infrastructure, not an application (give it with --infra)")
    reverse = planner("validate", "app.yaml", "--infra", "app.yaml", folder=project)
    said = "app.yaml:1:1: this is an application, not an infrastructure (verbs that take one call it APP)"
    one_line(reverse, 2, said)


def test_a_plan_that_is_missing_is_told_with_what_makes_one(project: Path) -> None:
    called = planner("explain", "no.yaml", "app.yaml", "--infra", "infra.yaml", folder=project)
    one_line(called, 2, "no.yaml: cannot read no.yaml: No such file or directory (a plan is made by `planner solve`)")


def test_a_run_given_as_a_plan_is_said_to_be_one(solved: Path) -> None:
    (solved / "run.json").write_text('{"schema": "tierplan.run/v1", "plan": "x"}')
    one_line(planner("report", "run.json", folder=solved), 2, "this is the result of a run, not a plan", "--run")


def test_each_field_that_is_wrong_is_named(solved: Path) -> None:
    (solved / "plan.yaml").write_text("application: 3\nstatus: fine\nassignments: [{component: 2}]\n")
    lines = planner("report", "plan.yaml", folder=solved).err.splitlines()
    assert "error: plan.yaml:1:1: not a plan: application: expected text, got 3" in lines
    assert "error: plan.yaml:1:1: not a plan: the key 'seconds' is missing" in lines
    assert "error: plan.yaml:3:16: not a plan: assignments[0].component: expected text, got 2" in lines


def test_a_pipe_given_as_a_file_is_refused_and_not_waited_for(project: Path) -> None:
    (project / "app.yaml").unlink()
    os.mkfifo(project / "app.yaml")
    called = planner("validate", "app.yaml", folder=project, timeout=30)
    one_line(called, 2, "app.yaml: this is not a regular file")


def test_a_file_with_thousands_of_mistakes_is_told_in_a_screenful(project: Path) -> None:
    with (project / "app.yaml").open("a") as stream:
        stream.writelines(f"key{i}: 1\n" for i in range(30_000))
    called = planner("validate", "app.yaml", folder=project)
    assert called.code == 2
    lines = called.err.splitlines()
    assert len(lines) == 51
    assert lines[-1] == "error: app.yaml: and 29,950 more issues in this file"


@pytest.mark.parametrize("option", [("--only", "judge"), ("-o", "there"), ("--infra", "infra.yaml")])
def test_options_that_say_nothing_of_a_model_alone_are_refused(project: Path, option: tuple[str, str]) -> None:
    called = planner("profile", "judge.onnx", *option, folder=project)
    one_line(called, 2, "only with an application, not with a model alone")


def test_a_strategy_and_a_refinement_are_not_both_asked_for(solved: Path) -> None:
    called = planner("solve", "app.yaml", "--infra", "infra.yaml", "--refine", "--strategy", "greedy", folder=solved)
    assert called.code == 2
    assert "--refine and --strategy do not go together" in called.err


def test_hardware_that_must_be_profiled_elsewhere_is_named(project: Path) -> None:
    file = project / "infra.yaml"
    text = file.read_text("utf-8")
    there = ", emulate: {cpu: 0.5}"
    assert there in text
    file.write_text(text.replace(there, ""), "utf-8")
    called = planner("validate", "app.yaml", "--infra", "infra.yaml", folder=project)
    assert called.code == 0, called.err
    assert "to be profiled elsewhere: phone, which say" in called.out

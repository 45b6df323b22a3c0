"""`--tracker`: an application's models on lent devices, from infra.yaml to a plan and a bundle; what RPC cannot run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.calling import planner
from tests.compiler.lending import lending

BOARD = "  phone: {cores: 1, memory: 512 MB, device: {rpc: pi, target: x86-64-v2}}\n"
FILES = ("app.yaml", "--infra", "infra.yaml")


def lend(project: Path) -> None:
    """The phones of the project become boards that a tracker lends, on which the model alone runs, by TVM."""
    infra = (project / "infra.yaml").read_text("utf-8")
    old = "  phone: {cores: 1, memory: 512 MB, sharing: time, emulate: {cpu: 0.5}}\n"
    assert old in infra
    (project / "infra.yaml").write_text(infra.replace(old, BOARD), "utf-8")
    app = (project / "app.yaml").read_text("utf-8").replace("    backends: [onnxruntime]\n", "    at: {tier: edge}\n")
    (project / "app.yaml").write_text(app, "utf-8")


def test_a_target_that_no_device_can_have_is_refused_at_its_line(project: Path) -> None:
    lend(project)
    infra = (project / "infra.yaml").read_text("utf-8")
    for said, message in (
        ("target: x86-64-v9", "infra.yaml:3:55: unknown target 'x86-64-v9'"),
        ("target: cuda-sm87", "infra.yaml:3:55: target 'cuda-sm87' is not measured by RPC"),
        ("tarkget: x86-64-v2", "infra.yaml:3:55: unknown key 'tarkget' (did you mean 'target'?)"),
    ):
        (project / "infra.yaml").write_text(infra.replace("target: x86-64-v2", said), "utf-8")
        called = planner("validate", *FILES, folder=project)
        assert called.code == 2
        assert message in called.err, called.err


def test_what_is_wrong_with_the_options_is_said(project: Path) -> None:
    lend(project)
    for options, code, message in (
        (("--tracker", "192.0.2.7:9190"), 2, "neither passwords nor encryption"),
        (("--tracker", "9190"), 2, "expected HOST:PORT"),
        (("--insecure",), 2, "--insecure is for --tracker alone"),
        (("--tracker", "127.0.0.1:1"), 3, "no tracker answers at 127.0.0.1:1"),
        (("--device", "pi=cortex-a72"), 2, "--device is for a model alone"),
    ):
        called = planner("profile", *FILES, *options, folder=project)
        assert (called.code, called.out) == (code, "")
        assert message in called.err
    called = planner("profile", "judge.onnx", "--tracker", "127.0.0.1:1", folder=project)
    assert (called.code, called.out) == (3, "")
    assert "no tracker answers at 127.0.0.1:1" in called.err


@pytest.mark.deep
def test_an_application_is_profiled_on_a_lent_device_planned_and_compiled_for_it(project: Path) -> None:
    pytest.importorskip("tornado")  # what a tracker runs on
    lend(project)
    profile = ("profile", *FILES, "--budget", "0.05", "--format", "json")
    with lending("pi", 1) as lent:
        called = planner(*profile, "--tracker", str(lent.tracker), folder=project, timeout=400)
        assert called.code == 0, called.err
        again = planner(*profile, "--tracker", str(lent.tracker), folder=project, timeout=400)
    without = planner(*profile, folder=project, timeout=400)
    assert "hardware phone: its devices are lent: say --tracker HOST:PORT" in without.err
    result = json.loads(called.out)
    (record,) = (r for r in result["records"] if r["hardware"] == "phone")
    assert (record["provenance"], record["rpc"], record["backend"]) == ("measured", "pi", "tvm")
    assert record["host"].startswith("127.0.0.1:")
    assert any(
        "app.yaml:11:5: measure/default on phone" in p and "RPC cannot run functions" in p for p in result["problems"]
    ), result["problems"]
    assert json.loads(again.out)["measured"] == 0
    app = (project / "app.yaml").read_text("utf-8")
    pinned = app.replace("    function: steps:measure\n", "    function: steps:measure\n    at: {tier: cloud}\n")
    (project / "app.yaml").write_text(pinned, "utf-8")
    solved = planner("solve", *FILES, "--format", "json", folder=project)
    assert solved.code == 0, solved.err
    (chosen,) = (a for a in json.loads(solved.out)["assignments"] if a["component"] == "judge")
    assert (chosen["hardware"], chosen["artefact"]) == ("phone", record["artefact"])
    assert planner("compile", "plan.yaml", *FILES, folder=project, timeout=300).code == 0
    made = project / ".tierplan" / "store" / record["artefact"] / "artefact.json"
    assert json.loads(made.read_text())["target"]["mcpu"] == "x86-64-v2"
    (project / "infra.yaml").write_text((project / "infra.yaml").read_text("utf-8").replace("rpc: pi", "rpc: other"))
    other = planner("solve", *FILES, folder=project)
    assert other.code == 2
    assert "expected measured by RPC on a device 'other'" in other.err

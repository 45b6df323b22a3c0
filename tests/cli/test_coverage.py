"""`planner coverage` and `profile --against` on a real application: answers, exit codes, schemas."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from planner.cli import results
from specs.schema import MODELS, json_schema
from tests.cli.calling import planner
from tests.cli.conftest import judge

ALL = MODELS | results.MODELS
FLEET = """\
  board: {use: catalog/pi-zero-2w}
  crumb: {use: catalog/pi-zero-2w, memory: 1 kB}
fleets:
  users: [{hardware: phone, share: 70 %}, {hardware: board, share: 20 %}, {hardware: crumb, share: 10 %}]
"""


@pytest.fixture
def described(solved: Path) -> Path:
    """The solved project with a fleet: measured phones, boards nobody measured, and devices that are too small.

    The limit is a p50: a p99 takes more runs than the tests' profiles have.
    """
    app = solved / "app.yaml"
    app.write_text(app.read_text("utf-8").replace("p99: 500 ms", "p50: 500 ms"), "utf-8")
    file = solved / "infra.yaml"
    file.write_text(file.read_text("utf-8").replace("sites:\n", f"{FLEET}sites:\n", 1), "utf-8")
    return solved


def covered(folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    arguments = ("app.yaml", "--infra", "infra.yaml", "--no-compile", "-f", "json", *more)
    called = planner("coverage", *arguments, folder=folder)
    value: dict[str, Any] = json.loads(called.out)
    jsonschema.validate(value, json_schema(ALL["coverage"]))
    return called.code, value


def test_shares_are_certain_where_measured_possible_where_unknown_and_lost_where_memory_is_short(
    described: Path,
) -> None:
    code, value = covered(described)
    (row,) = value["rows"]
    assert code == 0
    assert (row["fleet"], row["component"], row["constraint"], row["limit_ms"]) == (
        "users",
        "judge",
        "answer_time",
        500,
    )
    assert (row["certain"], row["possible"]) == (pytest.approx(0.7), pytest.approx(0.9))
    gaps = {gap["hardware"]: gap for gap in row["gaps"]}
    assert (gaps["board"]["verdict"], gaps["board"]["reason"]) == ("possible", "not measured")
    assert (gaps["crumb"]["verdict"], gaps["crumb"]["reason"]) == ("no", "memory")
    assert "run it on" in gaps["crumb"]["change"]


@pytest.mark.parametrize(("least", "code", "said"), [("70%", 0, "yes"), ("85%", 4, "unknown"), ("0.95", 1, "no")])
def test_a_floor_is_kept_missed_or_not_known(described: Path, least: str, code: int, said: str) -> None:
    found, value = covered(described, "--min", least)
    assert (found, value["answer"]) == (code, said)


def test_a_limit_below_what_was_measured_says_by_how_much_it_is_missed(described: Path) -> None:
    file = described / "app.yaml"
    file.write_text(file.read_text("utf-8").replace("p50: 500 ms", "p50: 1 us"), "utf-8")
    code, value = covered(described, "--min", "50%")
    gaps = {gap["hardware"]: gap for gap in value["rows"][0]["gaps"]}
    assert code == 1
    assert gaps["phone"]["reason"] == "latency"
    assert "times what is allowed" in gaps["phone"]["detail"]
    assert "allow " in gaps["phone"]["change"]


def test_an_infrastructure_without_fleets_and_a_floor_that_is_none_are_the_users_errors(solved: Path) -> None:
    called = planner("coverage", "app.yaml", "--infra", "infra.yaml", folder=solved)
    assert (called.code, called.out) == (2, "")
    assert "describes no fleet" in called.err
    called = planner("coverage", "app.yaml", "--infra", "infra.yaml", "--min", "150%", folder=solved)
    assert called.code == 2
    assert "--min: expected a share" in called.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--component", "measure"), "no component 'measure' that is a model"),
        (("--variant", "larger"), "unknown variant 'larger'"),
    ],
)
def test_a_floor_asked_of_what_is_no_model_is_refused_and_not_kept(
    described: Path, arguments: tuple[str, ...], expected: str
) -> None:
    called = planner("coverage", "app.yaml", "--infra", "infra.yaml", "--min", "99%", *arguments, folder=described)
    assert (called.code, called.out) == (2, "")
    assert expected in called.err


def test_the_table_says_why_and_what_mends_it(described: Path) -> None:
    called = planner("coverage", "app.yaml", "--infra", "infra.yaml", "--no-compile", "--min", "95%", folder=described)
    assert called.code == 1
    lines = called.out.splitlines()
    at = lines.index("judge/default on crumb (10.0 % of users): no")
    assert lines[at + 1].startswith("  memory: needs ")
    assert lines[at + 2].startswith("  -> run it on ")
    assert lines[-1] == "at least 95 %: no"


@pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-gcc") is None, reason="needs gcc-aarch64-linux-gnu (Debian package)"
)
def test_a_model_compiles_for_a_class_that_nobody_measured_or_the_operator_is_the_reason(described: Path) -> None:
    """TVM alone is allowed: it compiles the softmax for the board, and has no LpNormalization."""
    file = described / "app.yaml"
    file.write_text(file.read_text("utf-8").replace("[onnxruntime]", "[tvm]"), "utf-8")
    model = judge()
    for name, verdict, reason in (("Softmax", "possible", "not measured"), ("LpNormalization", "no", "operator")):
        model.graph.node[1].op_type = name
        onnx.save(model, str(described / "judge.onnx"))
        called = planner("coverage", "app.yaml", "--infra", "infra.yaml", "-f", "json", folder=described)
        (row,) = json.loads(called.out)["rows"]
        gaps = {gap["hardware"]: gap for gap in row["gaps"]}
        assert (gaps["board"]["verdict"], gaps["board"]["reason"]) == (verdict, reason)
    assert "LpNormalization" in gaps["board"]["detail"]


def test_shares_that_do_not_add_up_are_refused_at_their_line(described: Path) -> None:
    file = described / "infra.yaml"
    file.write_text(file.read_text("utf-8").replace("share: 10 %", "share: 20 %"), "utf-8")
    called = planner("validate", "app.yaml", "--infra", "infra.yaml", folder=described)
    assert called.code == 2
    assert "the shares of fleet 'users' add up to 1.1; expected 1" in called.err


def test_a_previous_version_that_cannot_be_read_is_refused_before_anything_is_measured(project: Path) -> None:
    called = planner("profile", "judge.onnx", "--against", "gone.onnx", folder=project)
    assert (called.code, called.out) == (2, "")
    assert "gone.onnx" in called.err
    assert "measured" not in called.err


def test_a_model_alone_is_measured_and_compared_with_its_previous_version(project: Path) -> None:
    wider = judge()
    wider.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((4, 3), np.float32), "w"))
    wider.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    onnx.save(wider, str(project / "wider.onnx"))
    arguments = ("profile", "wider.onnx", "--against", "judge.onnx", "--budget", "0.02", "-f", "json")
    called = planner(*arguments, folder=project)
    value = json.loads(called.out)
    jsonschema.validate(value, json_schema(ALL["model-profile"]))
    assert {(r["backend"], r["threads"]) for r in value["rows"]} >= {("tvm", 1), ("onnxruntime", 1)}
    assert value["data"] == "random"
    assert all(0 < r["p50_ms"] <= r.get("p99_ms", r["p50_ms"]) for r in value["rows"])
    found = value["against"]
    assert found["interface"] == [{"kind": "output", "name": "verdict", "old": "f32[2]", "new": "f32[3]"}]
    assert found["compatible"] is False
    assert found["new_bytes"] - found["old_bytes"] == len(wider.SerializeToString()) - len(judge().SerializeToString())
    assert {(t["backend"], t["threads"]) for t in found["times"]} >= {("tvm", 1), ("onnxruntime", 1)}
    for time in found["times"]:
        assert time["ratio"] == pytest.approx(time["new_ms"] / time["old_ms"], rel=1e-4)

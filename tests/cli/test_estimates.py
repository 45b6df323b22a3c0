"""`planner profile --estimate` on a real application, and what takes its records up: solve, hub, coverage, compile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest

from compiler.given import Given
from planner.cli import results
from planner.cli.profiling.catalogue import on_catalogue
from specs.catalogue import catalogue
from specs.plan import read_plan
from specs.profile import Record, read_records
from specs.schema import MODELS, json_schema
from tests.cli.calling import Called, planner
from tests.cli.conftest import judge

ALL = MODELS | results.MODELS
FILES = ("app.yaml", "--infra", "infra.yaml")
BOARD = """\
  board: {use: catalog/pi-zero-2w}
  nameless: {cores: 1}
fleets:
  users: [{hardware: phone, share: 70 %}, {hardware: board, share: 20 %}, {hardware: nameless, share: 10 %}]
"""


@pytest.fixture
def described(solved: Path) -> Path:
    """The solved project, with a fleet of which a class is in the catalogue, and one is nowhere."""
    app = solved / "app.yaml"
    app.write_text(app.read_text("utf-8").replace("p99: 500 ms", "p50: 500 ms"), "utf-8")
    file = solved / "infra.yaml"
    file.write_text(file.read_text("utf-8").replace("sites:\n", f"{BOARD}sites:\n", 1), "utf-8")
    return solved


def estimated(folder: Path) -> tuple[Called, dict[str, Any]]:
    called = planner("profile", *FILES, "--estimate", "-f", "json", folder=folder)
    value: dict[str, Any] = json.loads(called.out)
    jsonschema.validate(value, json_schema(ALL["profiling"]))
    return called, value


def on_board(folder: Path) -> list[Record]:
    return [r for r in read_records(folder / "profiles") if r.provenance == "estimated"]


def test_other_hardware_gets_estimates_once_and_what_stands_in_for_it_is_measured(described: Path) -> None:
    called, value = estimated(described)
    assert called.code == 0
    found = on_board(described)
    assert value["estimated"] == len(found)
    assert {r.hardware for r in found} == {"board"}
    assert {(r.backend, r.threads) for r in found} == {
        ("onnxruntime", 1),
        ("onnxruntime", 2),
        ("onnxruntime", 4),
        ("python", 1),
    }
    assert any("hardware 'nameless': nothing is known of its speed (use: catalog/NAME" in p for p in value["problems"])
    _, again = estimated(described)
    assert (again["estimated"], len(on_board(described))) == (0, len(found))


def test_an_estimate_with_its_whole_interval_inside_the_limit_is_certain_in_coverage(described: Path) -> None:
    arguments = ("coverage", *FILES, "--no-compile", "-f", "json")
    before = json.loads(planner(*arguments, folder=described).out)["rows"][0]
    estimated(described)
    after = json.loads(planner(*arguments, folder=described).out)["rows"][0]
    assert (before["certain"], after["certain"]) == (pytest.approx(0.7), pytest.approx(0.9))
    assert after["possible"] == pytest.approx(1.0)
    high = max(r.service.quantiles["0.5"] for r in on_board(described) if r.backend == "onnxruntime" and r.threads == 4)
    low = min(r.latency.quantiles["0.5"] * r.interval[0] for r in on_board(described) if r.interval)
    limit = 1e6 * (low + high) / 2
    app = described / "app.yaml"
    app.write_text(app.read_text("utf-8").replace("p50: 500 ms", f"p50: {limit:.0f} us"), "utf-8")
    called = planner(*arguments, "--min", "99%", folder=described)
    gaps = {gap["hardware"]: gap for gap in json.loads(called.out)["rows"][0]["gaps"]}
    assert (called.code, gaps["board"]["verdict"]) in ((4, "possible"), (1, "possible"))
    assert "measure it there" in gaps["board"]["change"]


def test_the_hub_shows_how_far_off_an_estimate_may_be(described: Path) -> None:
    estimated(described)
    arguments = ("hub", "--app", *FILES, "--where", "hardware=board")
    value = json.loads(planner(*arguments, "-f", "json", folder=described).out)
    jsonschema.validate(value, json_schema(ALL["hub"]))
    rows = [row for row in value["rows"] if row["backend"] == "onnxruntime"]
    assert all(row["provenance"] == "estimated" and row["interval"][0] < 1 < row["interval"][1] for row in rows)
    said = planner(*arguments, folder=described).out
    assert "estimated: nobody ran it there" in said
    assert " x0." in said or "±" in said


@pytest.fixture
def relying(described: Path) -> Path:
    """The cloud's server is one of the catalogue that nobody has measured; phones are of no use."""
    file = described / "infra.yaml"
    text = file.read_text("utf-8").replace(
        "server: {cores: 1, memory: 2 GB, price: 0.1/h, emulate: {cpu: 1}}", "server: {use: catalog/aws-c7g-large}"
    )
    file.write_text(text.replace("devices: 1, owned: true", "devices: 0, owned: true"), "utf-8")
    return described


def test_a_plan_on_estimates_says_so_counts_on_their_upper_ends_and_is_not_compiled(relying: Path) -> None:
    called = planner("solve", *FILES, "-o", "plan.yaml", folder=relying)
    assert called.code == 2
    assert "on hardware 'server'" in called.err
    assert "profile --estimate estimates it" in called.err
    estimated(relying)
    called = planner("solve", *FILES, "-o", "plan.yaml", folder=relying)
    assert called.code == 0, called.err
    assert "estimated: nobody ran it on server; the upper ends of their 90 % intervals count" in " ".join(
        called.out.split()
    )
    plan = read_plan(relying / "plan.yaml")
    assert {a.provenance for a in plan.assignments} == {"estimated"}
    known = {r.digest: r for r in read_records(relying / "profiles")}
    counted = sum(1000 * known[a.record].service.quantiles["0.5"] for a in plan.assignments)
    assert plan.paths[0].predicted.p50_ms > counted * 0.9 > 0
    called = planner("verify", "plan.yaml", *FILES, folder=relying)
    assert called.code == 0, called.out + called.err
    called = planner("compile", "plan.yaml", *FILES, folder=relying)
    assert called.code == 2
    assert "nobody ran it on 'server': the plan rests on an estimate there" in called.err


def test_a_model_alone_is_estimated_on_the_whole_catalogue_the_fastest_first(tmp_path: Path) -> None:
    file = tmp_path / "judge.onnx"
    onnx.save(judge(), str(file))
    found = on_catalogue(Given(str(file), file, "digest"))
    rows = {row.name: row for row in found}
    assert set(rows) == set(catalogue().entries)
    assert [row.p50_ms for row in found] == sorted(row.p50_ms for row in found)
    assert all(row.low_ms < row.p50_ms < row.high_ms for row in found)
    assert rows["pi-zero-2w"].p50_ms > rows["pi-5-8gb"].p50_ms
    assert rows["cortex-a53x4"].cost_per_1000 is None
    cheap, dear = rows["pi-5-4gb"], rows["pi-5-16gb"]
    assert cheap.cost_per_1000 is not None
    assert dear.cost_per_1000 == pytest.approx(cheap.cost_per_1000 * 120 / 60)

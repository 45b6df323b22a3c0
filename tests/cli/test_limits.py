"""Throughput and the share answered, from the YAML to what the verbs print."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from specs.plan import read_plan
from tests.cli.calling import planner

FILES = ("app.yaml", "--infra", "infra.yaml")
MORE = """\
  crowd: {throughput: ">= 8/s"}
  answered: {from: ask, to: answer, share: ">= 99 %"}
"""


@pytest.fixture
def limited(solved: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "limited"
    shutil.copytree(solved, folder)
    text = (folder / "app.yaml").read_text("utf-8")
    (folder / "app.yaml").write_text(text.replace("objective:", f"{MORE}objective:"), "utf-8")
    return folder


def test_what_is_asked_is_solved_verified_and_simulated(limited: Path) -> None:
    called = planner("solve", *FILES, "-o", "plan.yaml", folder=limited)
    assert called.code == 0, called.err
    assert "times the peak of all sources; then" in called.out
    assert "crowd asks for 8/s" in called.out
    plan = read_plan(limited / "plan.yaml")
    values = {c.name: (c.value, c.unit) for c in plan.constraints}
    assert values["crowd"][0] >= 8
    assert values["crowd"][1] == "/s"
    assert values["answered"][0] == pytest.approx(1, abs=0.01)
    assert values["answered"][1] == "share"
    verified = planner("verify", "plan.yaml", *FILES, folder=limited)
    assert verified.code == 0, verified.err
    played = planner("simulate", "plan.yaml", *FILES, "--requests", "4000", folder=limited)
    assert played.code == 0, played.err
    assert "share answered, answered: 100.0000%" in played.out

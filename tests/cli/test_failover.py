"""The plans without a site that `planner deploy` keeps: solved again, with bundles of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.cli.failover import Alternatives, find_alternatives
from planner.cli.output import Progress
from runtime.bundle import open_bundle
from tests.cli.calling import planner


def found_in(folder: Path) -> Alternatives:
    bundle = open_bundle(folder / "bundle")
    assert {a.site for a in bundle.plan.assignments} == {"phones"}
    with Progress() as progress:
        store = folder / ".tierplan" / "store"
        return find_alternatives(bundle, folder / "app.yaml", folder / "profiles", store, 20, progress)


def test_deploy_has_a_bundle_for_each_site_that_can_be_done_without(
    solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found_in(solved).plans == {}, "two devices in the cloud are beyond the budget"
    assert "without phones: no plan keeps all constraints" in capsys.readouterr().err
    app = solved / "app.yaml"
    app.write_text(app.read_text("utf-8").replace("<= 100 USD", "<= 200 USD"), "utf-8")
    assert planner("solve", "app.yaml", "--infra", "infra.yaml", folder=solved).code == 0
    assert planner("compile", "plan.yaml", "app.yaml", "--infra", "infra.yaml", folder=solved).code == 0
    found = found_in(solved)
    plan = found.plans["phones"]
    assert {a.site for a in plan.assignments} == {"cloud"}
    assert found.write is not None
    found.write(plan, tmp_path / "without")
    made = open_bundle(tmp_path / "without")
    assert made.plan.digest == plan.digest
    assert {e.component for e in made.manifest.artefacts} == {"measure", "judge"}


def test_alternatives_that_are_asked_for_and_cannot_be_found_are_refused(solved: Path) -> None:
    called = planner("deploy", "bundle", "--alternatives", "--app", "app.yaml", "--profiles", "nowhere", folder=solved)
    assert called.code == 2
    assert "alternatives cannot be found: there is no folder nowhere" in called.err

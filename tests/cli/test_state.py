"""`planner deploy` and `export` of what keeps state: which folder is to keep it, and what cannot be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.cli.status.view import state_text
from runtime.deployment.record import Record, write_record
from specs.deployment_status import StateStatus
from tests.cli.calling import planner
from tests.runtime.remembering import counting_project
from tests.runtime.sample import copy_project, make_bundle, make_plan


@pytest.fixture
def remembering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    project = counting_project(tmp_path, "bases")
    make_bundle(tmp_path, make_plan(project, {"counter": ("bases", "rack")}), project)
    return tmp_path


def test_the_folder_that_keeps_it_must_be_given(remembering: Path) -> None:
    called = planner("deploy", "bundle", folder=remembering)
    assert called.code == 2
    assert "counter keeps state: say which folder is to keep it (--state DIR" in called.err
    assert not (remembering / "state").exists()


def test_two_deployments_do_not_share_it(remembering: Path) -> None:
    write_record(Record(name="first", plan="p", bundle="b", state=str(remembering / "kept")))
    called = planner("deploy", "bundle", "--state", "kept", folder=remembering)
    assert called.code == 2
    assert "kept: kept keeps what first remembers (give another folder)" in called.err


def test_without_state_there_is_nothing_to_keep(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    make_bundle(tmp_path, make_plan(project), project)
    called = planner("deploy", "bundle", "--state", "kept", folder=tmp_path)
    assert called.code == 2
    assert "--state is given, but no component keeps state" in called.err


def test_an_export_is_refused_with_the_line(remembering: Path) -> None:
    called = planner("export", "bundle", "--to", "compose", "-o", "out", folder=remembering)
    assert called.code == 2
    assert "app.yaml:" in called.err
    assert "not supported yet: an export of what keeps state (planner deploy --state DIR" in called.err
    assert not (remembering / "out").exists()


def test_status_says_how_old_a_checkpoint_is_and_why_there_is_no_newer_one() -> None:
    kept = StateStatus(component="counter", in_force=True, size=1234, age_s=7.2, changed=True, problem="disk full")
    assert state_text("bases-0", kept) == (
        "counter at bases-0: checkpoint of 1,234 B 7 s ago, changed since; disk full"
    )
    quiet = kept.model_copy(update={"changed": False, "problem": ""})
    assert state_text("bases-0", quiet).endswith("7 s ago, nothing has changed since")
    waiting = kept.model_copy(update={"in_force": False})
    assert state_text("bases-0", waiting) == "counter at bases-0: waits for what it is to remember"

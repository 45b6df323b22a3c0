"""Files and deployments of another version of tierplan: one clear line with the way out, never a guess."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.deployment.record import RECORD, VERSION, Record, read_record, state_root, write_record
from specs.errors import EnvironmentFailed, InputError
from tests.cli.calling import planner

ON = ("app.yaml", "--infra", "infra.yaml")


@pytest.mark.parametrize(
    ("file", "kind", "verb", "said"),
    [
        ("app.yaml", "app", ("validate", *ON), "app.yaml:1:1: "),
        ("infra.yaml", "infra", ("validate", *ON), "infra.yaml:1:1: "),
        ("plan.yaml", "plan", ("verify", "plan.yaml", *ON), "make it again with `planner solve`"),
        ("bundle/manifest.json", "bundle", ("run", "bundle"), "make it again with `planner compile`"),
        ("profiles/profiles.jsonl", "profile", ("solve", *ON), "profiles.jsonl:1:1: "),
        ("profiles/behaviour.jsonl", "behaviour", ("solve", *ON), "remove the file and profile again"),
        ("profiles/hops.jsonl", "hop", ("solve", *ON), "remove the file and profile again"),
    ],
)
def test_a_file_of_another_version_is_refused_by_its_name(
    solved: Path, file: str, kind: str, verb: tuple[str, ...], said: str
) -> None:
    text = (solved / file).read_text("utf-8")
    (solved / file).write_text(text.replace(f"tierplan.{kind}/v1", f"tierplan.{kind}/v7"), "utf-8")
    called = planner(*verb, folder=solved)
    assert (called.code, called.out) == (2, "")
    expected = f"this is of another version of tierplan: expected 'tierplan.{kind}/v1', got 'tierplan.{kind}/v7'"
    (line,) = called.err.splitlines()
    assert expected in line
    assert said in line


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record of a deployment whose processes are gone."""
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    write_record(Record(name="shop", plan="p" * 16, bundle=str(tmp_path / "bundle")))
    return state_root() / "shop" / RECORD


@pytest.mark.parametrize("change", [{"version": None}, {"version": VERSION + 1}, {"version": VERSION + 1, "new": 1}])
def test_a_deployment_of_another_version_is_told_with_the_way_out(
    deployed: Path, change: dict[str, int | None]
) -> None:
    kept = json.loads(deployed.read_bytes()) | change
    deployed.write_text(json.dumps({k: v for k, v in kept.items() if v is not None}), "utf-8")
    status = planner("status", "shop", folder=deployed.parent)
    assert (status.code, status.out) == (3, "")
    assert "error: shop was deployed by another version of tierplan" in status.err
    assert "planner undeploy shop" in status.err
    gone = planner("undeploy", "shop", folder=deployed.parent.parent)
    assert gone.code == 0, gone.err
    assert not deployed.exists()


def test_a_record_of_this_version_is_read(deployed: Path) -> None:
    record = read_record("shop")
    assert record is not None
    assert record.version == VERSION
    deployed.write_text(json.dumps({"schema": "tierplan.deployment/v1", "version": VERSION}), "utf-8")
    with pytest.raises(InputError, match="not a deployment's record"):
        read_record("shop")
    deployed.write_text(json.dumps({"schema": "tierplan.deployment/v2", "version": VERSION + 1}), "utf-8")
    with pytest.raises(EnvironmentFailed, match="another version"):
        read_record("shop")

"""`planner init` writes an application that is right as it stands, and overwrites nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.calling import planner


def test_what_init_writes_is_valid(tmp_path: Path) -> None:
    assert planner("init", "shop", folder=tmp_path).code == 0
    called = planner("validate", "shop/app.yaml", "--infra", "shop/infra.yaml", folder=tmp_path)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("shop is valid")


@pytest.mark.parametrize(("folder", "name"), [("my shop", "my-shop"), ("9 lives", "starter"), ("x" * 200, "x" * 63)])
def test_the_application_is_named_like_its_folder_where_that_can_be_a_name(
    tmp_path: Path, folder: str, name: str
) -> None:
    assert planner("init", folder, folder=tmp_path).code == 0
    called = planner("validate", "app.yaml", "--infra", "infra.yaml", folder=tmp_path / folder)
    assert called.out.startswith(f"{name} is valid")


def test_init_shows_the_whole_road(tmp_path: Path) -> None:
    """Every verb of it in order, as a line that can be pasted: never broken in two."""
    lines = planner("init", "my shop", folder=tmp_path).out.splitlines()
    steps = [line.split() for line in lines[lines.index("next:") + 1 :]]
    assert [step[:2] for step in steps] == [
        ["planner", verb]
        for verb in ("validate", "profile", "solve", "verify", "compile", "run", "report", "deploy", "undeploy")
    ]
    assert all("'my" in step for step in steps[:-1])
    assert steps[-1][2:] == ["my-shop"]


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "app.yaml").write_text("mine")
    called = planner("init", ".", folder=tmp_path)
    assert called.code == 2
    assert "app.yaml: the file exists already" in called.err
    assert len(called.err.splitlines()) == 1
    assert (tmp_path / "app.yaml").read_text() == "mine"
    assert not (tmp_path / "infra.yaml").exists()


def test_init_answers_in_json(tmp_path: Path) -> None:
    called = planner("init", "x", "--format", "json", folder=tmp_path)
    answer = json.loads(called.out)
    assert answer["schema"] == "tierplan.init/v1"
    assert all((tmp_path / "x" / name).is_file() for name in answer["files"])

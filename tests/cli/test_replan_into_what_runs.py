"""The loop: the service times of what is deployed change, `replan` moves a component, `deploy --move` makes it so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.client import Client
from specs.plan import read_plan
from tests.cli.calling import planner
from tests.cli.runs import write_run
from tests.runtime.processes import until

pytestmark = pytest.mark.deep  # a cluster, and six commands


def done(folder: Path, *arguments: str) -> dict[str, Any]:
    called = planner(*arguments, "--format", "json", folder=folder, timeout=300)
    assert called.code == 0, called.err
    value: dict[str, Any] = json.loads(called.out)
    return value


@contextmanager
def asking(url: str) -> Iterator[list[bytes]]:
    """One client asks the same again and again; the answers so far. One that fails fails the test."""
    client, answers, stop = Client(url, "tiny"), list[bytes](), threading.Event()
    failed: list[Exception] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(np.asarray(client.infer({"text": "HELP NOW!"}).outputs["verdict"]).tobytes())
            except Exception as error:
                failed.append(error)
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
    assert not failed, failed


def where(folder: Path, plan: str, component: str) -> str:
    return next(a.site for a in read_plan(folder / plan).assignments if a.component == component)


def test_what_was_observed_becomes_what_runs(solved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERPLAN_STATE", str(solved / "state"))
    try:
        first = done(solved, "deploy", "bundle", "--no-shape", "--no-alternatives")
        write_run(solved, {"measure": 30_000.0})
        done(
            solved,
            "replan",
            "plan.yaml",
            "app.yaml",
            "--infra",
            "infra.yaml",
            "--observed",
            "run.json",
            "-o",
            "new.yaml",
        )
        assert (where(solved, "plan.yaml", "measure"), where(solved, "new.yaml", "measure")) == ("phones", "cloud")
        done(solved, "compile", "new.yaml", "app.yaml", "--infra", "infra.yaml", "-o", "new")
        door = next(m["http"] for m in first["members"] if m["models"])
        refused = planner("deploy", "new", "--no-shape", "--no-alternatives", folder=solved)
        assert (refused.code, "--move" in refused.err) == (2, True)
        with asking(door) as answers:
            moved = done(solved, "deploy", "new", "--no-shape", "--no-alternatives", "--app", "app.yaml", "--move")
            assert moved["plan"] == read_plan(solved / "new.yaml").digest != first["plan"]
            before = len(answers)
            assert until(lambda: len(answers) >= before + 10, 60)
        assert len(set(answers)) == 1
        status = done(solved, "status")
        assert {s["member"] for s in status["stages"] if s["name"] == "measure"} == {"cloud-0"}
        assert "moving" not in status
    finally:
        assert planner("undeploy", "tiny", folder=solved, timeout=120).code == 0

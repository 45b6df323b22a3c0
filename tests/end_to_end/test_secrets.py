"""A deployment on Ray gives a secret to the process of its function, and nothing else keeps it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.client import Client
from runtime.cluster.keeper import store_of
from runtime.deployment.local import nodes_folder
from tests.runtime.sample import copy_project, make_bundle, make_items, make_plan

SECRET = "s3cr3t-of-a-deployment"
OWN = "function: pictures.steps:decide"
WRAPPED = """def decide(**given):
    import os
    print("asked with", os.environ["KEY"], flush=True)
    return _decide(**given)


def _decide("""


def holding(text: bytes, folder: Path) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and not f.is_symlink() and text in f.read_bytes()]


@pytest.mark.deep
def test_only_the_function_s_own_process_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    project = copy_project(tmp_path, app=(OWN, f"{OWN}\n    secrets: [KEY]"), steps=("def decide(", WRAPPED))
    make_bundle(tmp_path, make_plan(project), project)
    said = ""

    def planner(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        nonlocal said
        command = [sys.executable, "-m", "planner.cli.entry", *arguments]
        told = {**os.environ, **environment}
        done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=240, check=False)
        said += done.stdout + done.stderr
        return done

    missing = planner("deploy", str(tmp_path / "bundle"), "--no-shape")
    assert missing.returncode == 2
    assert "the secret KEY of 'decide' is not given" in missing.stderr
    try:
        done = planner("deploy", str(tmp_path / "bundle"), "--no-shape", KEY=SECRET)
        assert done.returncode == 0, done.stderr
        status = json.loads(planner("status", "--format", "json").stdout)
        door = next(m["http"] for m in status["members"] if m["member"] == "phones-0")
        client = Client(door, status["name"])
        answers = [client.infer(item.values) for item in make_items(5)]
        assert [list(answer.outputs) for answer in answers] == [["verdict"]] * 5
        planner("status")
        ray = nodes_folder(status["name"])
        assert holding(b"asked with ***", ray)  # what it printed is in the log of its host, without the secret
        assert [f for folder in (ray, tmp_path) for f in holding(SECRET.encode(), folder)] == []
        store = Path(store_of(str(ray)))  # Ray's own, in memory
        assert store.stat().st_mode & 0o077 == 0
        assert SECRET not in said
        with_it = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if SECRET.encode() in (process / "environ").read_bytes():
                    with_it.append((process / "cmdline").read_bytes())
            except OSError:
                continue
        assert with_it
        assert all(b"runtime.stages.isolated_worker" in command for command in with_it)
    finally:
        planner("undeploy", "sample")
    assert not store.exists()

"""A bundle is deployed, asked over both protocols, watched, broken, mended and ended; nothing is left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc
import tritonclient.http

from runtime.bundle import Bundle
from runtime.deployment.local import keeper_of, nodes_folder
from runtime.hosting.opening import open_references
from runtime.topology import topology
from runtime.values import equal
from tests.cli.calling import Called, planner
from tests.cli.test_watch import Terminal, answered
from tests.runtime.observe.receiver import attributes, receiving
from tests.runtime.processes import in_folder, until
from tests.runtime.sample import make_bundle, make_items, make_slice

pytestmark = pytest.mark.deep  # minutes of starting and ending clusters

NAME = "sample"


@dataclass(frozen=True)
class Deployed:
    folder: Path
    bundle: Bundle

    def call(self, *arguments: str) -> Called:
        return planner(*arguments, folder=self.folder, timeout=600)  # nodes start slowly on a busy machine

    def deploy(self, *arguments: str) -> Called:
        return self.call("deploy", "bundle", "--name", NAME, "--no-shape", "--format", "json", *arguments)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("status", NAME, "--format", "json").out)
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    world = Deployed(tmp_path, make_bundle(tmp_path))
    yield world
    nodes = nodes_folder(NAME)
    ended = world.call("undeploy", NAME)
    assert ended.code == 0, ended.err
    assert keeper_of(NAME) is None
    assert until(lambda: not in_folder(str(nodes)) and not nodes.exists(), 60)
    assert list((tmp_path / "state").iterdir()) == []


def listening() -> set[int]:
    return {c.laddr.port for c in psutil.net_connections("tcp") if c.status == "LISTEN"}


def door(status: dict[str, Any]) -> tuple[str, str]:
    """HTTP and gRPC as host:port."""
    member = next(m for m in status["members"] if m["models"])
    return member["http"].partition("://")[2], member["grpc"]


def ask(client: Any, module: Any, values: Any) -> Any:
    given = []
    for name, value in values.items():
        tensor = module.InferInput(name, [1], "BYTES")
        tensor.set_data_from_numpy(np.array([value.encode() if isinstance(value, str) else value], dtype=object))
        given.append(tensor)
    return client.infer("sample", given).as_numpy("verdict")


def test_a_deployed_bundle_answers_as_the_reference_and_leaves_nothing(world: Deployed) -> None:
    before = listening()
    first = world.deploy()
    assert first.code == 0, first.err
    status = json.loads(first.out)
    assert status["schema"] == "tierplan.status/v1"
    assert status["state"] == "serving"
    http, grpc = door(status)
    top = topology(
        world.bundle.plan, world.bundle.app.value, world.bundle.infra.value, make_slice(members={"phones": 1})
    )
    reference = open_references(world.bundle, top)["upload@phones"]
    with (
        tritonclient.http.InferenceServerClient(http) as over_http,
        tritonclient.grpc.InferenceServerClient(grpc) as over_grpc,
    ):
        for item in make_items(40):
            expected = reference.run(item).answers["answer"]["verdict"]
            assert equal(ask(over_http, tritonclient.http, item.values), expected)
            assert equal(ask(over_grpc, tritonclient.grpc, item.values), expected)

    seen = world.status()
    assert seen["requests"] == {"answered": 80}
    assert [p["n"] for p in seen["paths"]] == [80]
    assert {s["name"] for s in seen["stages"] if s["kind"] == "stage"} >= {"shrink", "vision", "decide"}
    logs = (world.folder / "state" / NAME / "logs" / "phones-0.jsonl").read_text().splitlines()
    assert len(logs) == 80

    again = world.deploy()
    assert again.code == 0, again.err
    assert "was deployed already" in again.err
    assert door(json.loads(again.out)) == (http, grpc)
    other = world.deploy("--deadline", "5")
    assert other.code == 2
    assert "another plan or other options" in other.err
    assert "is gone" in world.call("undeploy", NAME).out
    assert until(lambda: listening() <= before, 60)
    assert "was not deployed" in world.call("undeploy", NAME).out
    missing = world.call("status", NAME)
    assert missing.code == 2
    assert "nothing is deployed" in missing.err


def test_a_host_that_died_is_started_again_and_a_cluster_that_died_is_told_as_down(world: Deployed) -> None:
    assert world.deploy().code == 0
    keeper = keeper_of(NAME)
    assert keeper is not None
    hosts = [p for p in keeper.children(recursive=True) if "DeployedHost" in " ".join(p.cmdline())]
    assert len(hosts) == 3
    hosts[0].kill()
    assert world.deploy().code == 0
    status = world.status()
    assert status["state"] == "serving"
    with tritonclient.http.InferenceServerClient(door(status)[0]) as client:
        assert ask(client, tritonclient.http, make_items(1)[0].values) is not None

    keeper.kill()  # the worst: nobody is left to clean up
    assert world.status()["state"] == "down"


KILLED = """
import os, signal, sys, threading
from runtime.bundle import open_bundle
from runtime.deployment.deploy import Wanted, bundle_path, deploy
from runtime.deployment.record import Record
from specs.digest import digest_file
from tests.runtime.sample import make_items

step, seconds = sys.argv[1], float(sys.argv[2])

def tell(now):
    if now == step:
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()

bundle = open_bundle("bundle")
manifest = digest_file("bundle/manifest.json")
record = Record(name="sample", plan=bundle.plan.digest, bundle=bundle_path(bundle), manifest=manifest, shape=False)
deploy(Wanted(bundle, record, make_items(2)), tell)
"""
"""Deploys, and dies so many seconds after it begins with a step."""


def test_a_deploy_that_was_killed_in_any_step_is_taken_up_by_the_next(world: Deployed) -> None:
    draw = random.Random(1)
    died = []
    for step in ("nodes", "nodes", "hosts", "hosts", "warming up", "doors"):
        seconds = draw.uniform(0.0, 3.0 if step in ("nodes", "hosts") else 0.3)
        command = [sys.executable, "-c", KILLED, step, str(seconds)]
        done = subprocess.run(command, cwd=world.folder, stderr=subprocess.DEVNULL, timeout=300, check=False)
        died.append(done.returncode)
        told = world.call("status", NAME, "--format", "json")
        if told.code in (0, 1):
            states = [m["state"] for m in json.loads(told.out)["members"]]
            assert (told.code == 0) == (states == ["ready"] * 3), f"killed {seconds:.2f} s into {step}"
        else:  # while nodes start
            assert told.code == 3, told.err
    assert died[:4] == [-signal.SIGKILL] * 4
    second = world.deploy()
    assert second.code == 0, second.err
    status = json.loads(second.out)
    assert status["state"] == "serving"
    with tritonclient.http.InferenceServerClient(door(status)[0]) as client:
        assert ask(client, tritonclient.http, make_items(1)[0].values) is not None


def test_a_deployment_sends_traces_writes_only_errors_and_is_watched_in_a_terminal(world: Deployed) -> None:
    with receiving() as receiver:
        deployed = world.deploy("--trace", receiver.endpoint, "--trace-sample", "1", "--log", "errors")
        assert deployed.code == 0, deployed.err
        with tritonclient.http.InferenceServerClient(door(json.loads(deployed.out))[0]) as client:
            for item in make_items(5):
                ask(client, tritonclient.http, item.values)
        assert until(lambda: len(receiver.traces()) == 5, 60)
        members = {attributes(span)["tierplan.member"] for span in receiver.spans if span.parent_span_id}
        assert members == {"phones-0", "bases-0", "cloud-0"}
        terminal = Terminal(sys.executable, "-m", "planner.cli.entry", "status", NAME, "--watch")
        try:
            screen = terminal.until(lambda s: answered(s) == 5)
            assert "sample: serving" in screen
            os.write(terminal.master, b"q")
            assert terminal.process.wait(20) == 0
        finally:
            terminal.close()
        log = world.folder / "state" / NAME / "logs" / "phones-0.jsonl"
        assert log.read_text() == ""

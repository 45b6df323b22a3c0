"""Whole runs on Ray: hosts as actors on labelled nodes, on clusters of our own and on one that is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.cluster.connection import NOT_STARTED, Connection
from runtime.cluster.hosts import START_LIMIT, RayHosts
from runtime.running.run import Execution, Progress, execute
from runtime.values import Value
from specs.errors import EnvironmentFailed, InputError
from tests.runtime.fan_out import by_hand as letters
from tests.runtime.fan_out import fan_out_bundle
from tests.runtime.processes import alive, children, folders, in_folder, until
from tests.runtime.sample import copy_project, make_bundle, make_items, make_plan, make_prediction, make_slice
from tests.runtime.test_reference import by_hand

ROOT = Path(__file__).parents[2]
SITES = {"phones-0": "edge", "phones-1": "edge", "bases-0": "base_station", "cloud-0": "cloud"}


def ray_start(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=0", "--disable-usage-stats"]
    limits = ["--object-store-memory=80000000", "--include-log-monitor=false"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [*command, *limits, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def existing() -> Iterator[str]:
    """The address of a cluster that somebody started with `ray start`, a node for each member of `SITES`."""
    folder = tempfile.mkdtemp(prefix="rs-", dir="/tmp")
    port = free_port()
    ip = "--node-ip-address=127.0.0.2"
    try:
        labels = iter(f"--labels=site={site},tier={tier}" for site, tier in SITES.items())
        ray_start("--head", f"--port={port}", "--include-dashboard=false", ip, f"--temp-dir={folder}", next(labels))
        for label in labels:  # one by one: nodes of one folder that start at once take each other's names
            ray_start(f"--address=127.0.0.2:{port}", ip, label)
        yield f"127.0.0.2:{port}"
    finally:
        started = in_folder(folder)
        started |= {child for pid in started for child in children(pid)}
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(started), 60)
        shutil.rmtree(folder, ignore_errors=True)


def go(folder: Path, count: int, address: str | None, **changes: Any) -> Execution:
    """Run the sample application, whose functions are those of `folder`/project where that exists."""
    options = {k: changes.pop(k) for k in ("deadline", "shape", "on_progress") if k in changes}
    project = folder / "project" if (folder / "project").exists() else copy_project(folder)
    bundle = make_bundle(folder, make_plan(project), project)
    part = make_slice(requests=count, **changes)
    return execute(bundle, part, make_items(40), make_prediction(bundle, part), address=address, **options)


def test_an_existing_cluster_answers_500_requests_as_the_reference_does(tmp_path: Path, existing: str) -> None:
    done = go(tmp_path, 500, existing, multiplier=4)
    requests = done.result.requests
    assert (requests.sent, requests.answered, requests.wrong, requests.lost) == (500, 500, 0, 0)
    items = make_items(40)
    for entry in done.log:
        verdict: Value = entry.answers["answer"]["verdict"]
        assert verdict.tolist() == [by_hand(items[entry.item], "small")[0]]  # type: ignore[union-attr]
    by_name = {s.name: s for s in done.result.stages}
    assert by_name["shrink -> vision"].service_measured.p50_ms > 5
    assert by_name["shrink"].n == 500
    assert by_name["language"].n == by_name["tokens -> language"].n > 0


def test_a_host_that_dies_fails_its_requests_with_the_reason_and_loses_none(
    tmp_path: Path, existing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RayHosts] = []
    create = RayHosts.__init__

    def remember(self: RayHosts, *arguments: Any, **named: Any) -> None:
        create(self, *arguments, **named)
        made.append(self)

    monkeypatch.setattr(RayHosts, "__init__", remember)
    killed: list[str] = []

    def kill(progress: Progress) -> None:
        """Once, when some are answered and most are to come, however slow this machine is."""
        if progress.counts.get("answered", 0) > 20 and not killed:
            import ray

            killed.append("cloud-0")
            ray.kill(made[0]._actors["cloud-0"])

    done = go(tmp_path, 200, existing, deadline=2.0, on_progress=kill)
    requests = done.result.requests
    assert killed
    assert requests.lost == 0
    assert requests.failed > 5
    assert requests.answered > 20
    assert requests.answered + requests.failed == requests.sent == 200
    assert all("cloud-0" in reason for reason in done.reasons)
    items = make_items(40)
    assert all(not by_hand(items[e.item], "small")[1] for e in done.log if e.status == "failed")


def test_a_cluster_runs_items_of_a_request_apart_and_answers_with_all_of_them(tmp_path: Path, existing: str) -> None:
    bundle, part = fan_out_bundle(tmp_path), make_slice(requests=200, multiplier=2)
    prediction = make_prediction(bundle, part)
    paths = (prediction.paths[0],)
    done = execute(bundle, part, make_items(40), prediction.model_copy(update={"paths": paths}), address=existing)
    requests = done.result.requests
    assert (requests.sent, requests.answered, requests.wrong, requests.lost) == (200, 200, 0, 0)
    items = make_items(40)
    kinds = [len(letters(str(items[entry.item].values["caption"]))[0]) for entry in done.log]
    by_name = {s.name: s for s in done.result.stages}
    assert by_name["classify"].n == by_name["check"].n == sum(kinds)


def test_a_search_for_garbage_among_all_that_was_loaded_holds_up_no_request(tmp_path: Path, existing: str) -> None:
    left_out = tmp_path / "left_out"
    left_out.mkdir()
    noting = (
        f"    import gc, os, pathlib\n    pathlib.Path({str(left_out)!r}, str(os.getpid())).write_text("
        "str(gc.get_freeze_count()))\n"
    )
    begin = "def shrink(photo: bytes) -> dict[str, Any]:\n"
    copy_project(tmp_path, steps=(begin, begin + noting))
    assert go(tmp_path, 20, existing).result.requests.answered == 20
    hosts = [int(f.read_text("utf-8")) for f in left_out.iterdir() if f.name != str(os.getpid())]
    assert hosts
    assert min(hosts) > 10_000  # objects


def test_a_site_without_a_node_is_named_with_the_command_that_adds_it(tmp_path: Path, existing: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        go(tmp_path, 5, existing, members={"phones": 4, "bases": 2, "cloud": 1})
    message = str(caught.value)
    assert "no Ray node stands for bases-1, phones-2, phones-3" in message
    assert f"ray start --address={existing} --labels=site=bases-1,tier=base_station" in message


class Unwilling:
    """What cannot start on its machine."""

    def __init__(self, why: str) -> None:
        raise EnvironmentFailed(why)

    def ping(self) -> None:
        """Never answered."""


def test_what_cannot_start_at_all_is_told_with_the_reason_that_it_had(existing: str) -> None:
    why = "cannot write /state: No space left on device"
    connection = Connection(existing, local=False)
    try:
        actor = connection.place("bases-0", Unwilling, why, name="tests/unwilling")
        results, died = connection.ask({"bases-0": actor.ping.remote()}, START_LIMIT)
        assert (results, died) == ({}, {"bases-0": f"{NOT_STARTED}: {why}"})
        with pytest.raises(EnvironmentFailed, match=f"the host at bases-0 died: {NOT_STARTED}: {why}"):
            connection.call({"bases-0": actor}, "ping", limit=START_LIMIT)
    finally:
        connection.close()


def test_the_driver_can_run_again_after_a_refusal(tmp_path: Path, existing: str) -> None:
    assert go(tmp_path, 5, existing, shape=False).result.requests.answered == 5


def test_an_address_where_nobody_listens_fails_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(EnvironmentFailed, match=r"no Ray cluster at 127.0.0.2:\d+"):
        go(tmp_path, 5, f"127.0.0.2:{free_port()}")
    assert time.monotonic() - began < 50  # Ray itself would try for a minute
    with pytest.raises(InputError, match="HOST:PORT"):
        go(tmp_path, 5, "nowhere")


def test_a_cluster_of_our_own_answers_and_leaves_nothing(tmp_path: Path) -> None:
    before, files = children(), folders()
    done = go(tmp_path, 40, None, multiplier=4, members={"phones": 1, "bases": 1, "cloud": 1})
    assert done.result.requests.answered == 40
    assert done.result.requests.wrong == 0
    assert "no root" in done.result.shaping
    assert until(lambda: children() <= before, 60)
    assert until(lambda: folders() <= files, 60)


SCRIPT = """
import sys
from pathlib import Path
from runtime.running.run import execute
from tests.runtime.sample import make_bundle, make_items, make_prediction, make_slice

if __name__ == "__main__":
    bundle = make_bundle(Path(sys.argv[1]))
    part = make_slice(requests=100_000, members={"phones": 1, "bases": 1, "cloud": 1})
    tell = lambda p: print(p.phase, sum(p.counts.values()), flush=True)
    try:
        done = execute(bundle, part, make_items(10), make_prediction(bundle, part), on_progress=tell)
    except KeyboardInterrupt:
        sys.exit(130)
    kept = done.result.requests
    sys.exit(130 if done.interrupted and 0 < kept.answered == kept.sent < 100_000 else 1)
"""


@pytest.mark.parametrize(
    ("end", "phase"),
    [
        (signal.SIGINT, "running"),
        (signal.SIGINT, "starting"),
        pytest.param(signal.SIGKILL, "running", marks=pytest.mark.deep),
    ],
)
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, end: signal.Signals, phase: str) -> None:
    files = folders()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that puts a test into the background has it ignore Ctrl-C, and its children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    line = ""
    while not line.startswith(phase) or (phase == "running" and line.endswith(" 0\n")):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
    assert until(lambda: bool(folders() - files), 60)
    if phase == "starting":
        time.sleep(1.5)
    mine = folders() - files
    started = children(process.pid)
    process.send_signal(end)
    process.communicate(timeout=300)
    assert process.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert until(lambda: not any(map(in_folder, mine)), 60), [in_folder(f) for f in mine]
    assert until(lambda: not mine & folders(), 60)
    assert until(lambda: not alive(started), 60), alive(started)

"""Processes and nodes of a deployment die while requests flow: nothing that was accepted is lost or answered twice.

One deployment lives through all of it, so the tests go in order; each waits until it serves as planned again. Times are
not asserted: `make bench-faults` measures them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psutil
import pytest

from runtime.client import Client
from runtime.deployment.deploy import deploy
from runtime.deployment.local import keeper_of, nodes_folder
from runtime.values import Value, equal
from specs.deployment_status import DeploymentStatus
from specs.errors import EnvironmentFailed
from tests.runtime.fates import Log
from tests.runtime.faulty import (
    GREEDY,
    GREEDY_LIMIT,
    NAME,
    Deployed,
    deployment,
    kill_head,
    kill_node,
    node_of,
    stolen,
)
from tests.runtime.memory_limit import memory_limit
from tests.runtime.processes import in_folder, until

SLOW: Final[Mapping[str, Value]] = {"photo": bytes([7, 0, 0, 0, 0, 0, 0, 0]), "caption": "ab"}
"""It takes half a second."""
POISON: Final[Mapping[str, Value]] = {"photo": bytes([9, 200, 0, 0, 0, 0, 0, 0]), "caption": "ab"}
"""For which whoever runs vision takes 2 GB; MOST is less, and more than all processes take otherwise."""
MOST: Final = 1_500_000_000
WHOLE: Final = 180.0
"""Seconds in which a deployment must be whole again, on the slowest machine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def deployed(folder: Path) -> Iterator[Deployed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIERPLAN_STATE", str(folder / "state"))
        nodes = nodes_folder(NAME)
        with deployment(folder) as found:
            yield found
        assert keeper_of(NAME) is None
        assert until(lambda: not in_folder(str(nodes)) and not nodes.exists(), 60)
        assert list((folder / "state").iterdir()) == []


def reconciled(log: Log) -> None:
    """Every request that was sent has one fate, and what has no answer has a reason."""
    assert [line.number for line in log.lines] == list(range(len(log.lines)))
    assert log.counts().get("wrong", 0) == 0
    assert all(line.said for line in log.lines if line.fate != "answered")


def all_answered(log: Log) -> None:
    reconciled(log)
    assert log.counts() == {"answered": len(log.lines)}, log.said()


def test_a_standby_takes_over_when_a_process_is_killed_and_every_request_is_answered(deployed: Deployed) -> None:
    before = deployed.member("bases-0")
    assert before.standby == "ready"
    load = deployed.load()
    time.sleep(1)
    load.breaks(psutil.Process(before.pid).kill)
    time.sleep(2)
    all_answered(load.end())
    assert until(deployed.whole, WHOLE)
    assert deployed.member("bases-0").pid != before.pid


def test_without_a_standby_requests_wait_until_the_process_is_started_again(deployed: Deployed) -> None:
    before = deployed.member("cloud-0")
    assert before.standby == ""
    load = deployed.load()
    time.sleep(1)
    load.breaks(psutil.Process(before.pid).kill)
    time.sleep(2)
    all_answered(load.end())
    assert until(deployed.whole, WHOLE)
    assert deployed.member("cloud-0").pid != before.pid


@pytest.mark.parametrize("member", GREEDY)
def test_a_process_that_the_kernel_kills_for_its_memory_is_gone_round_or_waited_for(
    deployed: Deployed, member: str
) -> None:
    before = deployed.member(member)
    client = Client(deployed.member("phones-0").http, "sample", timeout=30)
    with memory_limit([before.pid], GREEDY_LIMIT):  # or skipped: nothing is started before
        load = deployed.load()
        load.breaks(lambda: client.infer(GREEDY[member]))
    all_answered(load.end())
    assert until(deployed.whole, WHOLE)
    assert deployed.member(member).pid != before.pid


@pytest.mark.deep
def test_a_request_for_which_there_is_nowhere_enough_memory_fails_and_says_so_and_all_others_have_one_fate(
    deployed: Deployed,
) -> None:
    client = Client(deployed.member("phones-0").http, "sample", timeout=60)
    pids = {process.pid for member in ("bases-0", "cloud-0") for process in node_of(member)}
    told = pytest.raises(EnvironmentFailed, match=r"may have held it|may hold it")
    with memory_limit(pids, MOST), told:  # whoever runs vision is killed, whenever it was started
        load = deployed.load()
        load.breaks(lambda: client.infer(POISON))
    assert until(deployed.whole, WHOLE)
    time.sleep(1)
    log = load.end()
    reconciled(log)
    assert set(log.counts()) <= {"answered", "failed"}, log.said()
    assert log.lines[-1].fate == "answered"


def test_a_process_whose_processor_is_stolen_is_gone_round_by_its_standby_and_taken_back_when_it_is_well(
    deployed: Deployed,
) -> None:
    load = deployed.heavy_load()
    with stolen(deployed.member("bases-0").pid):
        assert until(lambda: "its standby serves" in deployed.member("bases-0").slow, WHOLE), deployed.status()
        assert deployed.member("bases-0").slow.startswith("vision takes ")
        time.sleep(3)
        assert "its standby serves" in deployed.member("bases-0").slow, "still gone round"
        assert deployed.member("phones-0").without == "", "nothing else moved"
    assert until(lambda: deployed.member("bases-0").slow == "", 120)
    all_answered(load.end())
    assert until(deployed.whole, WHOLE)


@pytest.mark.deep
def test_a_slow_process_without_a_standby_is_gone_round_by_the_alternative_until_it_is_well(
    deployed: Deployed, folder: Path
) -> None:
    load = deployed.heavy_load()
    with stolen(deployed.member("cloud-0").pid):
        assert until(lambda: "the plan without cloud serves" in deployed.member("cloud-0").slow, WHOLE), (
            deployed.status()
        )
        status = deployed.told(folder)
        assert status.state == "serving"
        assert next(m for m in status.members if m.member == "cloud-0").slow.startswith("language takes ")
        assert next(m for m in status.members if m.member == "phones-0").without == "cloud"
    assert until(lambda: deployed.member("cloud-0").slow == "", 120)
    assert until(deployed.whole, WHOLE)
    all_answered(load.end())


@pytest.mark.deep
def test_a_process_that_hangs_is_found_by_its_heartbeats_and_gone_round(deployed: Deployed) -> None:
    process = psutil.Process(deployed.member("bases-0").pid)
    load = deployed.load()
    time.sleep(1)
    try:
        load.breaks(process.suspend)
        time.sleep(4)
        log = load.end()
    finally:
        process.resume()
    all_answered(log)
    assert until(deployed.whole, WHOLE)


def test_an_ingress_that_dies_fails_what_it_held_and_listens_again_at_the_same_address(
    deployed: Deployed, folder: Path
) -> None:
    before = deployed.member("phones-0")
    client = Client(before.http, "sample")
    load = deployed.load()
    time.sleep(1)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(client.infer, SLOW, request_id="mine")
        time.sleep(0.2)
        load.breaks(psutil.Process(before.pid).kill)
        with pytest.raises(EnvironmentFailed, match="no answer"):
            asked.result()
    assert until(lambda: deployed.member("phones-0").state == "ready", WHOLE)
    time.sleep(1)
    log = load.end()
    reconciled(log)
    assert set(log.counts()) <= {"answered", "unreachable"}
    assert max(log.lines, key=lambda line: line.sent).fate == "answered"
    assert deployed.member("phones-0").http == before.http
    answers = [client.infer(SLOW, request_id="mine").outputs["verdict"] for _ in range(2)]
    assert equal(answers[0], answers[1])
    lines = (folder / "state" / NAME / "logs" / "phones-0.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["id"] == "mine" for line in lines) == 1, "run once since the ingress is back"
    assert until(deployed.whole, WHOLE)


def test_when_the_head_dies_sites_go_on_and_it_is_started_again_with_all_that_it_knew(
    deployed: Deployed, folder: Path
) -> None:
    before = deployed.status()
    load = deployed.load()
    time.sleep(1)
    load.breaks(kill_head)
    assert not deploy(deployed.wanted, lambda _: None), "there is nothing to mend"

    def answers() -> bool:
        try:
            return deployed.whole()
        except EnvironmentFailed:
            return False

    assert until(answers, WHOLE)
    all_answered(load.end())
    status = deployed.told(folder)
    assert status.address == before.address
    assert [m.pid for m in status.members] == [m.pid for m in before.members], "nothing was started anew"
    killed = deployed.member("cloud-0").pid
    psutil.Process(killed).kill()
    assert until(lambda: deployed.member("cloud-0").pid not in (0, killed), WHOLE), "it starts others again"
    assert until(deployed.whole, WHOLE)


def test_when_a_node_dies_its_stages_move_where_the_alternative_says_until_it_is_started_again(
    deployed: Deployed, folder: Path
) -> None:
    all_before = {m.member: m.pid for m in deployed.status().members}
    before = all_before["cloud-0"]
    load = deployed.load()
    time.sleep(1)
    load.breaks(lambda: kill_node("cloud-0"))
    told: list[DeploymentStatus] = []

    def moved() -> bool:
        told.append(deployed.told(folder))
        return next(m for m in told[-1].members if m.member == "phones-0").without == "cloud"

    assert until(moved, WHOLE)
    assert told[-1].state == "degraded"
    assert [m.member for m in told[-1].members if m.state != "ready"] == ["cloud-0"]
    assert not deploy(deployed.wanted, lambda _: None), "it waits until the node is back"
    assert until(deployed.whole, WHOLE), deployed.status()
    now = {m.member: m.pid for m in deployed.status().members}
    assert now["cloud-0"] not in (0, before)
    assert {m for m, pid in now.items() if pid != all_before[m]} == {"cloud-0"}, "nothing else was started anew"
    all_answered(load.end())


@pytest.mark.deep
@pytest.mark.parametrize("turn", ["once", "and again"])
def test_the_node_with_the_head_too_is_started_again_with_all_that_it_had(deployed: Deployed, turn: str) -> None:
    before = {m.member: m.pid for m in deployed.status().members}
    load = deployed.load()
    time.sleep(1)
    load.breaks(lambda: kill_node("bases-0"))

    def whole_again() -> bool:
        try:
            return deployed.member("bases-0").pid not in (0, before["bases-0"]) and deployed.whole()
        except EnvironmentFailed:  # the head is not there yet
            return False

    assert until(whole_again, WHOLE)
    time.sleep(1)
    log = load.end()
    reconciled(log)
    assert log.lines[-1].fate == "answered"
    now = {m.member: m.pid for m in deployed.status().members}
    assert {m for m, pid in now.items() if pid != before[m]} == {"bases-0"}

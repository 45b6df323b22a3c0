"""A link of a real, emulated network is cut under a deployment and restored: every request has one fate.

In one cluster, and in two that are joined by nothing but that link.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from runtime.cluster.local import LocalCluster, Place
from runtime.cluster.peers import LISTEN
from runtime.emulate.attached import AttachedEmulation
from runtime.emulate.layout import network
from runtime.emulate.process import NotAllowed
from specs.load import load_infrastructure
from tests.end_to_end.cutting import BEFORE, Cutting
from tests.runtime.fates import Line, Log
from tests.runtime.faulty import DEADLINE
from tests.runtime.sample import copy_project

ROOT = Path(__file__).parents[2]
TIERS = {"cloud-0": "cloud", "bases-0": "base_station", "phones-0": "edge"}
TOPOLOGIES = {"one cluster": {"all": list(TIERS)}, "federated": {"core": ["cloud-0"], "edge": ["bases-0", "phones-0"]}}


@pytest.fixture
def emulation(tmp_path: Path) -> Iterator[AttachedEmulation]:
    infra = load_infrastructure(copy_project(tmp_path) / "infra.yaml")
    found = AttachedEmulation(network(infra, {"phones": 1, "bases": 1, "cloud": 1}), 1)
    try:
        try:
            found.wait()
        except NotAllowed as error:
            pytest.skip(str(error))
        yield found
    finally:
        found.close()


@dataclass(frozen=True)
class Clusters:
    """Each with the members that it has, the first of which has its head."""

    members: Mapping[str, Sequence[str]]
    running: Mapping[str, LocalCluster]
    places: Mapping[str, Place]


@pytest.fixture(params=TOPOLOGIES)
def clusters(request: pytest.FixtureRequest, emulation: AttachedEmulation) -> Iterator[Clusters]:
    """Ray goes by the control network, the deployment's messages by the links."""
    hosts, first = emulation.hosts, emulation.first_processes
    places = {m: Place(first[m], hosts[m].control, hosts[m].address) for m in TIERS}
    members = TOPOLOGIES[request.param]
    running: dict[str, LocalCluster] = {}
    try:
        for name, mine in members.items():
            labels = [{"site": m, "tier": TIERS[m], LISTEN: hosts[m].address} for m in mine]
            running[name] = LocalCluster(labels, [places[m] for m in mine])
        yield Clusters(members, running, places)
    finally:
        for cluster in running.values():
            cluster.close()


def cut(seconds: float, rate: float, emulation: AttachedEmulation, clusters: Clusters, folder: Path) -> Log:
    hosts, head = emulation.hosts, emulation.first_processes["cloud-0"]
    asked = Cutting(
        folder=str(folder),
        head=head,
        control=hosts["cloud-0"].control,
        door=hosts["phones-0"].control,
        clusters={name: [m.rpartition("-")[0] for m in mine] for name, mine in clusters.members.items()},
        addresses={name: cluster.wait() for name, cluster in clusters.running.items()},
        places={name: asdict(clusters.places[mine[0]]) for name, mine in clusters.members.items()},
        emulation=str(emulation.folder),
        seconds=seconds,
        rate=rate,
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.cutting"],
        input=json.dumps(asdict(asked)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TIERPLAN_STATE": str(folder / "state")},
        timeout=280 + seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    log = Log([Line(**line) for line in told["lines"]], told["broken_at"])
    assert told["state"] == "serving"
    assert sum(told["requests"].values()) == len(log.lines), "the ingress saw each request once"
    assert told["requests"].get("answered", 0) == log.counts().get("answered", 0)
    assert [line.number for line in log.lines] == list(range(len(log.lines)))
    assert log.lines[-1].fate == "answered", "after the link is back"
    return log


def test_what_a_short_cut_held_up_is_answered_right_and_once(
    emulation: AttachedEmulation, clusters: Clusters, tmp_path: Path
) -> None:
    log = cut(6.0, 10.0, emulation, clusters, tmp_path)
    assert log.counts() == {"answered": len(log.lines)}, log.said()
    during = [li for li in log.lines if log.broken_at + 0.5 < li.sent < log.broken_at + 5.0]
    assert min(li.ended - li.sent for li in during) < 1.0, "what does not need the link goes on"
    assert max(li.ended - li.sent for li in during) > 1.0, "the rest waits for it"


@pytest.mark.deep
def test_after_a_cut_of_100_s_each_request_was_answered_or_failed_at_its_deadline_with_the_reason(
    emulation: AttachedEmulation, clusters: Clusters, tmp_path: Path
) -> None:
    seconds = 100.0
    log = cut(seconds, 6.0, emulation, clusters, tmp_path)
    counts = log.counts()
    assert set(counts) == {"answered", "failed"}, log.said()
    assert all("the deadline passed" in li.said for li in log.lines if li.fate == "failed"), log.said()
    assert all(li.ended - li.sent < DEADLINE + BEFORE for li in log.lines)
    held = [li for li in log.lines if log.broken_at < li.sent < log.broken_at + seconds - DEADLINE - 5]
    assert {li.fate for li in held} == {"answered", "failed"}, "what does not need the link goes on"
    late = [li for li in log.lines if li.sent > log.broken_at + seconds - DEADLINE / 2]
    assert {li.fate for li in late} == {"answered"}

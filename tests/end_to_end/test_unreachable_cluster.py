"""One of two clusters cannot be reached: the truth is told of the other, and what can be done there is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from runtime.client import Client
from runtime.cluster.local import LocalCluster
from runtime.values import equal
from tests.cli.calling import Called, planner
from tests.runtime.faulty import expected_of
from tests.runtime.processes import until
from tests.runtime.sample import make_bundle, make_items

pytestmark = pytest.mark.deep  # a minute of starting and ending clusters

NAME = "parted"
TIERS = {"core": {"cloud-0": "cloud"}, "edge": {"bases-0": "base_station", "phones-0": "edge"}}


@dataclass(frozen=True)
class World:
    folder: Path
    clusters: dict[str, LocalCluster]

    def call(self, *arguments: str) -> Called:
        return planner(*arguments, folder=self.folder, timeout=300)

    def deploy(self) -> Called:
        return self.call("deploy", "bundle", "--name", NAME, "--clusters", "clusters.yaml", "--format", "json")

    def members(self) -> dict[str, dict[str, Any]]:
        told = self.call("status", NAME, "--format", "json")
        assert told.code in (0, 1), told.err
        return {m["member"]: m for m in json.loads(told.out)["members"]}

    def _processes(self, cluster: str, name: str) -> list[psutil.Process]:
        keeper = psutil.Process(self.clusters[cluster]._keeper.pid)
        return [p for p in keeper.children(recursive=True) if name in p.name()]

    def raylet(self, cluster: str, member: str) -> psutil.Process:
        return next(p for p in self._processes(cluster, "raylet") if f"/{member}/" in " ".join(p.cmdline()))

    def head(self) -> psutil.Process:
        """The control store of core, through which alone its processes can be asked."""
        return self._processes("core", "gcs_server")[0]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    make_bundle(tmp_path)
    clusters: dict[str, LocalCluster] = {}
    try:
        for name, tiers in TIERS.items():
            clusters[name] = LocalCluster([{"site": member, "tier": tier} for member, tier in tiers.items()])
        said = {n: {"address": clusters[n].wait(), "sites": [m[:-2] for m in of]} for n, of in TIERS.items()}
        (tmp_path / "clusters.yaml").write_text(json.dumps({"schema": "tierplan.clusters/v1", "clusters": said}))
        yield World(tmp_path, clusters)
    finally:
        for cluster in clusters.values():
            cluster.close()


def test_the_others_are_told_of_and_ended_and_it_is_named(world: World) -> None:
    first = world.deploy()
    assert first.code == 0, first.err
    client = Client(world.members()["phones-0"]["http"], "sample", timeout=30)
    from runtime.bundle import open_bundle

    items = make_items(4)
    expected = expected_of(open_bundle(world.folder / "bundle"), items)
    head = world.head()
    head.suspend()
    try:
        found = world.members()
        assert {name: m["state"] for name, m in found.items()} == {
            "cloud-0": "dead",
            "bases-0": "ready",
            "phones-0": "ready",
        }
        assert found["cloud-0"]["problem"].startswith(
            "it may run, but cannot be asked: cluster core: no Ray cluster at"
        )
        assert "cloud-0: it may run, but cannot be asked" in world.call("status", NAME).out.replace("\n", " ")
        again = world.deploy()
        assert again.code == 3
        assert "cluster core: no Ray cluster at" in again.err
        assert "what runs in the other clusters is left as it is" in again.err
        for item, answer in zip(items, expected, strict=True):
            assert equal(client.infer(item.values).outputs["verdict"], answer), "hosts go on"
        ended = world.call("undeploy", NAME)
        assert ended.code == 3
        assert "cluster core: no Ray cluster at" in ended.err
        assert "the hosts in the other clusters are ended (bases-0, phones-0)" in ended.err
    finally:
        head.resume()
    assert until(lambda: world.members()["cloud-0"]["state"] == "ready", 120), "of it nothing was ended"
    assert {m["state"] for name, m in world.members().items() if name != "cloud-0"} == {"dead"}
    world.raylet("edge", "phones-0").kill()
    assert until(lambda: world.members()["phones-0"]["problem"] != "", 120)
    told = world.members()["phones-0"]["problem"]
    assert told.startswith("no Ray node stands for it: on its machine, run ray start --address=127.0.0.2:")
    assert told.endswith(" --labels=site=phones-0,tier=edge")
    last = world.call("undeploy", NAME)
    assert last.code == 0, last.err
    assert list((world.folder / "state").iterdir()) == []

"""From `planner init` to a run and a deployment that answers: on one Ray cluster, and on two that are federated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.client import Client
from runtime.cluster.local import LocalCluster
from tests.cli.calling import Called, planner
from tests.runtime.processes import children, until

pytestmark = pytest.mark.deep  # a minute of profiling and of starting clusters

TIERS = {"cloud-0": "cloud", "gateways-0": "edge"}
TOPOLOGIES: Mapping[str, Mapping[str, str]] = {
    "one cluster": {"all": "cloud-0 gateways-0"},
    "federated": {"core": "cloud-0", "edge": "gateways-0"},
}
REQUESTS = 60


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application of `planner init`, planned and compiled."""
    folder = tmp_path_factory.mktemp("topologies")
    on = ("app.yaml", "--infra", "infra.yaml")
    assert planner("init", "shop", folder=folder).code == 0
    for verb in (("profile", *on, "--budget", "0.1"), ("solve", *on), ("compile", "plan.yaml", *on)):
        called = planner(*verb, folder=folder / "shop")
        assert called.code == 0, called.err
    return folder / "shop"


@dataclass(frozen=True)
class World:
    """`where` are the options that say which clusters."""

    folder: Path
    where: tuple[str, ...]
    clusters: Mapping[str, LocalCluster]

    def call(self, *arguments: str) -> Called:
        return planner(*arguments, folder=self.folder)


@pytest.fixture(params=TOPOLOGIES)
def world(
    request: pytest.FixtureRequest, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    before = children()
    clusters: dict[str, LocalCluster] = {}
    try:
        for name, members in TOPOLOGIES[request.param].items():
            clusters[name] = LocalCluster([{"site": m, "tier": TIERS[m]} for m in members.split()])
        addresses = {name: cluster.wait() for name, cluster in clusters.items()}
        where: tuple[str, ...] = ("--address", addresses.get("all", ""))
        if len(clusters) > 1:
            sites = {n: [m[:-2] for m in of.split()] for n, of in TOPOLOGIES[request.param].items()}
            said = {n: {"address": addresses[n], "sites": sites[n]} for n in clusters}
            file = tmp_path / "clusters.yaml"
            file.write_text(json.dumps({"schema": "tierplan.clusters/v1", "clusters": said}), "utf-8")
            where = ("--clusters", str(file))
        yield World(shop, where, clusters)
    finally:
        for cluster in clusters.values():
            cluster.close()
        assert until(lambda: children() <= before, 60)


def test_a_plan_runs_and_serves(world: World, tmp_path: Path) -> None:
    output = tmp_path / "run.json"
    ran = world.call("run", "bundle", *world.where, "--requests", str(REQUESTS), "-o", str(output))
    assert ran.code in (0, 1), ran.err  # how fast it is depends on the machine
    result: dict[str, Any] = json.loads(output.read_text("utf-8"))
    assert {k: result["requests"][k] for k in ("sent", "answered", "wrong", "lost")} == {
        "sent": REQUESTS,
        "answered": REQUESTS,
        "wrong": 0,
        "lost": 0,
    }
    assert result["network"] == "shaped"
    transfers = {s["name"]: s["n"] for s in result["stages"] if s["kind"] == "transfer"}
    assert transfers["redact -> urgency"] == REQUESTS, "over the link between the clusters"

    deployed = world.call("deploy", "bundle", "--app", "app.yaml", *world.where, "--format", "json")
    assert deployed.code == 0, deployed.err
    door = next(m["http"] for m in json.loads(deployed.out)["members"] if m["member"] == "gateways-0")
    answer = Client(door, "shop", timeout=30).infer({"text": "the server is down"}).outputs["urgent"]
    assert answer.tolist() == [1]  # type: ignore[union-attr]
    assert world.call("undeploy", "shop").code == 0


@pytest.mark.parametrize("world", ["federated"], indirect=True)
def test_a_cluster_that_is_lost_ends_a_run_by_its_name(world: World, tmp_path: Path) -> None:
    world.clusters["core"].close()
    ran = world.call("run", "bundle", *world.where, "--requests", "5", "-o", str(tmp_path / "run.json"))
    assert ran.code == 3
    assert "cluster core: no Ray cluster at" in ran.err
    assert not (tmp_path / "run.json").exists()

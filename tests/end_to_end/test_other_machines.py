"""A deployment on machines that share neither file system nor clock with the one that deploys, in one cluster or two.

In both the cloud is here. In two, the cloud has a cluster of its own, and a request passes from one to the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from runtime.client import Client
from runtime.deployment.record import HOSTED
from runtime.values import equal
from tests.cli.calling import Called, planner
from tests.runtime.faulty import expected_of
from tests.runtime.machines import Machines, machines, need_namespaces
from tests.runtime.processes import until
from tests.runtime.sample import copy_project, make_bundle, make_items, make_plan

pytestmark = pytest.mark.deep  # a minute of starting and ending clusters

NAME = "apart"
ITEMS = make_items(40)
TOPOLOGIES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "one cluster": {"all": {"cloud-0": "cloud", "bases-0": "base_station", "phones-0": "edge"}},
    "federated": {"core": {"cloud-0": "cloud"}, "edge": {"bases-0": "base_station", "phones-0": "edge"}},
}


@dataclass(frozen=True)
class World:
    folder: Path
    there: Machines
    where: tuple[str, ...]

    def call(self, *arguments: str) -> Called:
        return planner(*arguments, folder=self.folder, timeout=300)

    def deploy(self, bundle: str, *arguments: str) -> Called:
        return self.call("deploy", bundle, "--name", NAME, *self.where, "--format", "json", *arguments)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("status", NAME, "--format", "json").out)
        return found

    def member(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(m for m in self.status()["members"] if m["member"] == name)
        return found

    def right(self, bundle: str) -> None:
        """Whether it answers as the reference does."""
        from runtime.bundle import open_bundle

        client = Client(self.member("phones-0")["http"], "sample", timeout=30)
        for item, expected in zip(ITEMS, expected_of(open_bundle(self.folder / bundle)), strict=True):
            assert equal(client.infer(item.values).outputs["verdict"], expected)


@pytest.fixture(params=TOPOLOGIES)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    need_namespaces()
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    project = copy_project(tmp_path)
    make_bundle(tmp_path, make_plan(project), project)
    (tmp_path / "other").mkdir()
    make_bundle(tmp_path / "other", make_plan(project, {"language": ("bases", "rack")}), project)
    clusters = TOPOLOGIES[request.param]
    with machines(tmp_path / "machines", clusters) as there:
        where: tuple[str, ...] = ("--address", there.addresses.get("all", ""))
        if len(clusters) > 1:
            said = {n: {"address": there.addresses[n], "sites": [m[:-2] for m in of]} for n, of in clusters.items()}
            (tmp_path / "clusters.yaml").write_text(json.dumps({"schema": "tierplan.clusters/v1", "clusters": said}))
            where = ("--clusters", "clusters.yaml")
        world = World(tmp_path, there, where)
        yield world
        assert world.call("undeploy", NAME).code == 0
        assert there.left() == []
        assert list((tmp_path / "state").iterdir()) == []


def test_what_hosts_need_comes_to_them_and_stays_as_long_as_they_do(world: World) -> None:
    first = world.deploy("bundle")
    assert first.code == 0, first.err
    assert json.loads(first.out)["state"] == "serving"
    copy = next((world.there.folder / "phones-0" / "state" / HOSTED).iterdir())
    assert copy.name.startswith(NAME)
    assert copy.stat().st_mode & 0o777 == 0o700
    assert len(list(copy.glob("bundles/*/project/pictures/steps.py"))) == 1
    world.right("bundle")

    before = world.member("phones-0")
    psutil.Process(before["pid"]).kill()  # it opens itself again, from its machine's copy
    assert until(lambda: world.member("phones-0")["pid"] not in (0, before["pid"]), 60)
    assert until(lambda: world.status()["state"] == "serving", 60)
    world.right("bundle")

    again = world.deploy("bundle")
    assert again.code == 0, again.err
    assert "was deployed already" in again.err

    moved = world.deploy("other/bundle", "--move")
    assert moved.code == 0, moved.err
    assert len(list(copy.glob("bundles/*"))) == 1, "of the old plan nothing is left"
    assert (copy / "files").is_dir()
    world.right("other/bundle")
    assert world.call("undeploy", NAME).code == 0
    assert not copy.exists()


def test_a_machine_that_cannot_write_its_copy_is_named_with_the_reason(world: World) -> None:
    state = world.there.folder / "phones-0" / "state"
    state.write_text("in the way of a folder")
    try:
        refused = world.deploy("bundle")
    finally:
        state.unlink()
    assert refused.code == 3, refused.err
    assert "the host at phones-0: it could not start: cannot write /tmp/state/" in refused.err
    again = world.deploy("bundle")
    assert again.code == 0, again.err


def test_links_between_machines_cannot_be_shaped(world: World) -> None:
    refused = world.deploy("bundle", "--shape")
    assert refused.code == 2, refused.err
    assert "is real" in refused.err or "are real" in refused.err
    assert "--no-shape" in refused.err

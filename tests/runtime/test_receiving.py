"""Bundles that come to another machine: only what is missing, whole or not at all. Folders end with their users."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import open_bundle
from runtime.cluster import shipping
from runtime.cluster.machine_folder import LOCK, MachineFolder, sweep
from runtime.cluster.receiving import FILES, Received
from runtime.cluster.shipping import Shipment, ship
from specs.digest import digest_bytes
from specs.errors import EnvironmentFailed, InputError
from specs.manifest import MANIFEST_FILE
from tests.runtime.sample import copy_project, make_bundle, make_plan


class Method:
    """As Ray's: what is asked is known, and done when it is gathered."""

    def __init__(self, received: Received, name: str) -> None:
        self.received, self.name = received, name

    def remote(self, *args: Any) -> Any:
        if self.name == "take":
            digest, offset, data, last = args
            return lambda: self.received.take(digest, offset, data, last=last)
        return lambda: getattr(self.received, self.name)(*args)


class Actor:
    """Receives in this process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.received = Received(folder)

    def __getattr__(self, name: str) -> Method:
        return Method(self.received, name)


class Calls:
    def gather(self, refs: Mapping[str, Any], limit: float = 1.0) -> dict[str, Any]:
        return {member: ref() for member, ref in refs.items()}

    def call(self, actors: Mapping[str, Any], method: str, *args: object) -> dict[str, Any]:
        return self.gather({member: getattr(actor, method).remote(*args) for member, actor in actors.items()})


def test_a_bundle_comes_once_to_each_machine_and_then_only_what_is_new(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    bundle = make_bundle(tmp_path, make_plan(project), project)
    here, there = tmp_path / "here", tmp_path / "there"
    actors = {"a": Actor(here), "b": Actor(here), "c": Actor(there)}
    assert actors["a"].received.identity() == actors["b"].received.identity() != actors["c"].received.identity()
    said: list[str] = []
    ship(Calls(), actors, [Shipment(bundle.folder, "bundles/one")], said.append)
    for folder in (here, there):
        assert open_bundle(folder / "bundles" / "one").manifest == bundle.manifest
    total = sum((bundle.folder / name).stat().st_size for name in bundle.manifest.files)
    assert said[-1] == f"the bundle's files: {2 * total / 1e6:.1f} of {2 * total / 1e6:.1f} MB sent"
    (tmp_path / "other").mkdir()
    other = make_bundle(tmp_path / "other", make_plan(project, {"language": ("bases", "rack")}), project)
    lacking = actors["a"].received.held(list(other.manifest.files.values()))
    assert set(lacking) == {other.manifest.files["plan.yaml"]}
    ship(Calls(), actors, [Shipment(other.folder, "bundles/two")], said.append)
    actors["a"].received.keep_only(["bundles/two"], ["bundles"])
    assert [p.name for p in (here / "bundles").iterdir()] == ["two"]
    assert {p.name for p in (here / FILES).iterdir()} == set(other.manifest.files.values())
    assert open_bundle(here / "bundles" / "two").plan.digest == other.plan.digest


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=40), chunk=st.integers(1, 12), breaks=st.integers(0, 40))
def test_a_file_that_broke_off_goes_on_where_it_was(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, chunk: int, breaks: int
) -> None:
    folder = tmp_path_factory.mktemp("received")
    source, digest = folder / "source", digest_bytes(data)
    source.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipping, "CHUNK", chunk)
        for turn in range(2):  # the first breaks off, the second, of a new process, does not
            received = Received(folder)
            for number, (name, offset, part, last) in enumerate(
                shipping.chunks({digest: source}, received.held([digest]))
            ):
                if number == breaks and turn == 0:
                    break
                received.take(name, offset, part, last=last)
    assert Received(folder).held([digest]) == {}
    assert (folder / FILES / digest).read_bytes() == data


def test_what_was_changed_on_its_way_is_not_kept(tmp_path: Path) -> None:
    received, digest = Received(tmp_path), digest_bytes(b"right")
    with pytest.raises(EnvironmentFailed, match="changed on its way"):
        received.take(digest, 0, b"wrong", last=True)
    assert received.held([digest]) == {digest: 0}
    with pytest.raises(EnvironmentFailed, match="pieces that do not fit"):
        received.take(digest, 3, b"ht", last=True)
    for name in ("../../etc/passwd", "x" * 63, "." * 64):
        with pytest.raises(EnvironmentFailed, match="sha256"):
            received.take(name, 0, b"", last=True)


def test_a_manifest_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    (tmp_path / "there").mkdir()
    received = Received(tmp_path / "there")
    (digest,) = {bundle.manifest.files["plan.yaml"]}
    received.take(digest, 0, (bundle.folder / "plan.yaml").read_bytes(), last=True)
    text = (bundle.folder / MANIFEST_FILE).read_text("utf-8")
    hostile = text.replace('"plan.yaml":', '"../../plan.yaml":').encode()
    with pytest.raises((EnvironmentFailed, InputError), match="leaves"):
        received.assemble(hostile, "bundles/one")
    assert not (tmp_path / "plan.yaml").exists()
    assert not (tmp_path / "there" / "bundles" / "one").exists()


def test_the_last_one_that_leaves_a_folder_removes_it_and_those_of_the_killed_are_swept(tmp_path: Path) -> None:
    one, other = MachineFolder(tmp_path / "x-1"), MachineFolder(tmp_path / "x-1")
    assert one.path.stat().st_mode & 0o777 == 0o700
    one.leave()
    assert (tmp_path / "x-1").is_dir()
    sweep(tmp_path, "x-*")
    assert (tmp_path / "x-1" / LOCK).exists(), "somebody uses it"
    other.leave()
    other.leave()
    assert not (tmp_path / "x-1").exists()
    script = "import os, sys; from pathlib import Path; from runtime.cluster.machine_folder import MachineFolder\n"
    killed = f"{script}MachineFolder(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", killed, str(tmp_path / "x-2")], cwd=Path(__file__).parents[2], check=False)
    assert (tmp_path / "x-2").is_dir()
    sweep(tmp_path, "x-*")
    assert not (tmp_path / "x-2").exists()

"""What `planner status` says where Ray's head does not answer."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from runtime.deployment.record import Record, write_record
from runtime.deployment.status import watching
from specs.errors import EnvironmentFailed
from tests.runtime.sample import make_bundle


def test_of_a_cluster_of_the_users_own_it_says_what_goes_on_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    bundle = make_bundle(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    write_record(Record(name="mine", plan=bundle.plan.digest, bundle=str(bundle.folder), address=address))
    with pytest.raises(EnvironmentFailed) as raised, watching("mine"):
        pass
    said = str(raised.value)
    assert said.startswith("Ray's head of mine does not answer: hosts go on serving, but cannot be asked")
    assert f"no Ray cluster at {address}" in said
    assert "start the head of your cluster again, at the same address" in said

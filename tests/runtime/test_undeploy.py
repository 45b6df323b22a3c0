"""Which clusters that cannot be reached keep a deployment from being ended."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.deployment.record import Record, write_record
from runtime.deployment.undeploy import _with_members
from specs.clusters import Cluster
from tests.runtime.sample import make_bundle

SITES = {"core": ("cloud",), "edge": ("bases", "phones"), "spare": ("elsewhere",)}


def test_only_those_with_a_member_count_or_all_where_that_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERPLAN_STATE", str(tmp_path / "state"))
    bundle = make_bundle(tmp_path)
    clusters = {name: Cluster(address="127.0.0.1:1", sites=sites) for name, sites in SITES.items()}
    write_record(Record(name="mine", plan=bundle.plan.digest, bundle=str(bundle.folder), clusters=clusters))
    lost = {"core": "no Ray cluster", "spare": "it did not answer"}
    assert _with_members("mine", lost) == {"core": "no Ray cluster"}
    assert _with_members("mine", {}) == {}
    shutil.rmtree(bundle.folder)
    assert _with_members("mine", lost) == lost

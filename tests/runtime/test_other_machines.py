"""Hosts on machines that share neither file system nor clock with the one that runs: what they need comes to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.running.run import execute
from specs.clusters import Cluster
from tests.runtime.machines import Machines, machines, need_namespaces
from tests.runtime.sample import make_bundle, make_items, make_prediction, make_slice

TOPOLOGIES = {
    "one cluster": {"all": {"cloud-0": "cloud", "bases-0": "base_station", "phones-0": "edge"}},
    "federated": {"core": {"cloud-0": "cloud"}, "edge": {"bases-0": "base_station", "phones-0": "edge"}},
}


@pytest.fixture(params=["one cluster", pytest.param("federated", marks=pytest.mark.deep)])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    need_namespaces()
    with machines(tmp_path / "machines", TOPOLOGIES[request.param]) as found:
        yield found


def _where(there: Machines) -> dict[str, Any]:
    """What says to `execute` where the hosts are."""
    if "all" in there.addresses:
        return {"address": there.addresses["all"]}
    sites = {name: tuple(member[:-2] for member in of) for name, of in TOPOLOGIES["federated"].items()}
    return {"clusters": {name: Cluster(address=at, sites=sites[name]) for name, at in there.addresses.items()}}


def test_a_run_brings_its_bundle_and_measures_what_one_clock_can_tell(tmp_path: Path, there: Machines) -> None:
    bundle = make_bundle(tmp_path)
    part = make_slice(requests=60, members={"phones": 1, "bases": 1, "cloud": 1}, multiplier=2)
    done = execute(bundle, part, make_items(40), make_prediction(bundle, part), **_where(there))
    requests = done.result.requests
    assert (requests.sent, requests.answered, requests.wrong, requests.lost) == (60, 60, 0, 0), done.reasons
    assert done.result.network == "none"
    assert "several machines" in done.result.shaping
    by_name = {s.name: s for s in done.result.stages}
    assert by_name["vision"].n == 60
    assert by_name["shrink -> vision"].n == 0, "one way is not known"
    assert ("phones-0", "bases-0") in done.round_trips
    assert all(0 < seconds < 60 for seconds in done.round_trips.values())
    to_vision = next(p for p in done.result.paths if p.to == "vision")
    assert to_vision.n == 0, "its end is known by another clock alone"
    to_answer = next(p for p in done.result.paths if (p.to, p.over) == ("answer", "all"))
    assert to_answer.measured.p50_ms > 0
    assert there.left() == []

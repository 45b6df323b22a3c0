"""Hosts on machines that share neither file system nor clock with the one that runs: what they need comes to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.running.run import execute
from tests.runtime.machines import Machines, machines, need_namespaces
from tests.runtime.sample import make_bundle, make_items, make_prediction, make_slice

MEMBERS = {"cloud-0": "cloud", "bases-0": "base_station", "phones-0": "edge"}


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Machines]:
    need_namespaces()
    with machines(tmp_path / "machines", {"all": MEMBERS}) as found:
        yield found


def test_a_run_brings_its_bundle_and_measures_what_one_clock_can_tell(tmp_path: Path, there: Machines) -> None:
    bundle = make_bundle(tmp_path)
    part = make_slice(requests=60, members={"phones": 1, "bases": 1, "cloud": 1}, multiplier=2)
    done = execute(bundle, part, make_items(40), make_prediction(bundle, part), address=there.addresses["all"])
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

"""Arrivals: seeded, at the rate asked for, spread over members and items."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from runtime.fleet import Member
from runtime.running.arrivals import departures
from runtime.topology import Flow


def flow(kind: str = "poisson", rate: float = 50.0, members: int = 4) -> Flow:
    return Flow("s@a", "s", "a", rate, kind, tuple(Member("a", i) for i in range(members)))  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_departures_and_another_seed_others() -> None:
    one, two, other = (departures([flow()], 300, {"s": 10}, seed) for seed in (1, 1, 2))
    assert one == two != other


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() -> None:
    found = departures([flow()], 8000, {"s": 10}, 3)
    offsets = sorted(d.offset for mine in found.values() for d in mine)
    assert 8000 / offsets[-1] == pytest.approx(4 * 50, rel=0.05)
    gaps = [b - a for a, b in itertools.pairwise(offsets)]
    mean = sum(gaps) / len(gaps)
    variance = sum((g - mean) ** 2 for g in gaps) / len(gaps)
    assert variance == pytest.approx(mean**2, rel=0.1)


def test_constant_arrivals_are_equally_spaced_at_each_member() -> None:
    for mine in departures([flow("constant")], 400, {"s": 10}, 3).values():
        gaps = [b.offset - a.offset for a, b in itertools.pairwise(mine)]
        assert gaps == pytest.approx([1 / 50] * len(gaps))


def test_every_item_is_sent_equally_often_and_every_request_has_a_name_of_its_own() -> None:
    every = [d for mine in departures([flow()], 100, {"s": 10}, 0).values() for d in mine]
    assert set(Counter(d.item for d in every).values()) == {10}
    assert len({d.request for d in every}) == 100

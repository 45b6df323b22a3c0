"""What is slow and what is well, told from services alone: robust against pauses and noise, and not against theft."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.hosting.pace import FLOOR_MS, LATEST, SLOW, WELL, Pace

PLANNED_MS = 40.0
PLANNED = {("vision", "bases"): PLANNED_MS}


def seen(times: Iterable[tuple[float, float]], process: str = "bases-0") -> Pace:
    """(when, milliseconds) of requests that `process` served, one item each."""
    pace = Pace(PLANNED)
    for at, ms in times:
        pace.saw("upload", ms / 1e3, [("vision", process, ms / 1e3)], at)
    return pace


def test_most_of_the_latest_over_a_second_beyond_twice_the_plan_are_slow_and_said_to_be() -> None:
    pace = seen((i * 0.5, 100.0) for i in range(5))
    assert set(pace.slow()) == {"bases-0"}
    assert str(pace.slow()["bases-0"]) == "vision takes 100 ms at the median, planned 40 ms at the 95th percentile"
    pace.forget("bases-0")
    assert pace.slow() == {}


def test_one_pause_that_many_services_meet_is_not_slow() -> None:
    assert seen((10 + i * 0.1, 900.0) for i in range(9)).slow() == {}


def test_a_fan_out_counts_once() -> None:
    pace = Pace(PLANNED)
    for at in range(4):
        pace.saw("upload", 1.0, [("vision", "bases-0", 0.9)] * 50, float(at))
    assert pace.slow() == {}


@given(st.lists(st.floats(0, SLOW * PLANNED_MS + FLOOR_MS), max_size=40), st.integers(0, 4))
def test_what_is_within_the_limit_is_never_slow_whatever_fewer_than_half_of_the_latest_took(
    within: list[float], outliers: int
) -> None:
    times = [*within, *[1e5] * outliers]
    assert seen(enumerate(times)).slow() == {}


@given(st.lists(st.floats(SLOW * PLANNED_MS + FLOOR_MS + 0.1, 1e5), min_size=LATEST, max_size=30))
def test_what_is_always_beyond_the_limit_is_slow_and_not_well(beyond: list[float]) -> None:
    pace = seen(enumerate(beyond))
    assert set(pace.slow()) == {"bases-0"}
    assert pace.well_for("bases-0", "vision") == 0.0


def test_it_is_well_from_the_moment_its_median_came_down_on_and_slower_ones_begin_anew() -> None:
    limit = WELL * PLANNED_MS + FLOOR_MS
    times = [(float(i), 200.0) for i in range(9)] + [(float(i), limit) for i in range(9, 30)]
    assert seen(times).well_for("bases-0", "vision") == pytest.approx(29 - 13), "the fifth of nine came at 13"
    assert seen([*times, *((30.0 + i, limit + 1) for i in range(5))]).well_for("bases-0", "vision") == 0.0
    assert seen(times[:3]).well_for("bases-0", "vision") == 0.0


def test_the_standby_is_judged_by_the_site_of_its_member_and_what_has_no_plan_by_nothing() -> None:
    assert set(seen(((float(i), 200.0) for i in range(9)), "bases-0+standby").slow()) == {"bases-0+standby"}
    assert seen(((float(i), 200.0) for i in range(9)), "cloud-0").slow() == {}


def test_the_latency_of_a_flow_is_the_median_of_the_latest() -> None:
    pace = seen((float(i), ms) for i, ms in enumerate([1000.0] * 20 + [10.0] * 5))
    assert pace.latency("upload") == pytest.approx(0.01)
    assert pace.latency("other") == 0.0

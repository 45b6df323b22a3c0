"""Percentiles of the latest requests, how sure they are, and what is called drift."""

from __future__ import annotations

import itertools
import random
import time

import numpy as np
import pytest

from runtime.hosting.request import Entry
from runtime.message import StageTime, Trace, TransferTime
from runtime.observe.drift import Drift, Promise, drifts, promise_of
from runtime.observe.requests import Ended
from runtime.observe.window import LATEST, Window, sample
from runtime.topology import topology
from tests.runtime.observe.test_metrics import promising_plan
from tests.runtime.sample import copy_project, make_bundle, make_slice

FLOW, ORIGIN, EDGE = "upload@phones", "phones-0", "shrink -> vision"


@pytest.fixture(scope="module")
def promise(tmp_path_factory: pytest.TempPathFactory) -> Promise:
    """Of the sample: 20, 40 and 50 ms; vision and its transfer wait 1, 2 and 3 ms and take 4, 5 and 6."""
    folder = tmp_path_factory.mktemp("promise")
    project = copy_project(folder)
    bundle = make_bundle(folder, promising_plan(project), project)
    part = make_slice(members={"phones": 1})
    return promise_of(bundle.plan, topology(bundle.plan, bundle.app.value, bundle.infra.value, part))


def ended(latency: float, wait: float, service: float, transfer: float, at: float) -> Ended:
    """Times in milliseconds."""
    stage = StageTime("vision", "bases-0", wait / 1e3, service / 1e3, at)
    passed = TransferTime(EDGE, "bases-0", transfer / 1e3, 0.0)
    entry = Entry("r", FLOW, -1, False, at - latency / 1e3, at + 1, "answered", latency=latency / 1e3)
    entry.trace = Trace((stage,), (passed,))
    return Ended("sample", "", "http", {}, entry, at)


def seen_of(
    n: int, latency: float = 15, wait: float = 0.5, service: float = 4, transfer: float = 4, rate: float = 10
) -> Window:
    """The last requests, so many a second, with these medians and a tenth more or less."""
    window, rng, now = Window(), random.Random(n), time.monotonic()
    for number in range(n, 0, -1):
        factor = rng.uniform(0.9, 1.1)
        at = now - number / rate
        window.ended(ended(latency * factor, wait * factor, service * factor, transfer * factor, at))
    return window


def found(window: Window, promise: Promise) -> list[Drift]:
    return list(drifts(window.seen(), promise, ORIGIN))


def test_nothing_drifts_that_is_as_planned_or_sooner(promise: Promise) -> None:
    assert found(seen_of(300), promise) == []
    assert found(seen_of(300, latency=2, wait=0, transfer=1), promise) == []


def test_a_slower_stage_drifts_and_is_the_cause_of_what_the_path_takes_longer(promise: Promise) -> None:
    service, latency = found(seen_of(300, service=30, latency=60), promise)
    assert (service.what, service.name, service.member) == ("service", "vision", "bases-0")
    assert service.measured == pytest.approx(30, rel=0.1)
    assert (latency.what, latency.name, latency.member) == ("latency", FLOW, ORIGIN)
    assert latency.cause == "service of vision at bases-0"


def test_a_slower_link_and_a_longer_queue_are_told_apart(promise: Promise) -> None:
    assert [d.what for d in found(seen_of(300, transfer=20), promise)] == ["transfer"]
    assert [d.what for d in found(seen_of(300, wait=20), promise)] == ["wait"]
    both = found(seen_of(300, wait=20, transfer=60, latency=90), promise)
    assert both[-1].cause == f"transfer of {EDGE} at bases-0"


def test_a_faster_stage_drifts_as_well(promise: Promise) -> None:
    (drift,) = found(seen_of(300, service=1), promise)
    assert (drift.what, drift.statistic) == ("service", "p50")
    assert drift.measured < drift.predicted


def test_less_than_a_millisecond_is_no_drift(promise: Promise) -> None:
    assert found(seen_of(300, wait=1.9), promise) == []


def test_few_requests_or_a_slow_one_among_many_say_nothing(promise: Promise) -> None:
    assert found(seen_of(3, service=60, latency=120), promise) == []
    window = seen_of(300)
    window.ended(ended(900, 300, 300, 300, time.monotonic()))
    assert found(window, promise) == []


def test_more_requests_than_planned_are_the_first_cause(promise: Promise) -> None:
    peak = promise.peaks[FLOW]
    window = seen_of(800, latency=80, rate=2 * peak)
    rates = [d for d in found(window, promise) if d.what == "rate"]
    assert [(d.name, d.predicted) for d in rates] == [(FLOW, peak)]
    assert found(window, promise)[-1].cause == "more requests come than the plan was made for"


def test_a_rate_is_over_the_last_seconds_and_falls_when_nothing_comes() -> None:
    window = Window()
    now = time.monotonic()
    for number in range(300):
        window.ended(ended(1, 0, 1, 1, now - 29.9 + number / 10))
    assert window.seen().paths[FLOW].rate == pytest.approx(10, rel=0.05)
    quiet = Window()
    quiet.ended(ended(1, 0, 1, 1, now - 50))
    assert quiet.seen().paths[FLOW].rate == 0


def test_a_rate_is_right_where_the_window_holds_less_than_the_last_seconds() -> None:
    window = Window()
    now = time.monotonic()
    for number in range(2 * LATEST):
        window.ended(ended(1, 0, 1, 1, now - (2 * LATEST - number) / 2000))
    assert window.seen().paths[FLOW].rate == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize("n", [5, 60, 1000])
def test_the_true_percentile_lies_within_its_bounds_as_often_as_they_say(n: int) -> None:
    """At least 93 of 100 times for 95 % (the binomial is discrete), for a law whose percentiles are known."""
    rng = np.random.default_rng(n)
    true = [-np.log(1 - p) * 1e3 for p in (0.5, 0.95, 0.99)]
    samples = [sample(list(rng.exponential(1.0, n))) for _ in range(400)]
    for i, value in enumerate(true):
        within = sum(s.low[i] <= value <= s.high[i] for s in samples)
        assert within >= 0.93 * len(samples)
    assert all(a <= b for s in samples for a, b in itertools.pairwise(s.low))


def test_a_small_sample_has_no_upper_bound_for_its_tail() -> None:
    few = sample([0.001] * 5)
    assert few.high[2] == float("inf")
    assert few.low[2] <= 1.0

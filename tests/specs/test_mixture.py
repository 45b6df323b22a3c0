"""Mixtures of buckets: moments and distribution functions add up; shares are those of the lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.mixture import mixture, remixed, shares_of
from specs.profile import BucketTimes, Distribution, Record
from specs.statistics import summarise
from tests.planner.worlds import record

SEEDS = st.integers(0, 10_000)


def times(seed: int, scale: float, n: int) -> list[float]:
    drawn = np.random.default_rng(seed).gamma(20, scale / 20, n)
    return [float(x) for x in drawn]


def of(shares: Sequence[float], parts: Sequence[Distribution]) -> tuple[BucketTimes, ...]:
    return tuple(
        BucketTimes(size=2**i, share=share, latency=part)
        for i, (share, part) in enumerate(zip(shares, parts, strict=True))
    )


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.lists(st.floats(0.3, 40), min_size=2, max_size=5), st.data())
def test_a_mixture_is_what_all_runs_weighted_by_their_share_are(
    seed: int, scales: list[float], data: st.DataObject
) -> None:
    """The reference: samples of each bucket, each run weighing what its bucket's share leaves for it."""
    weights = np.array([data.draw(st.integers(1, 20)) for _ in scales], float)
    shares = weights / weights.sum()
    samples = [np.array(times(seed + i, scale, 400)) for i, scale in enumerate(scales)]
    found = mixture(of([float(f"{s:.6g}") for s in shares], [summarise(list(s)) for s in samples]))
    for power, moment in ((1, found.mean), (2, found.second), (3, found.third)):
        assert moment == pytest.approx(
            sum(s * (x**power).mean() for s, x in zip(shares, samples, strict=True)), rel=1e-4
        )
    for p, x in found.points():
        below = sum(s * (v <= x).mean() for s, v in zip(shares, samples, strict=True))
        assert p == pytest.approx(below, abs=0.06)
    assert {"0.5", "0.9", "0.95", "0.99"} <= set(found.quantiles)


def test_no_time_lies_between_those_of_two_buckets() -> None:
    """Nine of ten take about 1 ms, one takes about 50: the 90th percentile is where it jumps."""
    found = mixture(of((0.9, 0.1), [summarise(times(1, 1e-3, 500)), summarise(times(2, 50e-3, 500))]))
    inside = [p for p, x in found.points() if 4e-3 < x < 12e-3]
    assert not inside
    levels = [p for p, _ in found.points()]
    assert levels == sorted(set(levels))
    points = found.points()
    at = {q: float(np.interp(q, [p for p, _ in points], [x for _, x in points])) for q in (0.899, 0.901)}
    assert at[0.899] < 5e-3
    assert at[0.901] > 12e-3


def test_one_bucket_that_has_all_requests_is_that_bucket() -> None:
    parts = [summarise(times(1, 1e-3, 100)), summarise(times(2, 50e-3, 100))]
    assert mixture(of((0.0, 1.0), parts)) == parts[1]


def of_buckets(shares: Sequence[float]) -> Record:
    buckets = of(shares, [summarise(times(1, 1e-3, 100)), summarise(times(2, 50e-3, 100))])
    return record("s", "h", 1.0).model_copy(update={"buckets": buckets, "latency": mixture(buckets)})


def test_a_record_mixed_anew_is_the_one_that_was_measured_so() -> None:
    assert remixed(of_buckets((0.9, 0.1)), {1: 0.3, 2: 0.7}) == of_buckets((0.3, 0.7))
    assert remixed(of_buckets((0.9, 0.1)), {1: 0.9, 2: 0.1}) == of_buckets((0.9, 0.1))


def test_a_record_survives_its_file_and_one_whose_mean_is_not_that_of_its_buckets_is_refused() -> None:
    whole = of_buckets((0.9, 0.1))
    assert Record.model_validate(whole.dump()).digest == whole.digest
    with pytest.raises(ValueError, match="its buckets"):
        Record.model_validate(whole.model_copy(update={"latency": whole.latency.times(1.5)}).dump())


def test_shares_are_those_of_the_lengths_that_each_bucket_holds() -> None:
    lengths = {"1": 0.25, "16": 0.25, "17": 0.3, "64": 0.1, "100": 0.1}
    assert shares_of([lengths], [16, 64, 128]) == {16: 0.5, 64: 0.4, 128: 0.1}
    assert shares_of([], [16, 64]) == {16: 0.0, 64: 1.0}


@given(st.lists(st.dictionaries(st.integers(1, 40), st.integers(1, 9), min_size=1), min_size=1, max_size=4))
def test_no_case_has_longer_requests_than_the_shares_say(cases: list[dict[int, int]]) -> None:
    sizes = [4, 10, 20, 40]
    given_ = [{str(n): w / sum(case.values()) for n, w in case.items()} for case in cases]
    shares = shares_of(given_, sizes)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    for size in sizes:
        said = sum(share for bucket, share in shares.items() if bucket <= size)
        for case in given_:
            assert said <= sum(p for n, p in case.items() if int(n) <= size) + 1e-5

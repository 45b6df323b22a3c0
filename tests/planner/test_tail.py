"""Tables of tail latency: what a row promises holds for every lognormal time within it."""

from __future__ import annotations

from math import log, sqrt
from statistics import NormalDist

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.prediction.tail import largest_variance, tail_rows
from planner.problem import PPB


def lateness(mean: float, variance: float, limit: float) -> float:
    """P(T > limit) for a lognormal T."""
    if variance == 0:
        return float(mean > limit)
    s = sqrt(log(1 + variance / mean**2))
    return 1 - NormalDist(log(mean) - s * s / 2, s).cdf(log(limit))


@given(st.floats(0.01, 1.0), st.sampled_from([0.5, 0.05, 0.01, 0.001]))
def test_the_largest_variance_is_just_late_enough(part: float, excess: float) -> None:
    variance = largest_variance(part, 1.0, excess)
    assert variance is not None
    assert lateness(part, variance, 1.0) <= excess * (1 + 1e-4) + 1e-9


def test_a_mean_beyond_the_limit_has_no_variance() -> None:
    assert largest_variance(1.1, 1.0, 0.01) is None


@settings(max_examples=200)
@given(
    st.integers(1_000, 10_000_000),
    st.sampled_from([0.5, 0.95, 0.99]),
    st.floats(0.02, 1.0),
    st.booleans(),
    st.floats(0.3, 1.0),
)
def test_rows_never_promise_more_than_the_lognormal_keeps(
    limit: int, quantile: float, probability: float, alone: bool, inside: float
) -> None:
    allowed = 1 - quantile
    for row in tail_rows(limit, allowed, probability, alone):
        if row.excess_ppb >= probability * PPB - 1:
            continue
        mean = row.mean_us
        late = lateness(mean, row.var_us2 * inside, limit)
        assert late * probability * PPB <= row.excess_ppb * (1 + 1e-4) + 1


def test_a_rare_branch_may_be_late_altogether() -> None:
    rows = tail_rows(100_000, 0.01, 0.005, False)
    assert rows[0].excess_ppb == 5_000_000
    assert rows[0].mean_us > 10**12


def test_a_single_path_may_take_all_that_is_allowed() -> None:
    assert {row.excess_ppb for row in tail_rows(100_000, 0.01, 1.0, True)} == {10_000_000}


def test_rows_of_a_smaller_mean_allow_more_variance() -> None:
    rows = tail_rows(100_000, 0.01, 1.0, True)
    assert [r.mean_us for r in rows] == sorted((r.mean_us for r in rows), reverse=True)
    assert [r.var_us2 for r in rows] == sorted(r.var_us2 for r in rows)

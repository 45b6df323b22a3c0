"""Weights of replicas: no device holds more than its own, and they see waste that totals do not."""

from __future__ import annotations

from itertools import combinations_with_replacement

from hypothesis import given
from hypothesis import strategies as st

from planner.solver.dual_feasible import Weights, weights
from planner.solver.packing import devices_needed


@given(st.integers(1, 16).flatmap(lambda c: st.tuples(st.just(c), st.sets(st.integers(1, c), min_size=1, max_size=4))))
def test_what_fits_on_a_device_weighs_at_most_what_a_device_does(case: tuple[int, set[int]]) -> None:
    cores, threads = case
    rows = weights(threads, cores)
    assert rows[0].of == {t: t for t in threads}
    for count in range(1, 7):
        for items in combinations_with_replacement(sorted(threads), count):
            if sum(items) <= cores:
                assert all(sum(row.of[t] for t in items) <= row.device for row in rows)


def test_two_of_four_threads_fill_a_device_of_ten() -> None:
    assert Weights({4: 1, 6: 1}, 2) in weights({4, 6}, 10)


def test_threads_that_divide_one_another_need_no_more_than_the_total() -> None:
    assert len(weights({1, 2, 4}, 8)) == 1


def test_many_sizes_of_memory_that_cannot_run_out_are_packed_as_one() -> None:
    items = [(4, 1000 + k) for k in range(18)] + [(6, 2000), (6, 2001)]
    assert devices_needed(items, 10, 100_000, 20) == 10

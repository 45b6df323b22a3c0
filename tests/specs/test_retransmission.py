"""What lost packets cost: the model against its definition, packet by packet, and what must hold of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.retransmission import FAST, INITIAL_WINDOW, ROUNDS, SEGMENT, TAIL, Retransmission

SIZES = st.floats(1, 3e6)
ROUTES = st.builds(Retransmission, st.floats(1e-5, 0.2), st.floats(1e-4, 0.5), st.floats(1e4, 1e9))


@given(ROUTES, SIZES)
def test_probabilities_sum_to_one_and_nothing_is_sooner_than_without_loss(route: Retransmission, size: float) -> None:
    delays = route.delays(size)
    assert sum(p for _, p in delays) == pytest.approx(1)
    assert all(seconds >= 0 for seconds, _ in delays)


@given(ROUTES, SIZES, st.floats(1, 4))
def test_more_bytes_and_more_loss_never_take_less_on_average(route: Retransmission, size: float, times: float) -> None:
    def mean(of: Retransmission, size: float) -> float:
        return sum(seconds * p for seconds, p in of.delays(size))

    assert mean(route, size * times) >= mean(route, size) * (1 - 1e-9)
    worse = Retransmission(min(0.2, route.loss * times), route.round_trip, route.rate)
    assert mean(worse, size) >= mean(route, size) * (1 - 1e-9)


@given(ROUTES, SIZES, st.floats(0, 1, exclude_max=True))
def test_what_is_drawn_is_one_of_the_delays(route: Retransmission, size: float, uniform: float) -> None:
    assert route.drawn(size, uniform) in {seconds for seconds, _ in route.delays(size)}


@pytest.mark.parametrize(("loss", "packets"), [(0.1, 1), (0.1, 2), (0.05, 8), (0.2, 10)])
def test_delays_are_those_of_packets_lost_one_by_one(loss: float, packets: int) -> None:
    route = Retransmission(loss, 0.04, 1e9)
    assert packets <= INITIAL_WINDOW
    draw = random.Random(1)
    n, total, late = 20_000, 0.0, 0
    for _ in range(n):
        times = [min(ROUNDS - 1, next(k for k in range(99) if draw.random() >= loss)) for _ in range(packets)]
        most = max(times)
        if most == 1 and not any(times[-TAIL:]):
            total += FAST * route.round_trip
        elif most:
            total += route.timeout * (2**most - 1)
        late += most > 0
    delays = route.delays(packets * SEGMENT)
    assert sum(p for s, p in delays if s > 0) == pytest.approx(late / n, abs=0.015)
    assert sum(s * p for s, p in delays) == pytest.approx(total / n, rel=0.06)

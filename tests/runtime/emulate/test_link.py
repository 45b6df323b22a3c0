"""Links as arithmetic: first come first served, trains of packets, shared rates, jitter, loss, full buffers."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.emulate.link import BUFFER_BYTES, Line, Server, Times, Train
from runtime.emulate.topology import Way

PACKET = Train(1000, 1000, 1)


def way(delay: float = 0.0, jitter: float = 0.0, loss: float = 0.0, rate: float = 1e6) -> Way:
    return Way("l", "up", "a", "b", rate, delay, jitter, loss)


def line(of: Way, shared: Server | None = None) -> Line:
    return Line(of, shared, random.Random(1))


def take(one: Line, head: float, tail: float, train: Train) -> Times | None:
    """All steps of a link, with nothing else on it meanwhile."""
    times: Times | None = (head, tail)
    for step in one.steps:
        times = step(*times, train) if times is not None else None
    return times


def test_a_packet_takes_its_bytes_over_the_rate_plus_the_delay() -> None:
    assert take(line(way(delay=0.02)), 5.0, 5.0, PACKET) == pytest.approx((5.021, 5.021))


def test_packets_go_one_after_another() -> None:
    one = line(way())
    assert [take(one, 0.0, 0.0, PACKET) for _ in range(3)] == [pytest.approx((t, t)) for t in (0.001, 0.002, 0.003)]


def test_a_train_takes_as_long_as_its_packets_over_one_link_and_over_several() -> None:
    fast, slow = line(way(delay=0.01, rate=2e6)), line(way(delay=0.01))
    singly = []
    for _ in range(10):
        head, tail = take(fast, 0.0, 0.0, PACKET) or (0, 0)
        singly.append(take(slow, head, tail, PACKET))
    fast, slow = line(way(delay=0.01, rate=2e6)), line(way(delay=0.01))
    head, tail = take(fast, 0.0, 0.0, Train(10_000, 1000, 10)) or (0, 0)
    assert (head, tail) == pytest.approx((0.0105, 0.015))
    together = take(slow, head, tail, Train(10_000, 1000, 10))
    assert together is not None
    assert singly[0] is not None
    assert singly[-1] is not None
    assert together == pytest.approx((singly[0][0], singly[-1][1]))


def test_a_train_over_a_faster_link_ends_when_its_last_packet_has_come() -> None:
    slow, fast = line(way()), line(way(rate=1e7))
    head, tail = take(slow, 0.0, 0.0, Train(10_000, 1000, 10)) or (0, 0)
    assert take(fast, head, tail, Train(10_000, 1000, 10)) == pytest.approx((0.0011, 0.0101))


def test_links_that_share_a_rate_wait_for_each_other() -> None:
    shared = Server(1e6)
    first, second = line(way(rate=1e9), shared), line(way(rate=1e9), shared)
    assert take(first, 0.0, 0.0, PACKET) == pytest.approx((0.001, 0.001), abs=1e-5)
    assert take(second, 0.0, 0.0, PACKET) == pytest.approx((0.002, 0.002), abs=1e-5)


def test_what_waits_before_one_link_does_not_hold_up_another_where_they_share() -> None:
    shared = Server(1e7)
    slow, free = line(way(rate=1e5), shared), line(way(rate=1e7), shared)
    last = [slow.steps[0](0.0, 0.0, PACKET) for _ in range(100)][-1]
    assert last == pytest.approx((1.0, 1.0))
    assert take(free, 0.0, 0.0, PACKET) == pytest.approx((0.0002, 0.0002))


def test_what_waits_is_served_at_a_new_rate() -> None:
    server = Server(1e6)
    server.serve(0.0, 0.0, PACKET)
    server.set_rate(5e5, 0.0)
    assert server.serve(0.0, 0.0, PACKET) == pytest.approx((0.004, 0.004))


def test_what_finds_no_room_is_dropped_and_costs_nothing() -> None:
    one = line(way())
    carried = sum(take(one, 0.0, 0.0, PACKET) is not None for _ in range(3000))
    assert carried == BUFFER_BYTES / 1000 + 1
    assert (one.packets, one.dropped) == (carried, 3000 - carried)
    assert take(one, 2.0, 2.0, PACKET) == pytest.approx((2.001, 2.001))


def test_a_link_that_is_down_drops() -> None:
    one = line(way())
    one.carries = False
    assert take(one, 0.0, 0.0, PACKET) is None
    assert (one.packets, one.dropped) == (0, 1)


def test_jitter_has_the_declared_mean_and_deviation() -> None:
    one = line(way(delay=0.05, jitter=0.003))
    delays = [(take(one, t, t, PACKET) or (0, 0))[1] - t - 0.001 for t in (0.1 * n for n in range(20_000))]
    assert statistics.mean(delays) == pytest.approx(0.05, rel=0.01)
    assert statistics.stdev(delays) == pytest.approx(0.003, rel=0.03)


@given(st.lists(st.floats(0, 0.01), min_size=2, max_size=50), st.integers(0, 1000))
def test_packets_keep_their_order(gaps: list[float], seed: int) -> None:
    one = Line(way(delay=0.004, jitter=0.01), None, random.Random(seed))
    at, left = 0.0, []
    for gap in gaps:
        at += gap
        carried = take(one, at, at, PACKET)
        assert carried is not None
        left.append(carried[1])
        assert carried[1] >= at + 0.001
    assert left == sorted(left)


def test_loss_is_by_packet() -> None:
    one = line(way(loss=0.1, rate=1e12))
    lost = sum(take(one, float(n), float(n), PACKET) is None for n in range(20_000))
    assert lost == one.lost == pytest.approx(2000, abs=5 * (20_000 * 0.09) ** 0.5)
    whole = line(way(loss=0.1, rate=1e12))
    trains = sum(take(whole, float(n), float(n), Train(2000, 1000, 2)) is None for n in range(20_000))
    assert trains == pytest.approx(3800, abs=5 * (20_000 * 0.19 * 0.81) ** 0.5)

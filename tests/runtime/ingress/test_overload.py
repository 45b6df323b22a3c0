"""Beyond capacity: what is let in is answered in time, and as much of it as at capacity.

Time is counted, not passed: one server, first come first served, that drops what is past its deadline, as a host does.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.hosting.request import LATE, Entry
from runtime.ingress.admission import Admission
from runtime.ingress.concurrency import LEAST, Concurrency
from runtime.open_inference.protocol import ProtocolError

MOST = 256
SERVICE = 0.05
DEADLINE = 1.0
LENGTH = 200.0
BEYOND = 3.0


def poisson(rate: float, seed: int) -> Iterator[float]:
    rng, at = random.Random(seed), 0.0
    while at < LENGTH:
        at += rng.expovariate(rate)
        yield at


def goodput(load: float, *, learns: bool = True, doors: int = 1, seed: int = 1) -> float:
    """Requests answered in time, as a share of what the server can do, at `load` times that, through `doors`."""
    admissions = [Admission(MOST, 10**9) for _ in range(doors)]
    rng = random.Random(seed)
    coming = deque((at, rng.randrange(doors)) for at in poisson(load / SERVICE, seed))
    waiting: deque[Inside] = deque()
    served: Inside | None = None
    free, answered = 0.0, 0
    while coming or waiting or served:
        if served is not None and (not coming or free <= coming[0][0]):
            now = free
            answered += served.end(now, learns)
            served = None
        elif coming:
            now, door = coming.popleft()
            with suppress(ProtocolError):
                waiting.append(Inside(admissions[door], now))
        while waiting and served is None:
            served = waiting.popleft()
            if now > served.came + DEADLINE:
                served.end(now, learns)
                served = None
        if served is not None and free <= now:
            free = now + rng.expovariate(1 / SERVICE)
    return answered * SERVICE / LENGTH


class Inside:
    """A request that was let in."""

    def __init__(self, admission: Admission, came: float) -> None:
        self.admission, self.came = admission, came
        self.leaves = ExitStack()
        self.leaves.enter_context(admission.enter())

    def end(self, now: float, learns: bool) -> bool:
        """Whether it was in time."""
        good = now <= self.came + DEADLINE
        entry = Entry("r", "f", 0, False, self.came, self.came + DEADLINE, "answered", latency=now - self.came)
        if not good:
            entry.status, entry.reason = "failed", LATE
        if learns:
            self.admission.ended(entry)
        self.leaves.close()
        return good


@pytest.mark.parametrize("doors", [1, 3])
@pytest.mark.parametrize("seed", [1, 2])
def test_at_three_times_the_load_goodput_stays_at_95_percent_of_its_peak(doors: int, seed: int) -> None:
    peak = max(goodput(load, doors=doors, seed=seed) for load in (0.8, 0.9, 1.0, 1.2, 1.5))
    assert peak > 0.85
    assert goodput(BEYOND, doors=doors, seed=seed) >= 0.95 * peak


def test_without_admission_control_it_does_not() -> None:
    assert goodput(BEYOND, learns=False) < 0.6 * goodput(1.0)


def test_below_capacity_nobody_is_refused() -> None:
    limit = Concurrency(MOST)
    for seconds in (0.01, 0.4, 0.02) * 1000:
        limit.answered(seconds, DEADLINE, 3)
    assert limit.limit == MOST


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.001, 10), st.booleans(), st.integers(1, 300)), max_size=300))
def test_the_limit_stays_between_its_bounds(ends: list[tuple[float, float, bool, int]]) -> None:
    limit = Concurrency(MOST)
    for seconds, deadline, good, inside in ends:
        if good:
            limit.answered(seconds, deadline, inside)
        else:
            limit.late(deadline, inside)
        assert LEAST <= limit.limit <= MOST


def test_one_that_asks_for_less_time_than_anything_takes_shuts_nobody_out() -> None:
    limit = Concurrency(MOST)
    limit.answered(0.1, DEADLINE, 1)
    for _ in range(1000):
        limit.late(0.01, 5)
    assert limit.limit == MOST


def test_what_fails_for_another_reason_than_time_says_nothing_of_load() -> None:
    admission = Admission(MOST, 1000)
    for _ in range(1000):
        admission.ended(Entry("r", "f", 0, False, 0.0, DEADLINE, "failed", "shrink at phones-0: ValueError: no JPEG"))
    with admission.enter(), admission.enter(), admission.enter():
        assert admission.inside == 3


@pytest.mark.parametrize("held", [{"outage": True}, {"attempts": 1}, {"attempts": 1, "status": "answered"}])
def test_what_waited_for_a_process_that_was_gone_says_nothing_of_load(held: dict[str, Any]) -> None:
    admission = Admission(MOST, 1000)
    late = {"status": "failed", "reason": LATE, "latency": 0.99 * DEADLINE}
    with ExitStack() as inside:
        for _ in range(MOST):
            inside.enter_context(admission.enter())
        for _ in range(10 * MOST):
            entry = Entry("r", "f", 0, False, 0.0, DEADLINE, **{**late, **held})
            admission.ended(entry)
            admission.given_up(entry, DEADLINE)
    with ExitStack() as again:
        for _ in range(MOST):
            again.enter_context(admission.enter())


def test_one_request_that_is_late_by_itself_changes_nothing() -> None:
    limit = Concurrency(256)
    limit.late(1.0, 1)
    for _ in range(50):
        limit.answered(0.1, 1.0, 3)
    assert limit.limit == 256


def test_what_takes_most_of_its_deadline_alone_does_not_shut_the_door() -> None:
    """Seven of ten take 0.72 s of a deadline of 1 s, however few are inside."""
    limit = Concurrency(64)
    for number in range(40_000):
        limit.answered(0.05 if number % 10 < 3 else 0.72, 1.0, int(limit.limit))
    assert limit.limit > 2 * LEAST


def test_after_an_outage_with_few_inside_overload_is_noticed() -> None:
    limit = Concurrency(64)
    for _ in range(100):
        limit.late(1.0, 2)
    for _ in range(1_000):
        limit.answered(0.2, 1.0, 4)
    for _ in range(2_000):
        limit.answered(min(1.0, limit.limit / 16), 1.0, int(limit.limit))
    assert limit.limit < 12


def test_who_sends_slowly_takes_no_learnt_place_but_one_of_all_and_room_for_the_body() -> None:
    admission = Admission(MOST, 1000)
    entry = Entry("r", "f", 0, False, 0.0, 1.0, status="lost")
    with ExitStack() as inside:
        for _ in range(MOST):
            inside.enter_context(admission.enter())
        for _ in range(10 * MOST):
            admission.ended(entry)
    with ExitStack() as arriving:
        for _ in range(MOST - 1):
            arriving.enter_context(admission.arrive(1))
        with admission.arrive(1), admission.enter(), admission.enter():
            assert admission.inside == 2, "all of the few places that are left are free"
            with pytest.raises(ProtocolError, match="are being served"):
                arriving.enter_context(admission.arrive(1))
        arriving.enter_context(admission.arrive(1))
        with pytest.raises(ProtocolError, match="on their way"):
            arriving.enter_context(admission.arrive(1))
    with pytest.raises(ProtocolError, match="on their way"), admission.arrive(1001):
        pass
    with admission.arrive(1000):
        pass

"""Shaped links: delay, rate and first come first served, in time and between processes."""

from __future__ import annotations

import multiprocessing
import queue
import statistics
import time
from pathlib import Path

import pytest

from runtime.hosting.shaping import LinkState, Shaper, Step
from runtime.message import Message
from tests.runtime.processes import until


@pytest.fixture
def state(tmp_path: Path) -> LinkState:
    LinkState.create(tmp_path / "links", 8)
    return LinkState(tmp_path / "links")


def message(payload: int, deadline: float = 1e9) -> Message:
    return Message("values", "r", "f", "o", "c", deadline, sent=time.monotonic(), values={"x": bytes(payload)})


def carried(state: LinkState, steps: tuple[Step, ...], payloads: list[int]) -> list[tuple[float, Message]]:
    """Send all at once; (seconds until delivered, message), in order of delivery."""
    arrived: queue.Queue[tuple[float, Message]] = queue.Queue()
    shaper = Shaper(lambda _, m: arrived.put((time.monotonic(), m)), state, 1, lambda m: None)
    start = time.monotonic()
    for payload in payloads:
        shaper.send("x", message(payload), steps, start)
    found = [arrived.get(timeout=60) for _ in payloads]
    shaper.close()
    return [(at - start, m) for at, m in found]


def test_a_message_takes_its_bytes_over_the_rate_plus_the_delay(state: LinkState) -> None:
    steps = (Step(0, rate=1e6), Step(None, delay=0.02))
    took = [carried(state, steps, [30_000])[0][0] for _ in range(9)]
    # A machine may be late with any of them, and is not with all.
    assert 0.05 <= min(took) <= 0.055


def test_messages_on_one_link_go_one_after_another_and_say_how_long_they_waited(state: LinkState) -> None:
    runs = []
    for number in range(7):  # a link each: the machine may be late with some of them
        runs.append(carried(state, (Step(number, rate=1e6), Step(None, delay=0.01)), [10_000] * 6))
    for number in range(6):
        expected = 0.01 + 0.01 * (number + 1)
        took = [run[number][0] for run in runs]
        assert min(took) == pytest.approx(expected, abs=0.008)
        assert min(took) >= expected
        assert all(run[number][1].queued == pytest.approx(0.01 * number, abs=1e-6) for run in runs)


def test_a_route_is_the_sum_of_its_links_and_lateness_does_not_add_up(state: LinkState) -> None:
    hop = (Step(0, rate=1e7), Step(None, delay=0.004)), (Step(1, rate=1e7), Step(None, delay=0.004))
    steps = tuple(step for _ in range(5) for pair in hop for step in pair)
    took = [carried(state, steps, [1000])[0][0] for _ in range(9)]
    assert 10 * 0.0041 <= min(took) <= 10 * 0.0041 + 0.004


def test_notices_without_payload_do_not_hold_a_link(state: LinkState) -> None:
    state.reserve(0, time.monotonic(), 0.2)
    runs = [carried(state, (Step(0, rate=1e3), Step(None, delay=0.01)), [0]) for _ in range(5)]
    assert min(took for ((took, _),) in runs) == pytest.approx(0.01, abs=0.01)
    assert all(arrived.queued == 0 for ((_, arrived),) in runs)


def test_jitter_has_its_spread_and_is_never_negative(state: LinkState) -> None:
    # The same seed draws the same delays: a machine that pauses is late in one of the runs, not in all.
    runs = [[t for t, _ in carried(state, (Step(None, delay=0.03, jitter=0.01),), [0] * 400)] for _ in range(4)]
    took = [min(times) for times in zip(*runs, strict=True)]
    assert statistics.mean(took) == pytest.approx(0.03, abs=0.005)
    assert statistics.stdev(took) == pytest.approx(0.01, abs=0.003)
    took = [t for t, _ in carried(state, (Step(None, delay=0.0, jitter=0.01),), [0] * 100)]
    assert min(took) >= 0


def test_a_message_past_its_deadline_is_dropped_on_the_way(state: LinkState) -> None:
    late: list[Message] = []
    delivered: list[Message] = []
    shaper = Shaper(lambda _, m: delivered.append(m), state, 1, late.append)
    now = time.monotonic()
    shaper.send("x", message(10_000, now + 0.05), (Step(0, rate=1e5), Step(1, rate=1e5)), now)
    assert until(lambda: bool(late or delivered), 60)
    shaper.close()
    assert (len(late), len(delivered)) == (1, 0)


def _reserve(file: str, count: int) -> None:
    state = LinkState(Path(file))
    for _ in range(count):
        state.reserve(2, 0.0, 0.001)
    state.close()


def test_processes_share_a_link_without_losing_a_reservation(tmp_path: Path) -> None:
    file = tmp_path / "links"
    LinkState.create(file, 4)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_reserve, args=(str(file), 2000)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert LinkState(file).reserve(2, 0.0, 0.0) == pytest.approx(6.0)

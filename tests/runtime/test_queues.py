"""The discipline of a queue: first come first served, but a server goes on with the request that it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from runtime.hosting.queues import BatchingQueue, BoundedQueue, Server, SpreadQueue


@dataclass(frozen=True)
class Task:
    request: str
    stage: str
    ready: float = 0.0


def test_the_oldest_comes_first_unless_the_server_has_a_request_there() -> None:
    queue: BoundedQueue[Task] = BoundedQueue(8)
    tasks = [Task("a", "1"), Task("b", "1"), Task("a", "2"), Task("b", "2")]
    assert all(queue.put(task) for task in tasks)
    assert queue.take() == (Task("a", "1"),)
    assert queue.take("a") == (Task("a", "2"),)
    assert queue.take("a") == (Task("b", "1"),)
    assert queue.take("c") == (Task("b", "2"),)


def test_a_server_runs_branches_of_one_request_in_one_go() -> None:
    """`b` came before the second branch of `a`, which is there when the first is done."""
    queue: BoundedQueue[Task] = BoundedQueue(8)
    served: list[Task] = []

    def serve(tasks: Sequence[Task]) -> None:
        served.extend(tasks)
        if len(served) == 3:
            queue.close()

    for task in (Task("a", "left"), Task("b", "left"), Task("a", "right")):
        queue.put(task)
    Server(queue, serve, "server").join(10.0)
    assert served == [Task("a", "left"), Task("a", "right"), Task("b", "left")]


def test_a_request_is_at_one_device_and_each_device_gets_its_part() -> None:
    queues: list[BoundedQueue[Task]] = [BoundedQueue(2000) for _ in range(4)]
    spread = SpreadQueue(queues)
    requests = [f"upload@phones/phones-0/{k}" for k in range(2000)]
    for stage in ("1", "2"):
        assert all(spread.put(Task(request, stage)) for request in requests)
    assert len(spread) == 4000
    at: dict[str, set[int]] = {}
    sizes = [len(queue) // 2 for queue in queues]
    for number, queue in enumerate(queues):
        for _ in range(len(queue)):
            at.setdefault(queue.take()[0].request, set()).add(number)
    assert all(len(devices) == 1 for devices in at.values())
    # 500 each, give or take five standard deviations of a binomial number
    assert all(abs(size - 500) < 5 * (2000 * 0.25 * 0.75) ** 0.5 for size in sizes), sizes


def test_in_each_pool_a_request_is_drawn_anew() -> None:
    """Else the first device of one pool would get just what the first of another one did."""
    pools = [[BoundedQueue[Task](400) for _ in range(2)] for _ in range(2)]
    for name, queues in zip("ab", pools, strict=True):
        spread = SpreadQueue(queues, name)
        assert all(spread.put(Task(str(k), "1")) for k in range(400))
    first = [{queues[0].take()[0].request for _ in range(len(queues[0]))} for queues in pools]
    # 100 in both, give or take five standard deviations of a binomial number
    assert abs(len(first[0] & first[1]) - 100) < 5 * (400 * 0.25 * 0.75) ** 0.5


def test_a_device_that_is_full_refuses_although_others_have_room() -> None:
    """A request does not go elsewhere for one of its stages."""
    spread: SpreadQueue[Task] = SpreadQueue([BoundedQueue(1), BoundedQueue(1)])
    assert spread.put(Task("a", "1"))
    assert not spread.put(Task("a", "2"))


def test_work_of_no_request_is_served_in_its_turn() -> None:
    queue: BoundedQueue[Task] = BoundedQueue(8)
    for task in (Task("a", "1"), Task("", "1"), Task("", "2")):
        queue.put(task)
    assert [queue.take()[0], queue.take("")[0], queue.take("")[0]] == [Task("a", "1"), Task("", "1"), Task("", "2")]


def test_a_server_runs_neighbours_of_one_request_in_one_go() -> None:
    """A stage puts the request's next one into the queue before the server asks for more."""
    queue: BoundedQueue[Task] = BoundedQueue(8)
    served: list[Task] = []

    def serve(tasks: Sequence[Task]) -> None:
        (task,) = tasks
        served.append(task)
        if task.stage == "1":
            queue.put(Task(task.request, "2"))
        elif task.request == "b":
            queue.close()

    for name in "ab":
        queue.put(Task(name, "1"))
    Server(queue, serve, "server").join(10.0)
    assert [f"{t.request}{t.stage}" for t in served] == ["a1", "a2", "b1", "b2"]


def test_a_full_queue_refuses_and_a_closed_one_gives_nothing() -> None:
    queue: BoundedQueue[Task] = BoundedQueue(1)
    assert queue.put(Task("a", "1"))
    assert not queue.put(Task("b", "1"))
    queue.close()
    assert queue.take("a") == ()


def test_of_what_comes_together_and_does_not_fit_nothing_waits() -> None:
    queue: BoundedQueue[Task] = BoundedQueue(2)
    assert queue.put(Task("a", "1"))
    assert not queue.put(Task("b", "1"), Task("b", "2"))
    assert queue.put(Task("c", "1"))
    assert [task.request for _ in range(2) for task in queue.take()] == ["a", "c"]


def test_a_full_batch_leaves_at_once_and_takes_the_oldest() -> None:
    queue: BatchingQueue[Task] = BatchingQueue(8, 2, 3600.0)
    tasks = [Task(name, "1", time.monotonic()) for name in "abc"]
    assert all(queue.put(task) for task in tasks)
    assert list(queue.take()) == tasks[:2]
    assert len(queue) == 1


def test_a_batch_that_may_not_wait_takes_what_is_there() -> None:
    queue: BatchingQueue[Task] = BatchingQueue(8, 4, 0.0)
    tasks = [Task(name, "1", time.monotonic()) for name in "abc"]
    assert all(queue.put(task) for task in tasks)
    assert list(queue.take()) == tasks


def test_a_batch_leaves_when_its_oldest_item_has_waited_enough_not_before() -> None:
    """The first item ripens at 0.3 s after it came, whenever the second came."""
    queue: BatchingQueue[Task] = BatchingQueue(8, 9, 0.3)
    began = time.monotonic()
    queue.put(Task("a", "1", began))
    queue.put(Task("b", "1", began + 0.2))
    assert [task.request for task in queue.take()] == ["a", "b"]
    assert time.monotonic() - began >= 0.3


def test_what_comes_later_does_not_put_off_when_a_batch_leaves() -> None:
    now = 0.0
    queue: BatchingQueue[Task] = BatchingQueue(8, 9, 0.3, lambda: now)
    assert queue.due_in() is None
    for now in (0.0, 0.1, 0.2):
        queue.put(Task(f"{now}", "1", now))
        assert queue.due_in() == pytest.approx(0.3 - now)
    now = 0.3
    assert [task.request for task in queue.take()] == ["0.0", "0.1", "0.2"]


def test_an_idle_server_is_woken_by_the_item_that_fills_a_batch() -> None:
    """Two servers wait, one of them for the oldest item to ripen in an hour."""
    queue: BatchingQueue[Task] = BatchingQueue(8, 2, 3600.0)
    served: list[list[str]] = []
    done = threading.Event()

    def serve(tasks: Sequence[Task]) -> None:
        served.append([task.request for task in tasks])
        done.set()

    servers = [Server(queue, serve, f"server {i}") for i in range(2)]
    queue.put(Task("a", "1", time.monotonic()))
    queue.put(Task("b", "1", time.monotonic()))
    assert done.wait(10.0)
    queue.close()
    for server in servers:
        server.join(10.0)
    assert served == [["a", "b"]]

"""The discipline of a queue: first come first served, but a server goes on with the request that it has."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.queues import BoundedQueue, Server


@dataclass(frozen=True)
class Task:
    request: str
    stage: str


def test_the_oldest_comes_first_unless_the_server_has_a_request_there() -> None:
    queue: BoundedQueue[Task] = BoundedQueue(8)
    tasks = [Task("a", "1"), Task("b", "1"), Task("a", "2"), Task("b", "2")]
    assert all(queue.put(task) for task in tasks)
    assert queue.get() == Task("a", "1")
    assert queue.get("a") == Task("a", "2")
    assert queue.get("a") == Task("b", "1")
    assert queue.get("c") == Task("b", "2")


def test_work_of_no_request_is_served_in_its_turn() -> None:
    queue: BoundedQueue[Task] = BoundedQueue(8)
    for task in (Task("a", "1"), Task("", "1"), Task("", "2")):
        queue.put(task)
    assert [queue.get(), queue.get(""), queue.get("")] == [Task("a", "1"), Task("", "1"), Task("", "2")]


def test_a_server_runs_neighbours_of_one_request_in_one_go() -> None:
    """A stage puts the request's next one into the queue before the server asks for more."""
    queue: BoundedQueue[Task] = BoundedQueue(8)
    served: list[Task] = []

    def serve(task: Task) -> None:
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
    assert queue.get("a") is None

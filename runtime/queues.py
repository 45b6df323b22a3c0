"""Bounded first-come-first-served queues and the threads that serve them.

A server goes on with the request that it has while the queue holds more of it, and only then takes the oldest item: so
neighbours on one executor are served in one go, as the planner predicts (a *visit*).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Queued(Protocol):
    """What waits in a queue."""

    @property
    def request(self) -> str:
        """Of which request it is; empty for what belongs to none."""
        ...


T = TypeVar("T", bound=Queued)


class BoundedQueue(Generic[T]):
    """Takes at most `limit` waiting items; a full queue refuses at once instead of making anybody wait."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._open = True

    def put(self, item: T) -> bool:
        """Whether there was room."""
        with self._changed:
            if len(self._items) >= self._limit or not self._open:
                return False
            self._items.append(item)
            self._changed.notify()
            return True

    def get(self, request: str = "") -> T | None:
        """The oldest item of `request`, or the oldest of all, when there is one; None once the queue is closed."""
        with self._changed:
            while self._open and not self._items:
                self._changed.wait()
            if not self._open:
                return None
            if request:
                for place, item in enumerate(self._items):
                    if item.request == request:
                        del self._items[place]
                        return item
            return self._items.popleft()

    def close(self) -> None:
        """Wake all who wait; what still waits in the queue is dropped."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)


class Server(Generic[T]):
    """A thread that serves one queue, one item at a time, until the queue is closed."""

    def __init__(self, queue: BoundedQueue[T], serve: Callable[[T], None], name: str) -> None:
        self._queue = queue
        self._serve = serve
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        request = ""
        while (item := self._queue.get(request)) is not None:
            self._serve(item)
            request = item.request

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

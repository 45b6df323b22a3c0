"""Bounded first-come-first-served queues and the threads that serve them.

A server goes on with the request that it has while the queue holds more of it, and only then takes the oldest item: so
neighbours on one executor are served in one go, as the planner predicts (a *visit*). From a queue of batches a server
takes several items at once: a batch leaves when a server is free and it is full or its oldest item has waited enough.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar


class Queued(Protocol):
    """What waits in a queue."""

    @property
    def request(self) -> str:
        """Of which request it is; empty for what belongs to none."""
        ...

    @property
    def ready(self) -> float:
        """Since when it waits, on `time.monotonic`'s clock."""
        ...


T = TypeVar("T", bound=Queued)


class BoundedQueue(Generic[T]):
    """Takes at most `limit` waiting items; a full queue refuses at once instead of making anybody wait."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._open = True

    def put(self, *items: T) -> bool:
        """Whether there was room for all: else none of them waits. Those that come together are seen together by who
        takes: none is taken before the last is there.
        """
        with self._changed:
            if not self._open or len(self._items) + len(items) > self._limit:
                return False
            self._items.extend(items)
            self._changed.notify(len(items))
            return True

    def take(self, request: str = "") -> Sequence[T]:
        """The oldest item of `request`, or the oldest of all, when there is one; nothing once the queue is closed."""
        with self._changed:
            while self._open and not self._items:
                self._changed.wait()
            if not self._open:
                return ()
            if request:
                for place, item in enumerate(self._items):
                    if item.request == request:
                        del self._items[place]
                        return (item,)
            return (self._items.popleft(),)

    def close(self) -> None:
        """Wake all who wait; what still waits in the queue is dropped."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)


class BatchingQueue(BoundedQueue[T]):
    """Servers take up to `batch` items: at once when so many wait, else when the oldest has waited `wait` seconds."""

    def __init__(self, limit: int, batch: int, wait: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(limit)
        self._batch, self._wait, self._clock = batch, wait, clock

    def take(self, request: str = "") -> Sequence[T]:
        """The oldest items, once a batch is due; nothing once the queue is closed. `request` is of no account."""
        with self._changed:
            while self._open:
                left = self.due_in()
                if left is not None and left <= 0:
                    return [self._items.popleft() for _ in range(min(self._batch, len(self._items)))]
                self._changed.wait(left)
            return ()

    def due_in(self) -> float | None:
        """Seconds until a batch leaves if nothing more comes; None: not before something comes."""
        if len(self._items) >= self._batch:
            return 0.0
        return self._items[0].ready + self._wait - self._clock() if self._items else None


class SpreadQueue(Generic[T]):
    """One queue, or one for each of several devices: all that belongs to a request waits at the same.

    Which one is as good as drawn, in each pool (`name`) anew: what comes by chance does so at each device.
    """

    def __init__(self, queues: Sequence[BoundedQueue[T]], name: str = "") -> None:
        self.queues, self._name = tuple(queues), name

    def put(self, *items: T) -> bool:
        """Whether there was room for all of these items of one request, which come together."""
        return self.queues[self._place(items[0].request)].put(*items)

    def _place(self, request: str) -> int:
        if len(self.queues) == 1:
            return 0
        drawn = blake2b(f"{self._name}/{request}".encode(), digest_size=8).digest() if request else random.randbytes(8)
        return int.from_bytes(drawn) % len(self.queues)

    def close(self) -> None:
        """As `BoundedQueue.close`, of each."""
        for queue in self.queues:
            queue.close()

    def __len__(self) -> int:
        return sum(map(len, self.queues))


class Server(Generic[T]):
    """A thread that serves one queue until it is closed: `serve` gets one item at a time, or the items of a batch."""

    def __init__(self, queue: BoundedQueue[T], serve: Callable[[Sequence[T]], None], name: str) -> None:
        self._queue = queue
        self._serve = serve
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        request = ""
        while items := self._queue.take(request):
            self._serve(items)
            request = items[0].request

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

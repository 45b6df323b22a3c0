"""Starts again what has died of a deployment's nodes on this machine: the head's control store, and whole nodes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

STORE_AFTER: Final = 1.0
"""Seconds from one start of the control store to the next, where it dies at once."""
NODE_AFTER: Final = 10.0
"""The same of a node, whose start takes seconds of processor time."""


class StoreRevival:
    """Starts the control store of the node `head` again when its process has died."""

    def __init__(self, head: Any) -> None:
        from ray._private import ray_constants

        self._head, self._kind = head, ray_constants.PROCESS_TYPE_GCS_SERVER
        self._not_before = 0.0

    def look(self) -> None:
        """In the thread that started the head: its processes die with that. What goes wrong is tried again."""
        stores = self._head.all_processes.get(self._kind, ())
        if any(store.process.poll() is None for store in stores) or time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + STORE_AFTER
        self._head.all_processes.pop(self._kind, None)
        self._head._gcs_address = self._head._gcs_client = None  # it takes the port that it had
        with contextlib.suppress(Exception):  # a full disk, say; hosts go on without it
            self._head.start_gcs_server()


class NodeRevival:
    """Starts nodes again that have died: `start` makes a member's next one, in a thread of `pool`, for that may wait
    for the control store. `nodes` is by member, and kept up to date.
    """

    def __init__(self, nodes: dict[str, Any], start: Callable[[str], Any], pool: ThreadPoolExecutor) -> None:
        self._nodes, self._start, self._pool = nodes, start, pool
        self._starting: dict[str, Future[Any]] = {}
        self._not_before: dict[str, float] = {}

    def look(self) -> list[Any]:
        """The nodes that have been started since the last look. What goes wrong is tried again."""
        now = time.monotonic()
        for member, node in self._nodes.items():
            if member not in self._starting and now >= self._not_before.get(member, 0.0) and _has_died(node):
                self._not_before[member] = now + NODE_AFTER
                self._starting[member] = self._pool.submit(self._start, member)
        found = []
        for member in [member for member, start in self._starting.items() if start.done()]:
            with contextlib.suppress(Exception):  # Ray raises many kinds
                self._nodes[member] = self._starting.pop(member).result()
                found.append(self._nodes[member])
        return found


def _has_died(node: Any) -> bool:
    """A node is its raylet: without one nothing of it goes on."""
    from ray._private import ray_constants

    raylets = node.all_processes.get(ray_constants.PROCESS_TYPE_RAYLET, ())
    return all(raylet.process.poll() is not None for raylet in raylets)

"""Requests that a client sends again under the same id: they are run once, and all get the one answer.

A client does that when its connection broke and it cannot know what became of its request. Who wants this gives each
request an id of its own; a request without an id, or with other values, is another request. What is known of requests
is in memory: after the ingress's process died a repeated request runs again, once.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from runtime.open_inference.protocol import Code, InferAnswer, InferRequest, ProtocolError
from runtime.values import size

WINDOW: Final = 60.0
"""Seconds after its answer for which a request is known."""
MOST_BYTES: Final = 64_000_000
"""Of the answers that are kept; beyond, the oldest are forgotten early."""


@dataclass(slots=True)
class _Known:
    run: asyncio.Task[InferAnswer]
    ended: float = 0.0
    bytes: int = 0


class Repeats:
    """Used by one event loop."""

    def __init__(self, most: int) -> None:
        """`most` requests with an id run at a time, those included whose clients went away."""
        self._most, self.running = most, 0
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._bytes = 0

    async def once(self, request: InferRequest, run: Callable[[], Awaitable[InferAnswer]]) -> InferAnswer:
        """The answer of `run`, or of the same request's run before. One that failed is run again. Raises ProtocolError.

        With an id the run goes on when its client goes away, who may come back for the answer.
        """
        if not request.id:
            return await run()
        self._forget()
        key = _key(request)
        known = self._known.get(key)
        if known is None:
            if self.running >= self._most:
                raise ProtocolError(Code.refused, f"{self.running} requests with an id are running: try again later")
            self.running += 1
            known = self._known[key] = _Known(asyncio.ensure_future(_awaited(run)))
            known.run.add_done_callback(lambda _: self._ended(key, known))
            return await asyncio.shield(known.run)
        try:
            return await asyncio.shield(known.run)
        except ProtocolError as error:
            if error.code is not Code.late:
                raise
        return await self.once(request, run)  # the first one's time was up, not this one's

    def _ended(self, key: bytes, known: _Known) -> None:
        self.running -= 1
        self._known.pop(key, None)
        if known.run.cancelled() or known.run.exception() is not None:
            return
        known.ended = time.monotonic()
        known.bytes = sum(size(value) for value in known.run.result().outputs.values())
        self._bytes += known.bytes
        self._known[key] = known  # in the order of their ends

    def _forget(self) -> None:
        """Those that ended too long ago, and the oldest where there are too many bytes."""
        until = time.monotonic() - WINDOW
        gone: list[bytes] = []
        for key, known in self._known.items():
            if not known.ended:
                continue
            if known.ended >= until and self._bytes <= MOST_BYTES:
                break
            gone.append(key)
            self._bytes -= known.bytes
        for key in gone:
            del self._known[key]


async def _awaited(run: Callable[[], Awaitable[InferAnswer]]) -> InferAnswer:
    return await run()


def _key(request: InferRequest) -> bytes:
    """Of all that the answer depends on."""
    digest = hashlib.sha256(repr((request.model, request.id, request.wanted)).encode())
    for name, value in sorted(request.values.items()):
        plain = value.encode() if isinstance(value, str) else value
        kind = (name, type(value).__name__, len(plain))
        if isinstance(plain, np.ndarray):
            kind = (name, str(plain.dtype), *plain.shape)
            plain = np.ascontiguousarray(plain).tobytes()
        digest.update(repr(kind).encode())
        digest.update(plain)
    return digest.digest()

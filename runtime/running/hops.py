"""Measures what handing a message to another host costs beyond the link: through the channel that runs use."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import numpy as np

from runtime.channel import CHANNEL
from runtime.channel.zeromq import Secret, ZeroMQChannel
from runtime.cluster.connection import Connection
from runtime.cluster.keeper import LOOPBACK
from runtime.cluster.local import local_cluster
from runtime.hosting.shaping import Shaper, Step
from runtime.machine import host_name
from runtime.message import Message
from runtime.topology import OPENING
from runtime.values import Value
from specs.errors import EnvironmentFailed
from specs.profile import Distribution, HopOverhead

SIZES: Final = (100, 10_000, 100_000, 400_000, 1_000_000, 3_000_000)
QUANTILES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
BLOCKS: Final = 5
GAP: Final = 12e-3
"""Seconds between messages: one does not wait for another, and both processes have gone to sleep, as in a run."""
PATIENCE: Final = 15.0
"""Seconds for the messages that are still on their way when the last was sent."""
DELAY: Final = 4e-3
"""Of the link that a probe's message passes, and that is not counted: what is measured includes waking up after it."""


class HopProbe:
    """An actor at one end. Messages take the way that they take in a run: shaper's thread where links are shaped,
    channel, decoding.
    """

    def __init__(self, address: str, secret: Secret) -> None:
        self._took: list[float] = []
        self._problems: list[str] = []
        self._channel = ZeroMQChannel(address, secret)
        self._shaper = Shaper(self._channel.send, None, 0, lambda message: None)

    async def endpoint(self) -> str:
        return self._channel.endpoint

    async def open(self, ends: Mapping[str, str], to_open: Mapping[str, int]) -> None:
        self._channel.connect(ends.get, lambda member, message, reason: self._problems.append(reason))
        self._channel.start(self._deliver, to_open)

    def _deliver(self, message: Message) -> None:
        self._took.append(time.monotonic() - message.sent)

    async def take(self, count: int) -> list[float]:
        """How long each message took, once `count` have come: on a busy machine some come long after they were sent."""
        give_up = time.monotonic() + PATIENCE
        while len(self._took) < count and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
        took, self._took = self._took, []
        return took

    async def send(self, to: str, payload: int, count: int, gap: float, shaped: bool = True) -> list[str]:
        """Send `count` messages, as over links that are `shaped` or not; returns what went wrong."""
        await asyncio.to_thread(self._send, to, payload, count, gap, shaped)
        problems, self._problems = self._problems, []
        return problems

    def _send(self, to: str, payload: int, count: int, gap: float, shaped: bool) -> None:
        on_the_way = (Step(None, delay=DELAY),)
        values: dict[str, Value] = {"a.b": np.frombuffer(os.urandom(payload), np.uint8)} if payload else {}
        for number in range(count):
            at = time.monotonic()
            due = at + DELAY if shaped else at
            message = Message("values", str(number), "flow", "origin", "consumer", at + 60.0, sent=due, values=values)
            if shaped:
                self._shaper.send(to, message, on_the_way, at)
            else:
                self._channel.send(to, message)
            time.sleep(gap)


def measure_hops(
    sizes: Iterable[int] = SIZES,
    *,
    count: int = 60,
    on_progress: Callable[[int], None] | None = None,
) -> list[HopOverhead]:
    """One-way time between two nodes of this machine, for messages of each of `sizes` bytes, `count` of each.

    Raises EnvironmentFailed where the nodes do not start, or messages do not arrive.
    """
    found: list[HopOverhead] = []
    with local_cluster([{"site": "hop-a", "tier": "probe"}, {"site": "hop-b", "tier": "probe"}]) as cluster:
        connection = Connection(cluster.wait(), local=True)
        try:
            secret = Secret.new(encrypted=False)
            ends = {site: connection.place(site, HopProbe, LOOPBACK, secret) for site in ("hop-a", "hop-b")}
            connection.call(ends, "open", connection.call(ends, "endpoint"), {"hop-b": OPENING})
            a, b = ends.values()
            connection.gather({"a": a.send.remote("hop-b", 1000, 20, GAP)})
            connection.gather({"b": b.take.remote(20)})
            for payload in sizes:
                # A message of megabytes takes longer than the gap; wait so that each is measured alone.
                gap = GAP + payload * 1e-8
                problems = connection.gather({"a": a.send.remote("hop-b", payload, count, gap)})["a"]
                took = connection.gather({"b": b.take.remote(count)})["b"]
                if problems or len(took) != count:
                    what = f"{len(took)} of {count} messages of {payload} bytes arrived within {PATIENCE:g} s"
                    raise EnvironmentFailed(f"hops were not measured: {what}{', '.join(['', *problems[:1]])}")
                found.append(_overhead(payload, took))
                if on_progress:
                    on_progress(payload)
        finally:
            connection.close()
    return found


def _overhead(payload: int, took: list[float]) -> HopOverhead:
    return HopOverhead(
        channel=CHANNEL,
        bytes=payload,
        latency=distribution(took),
        host=host_name(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def distribution(seconds: list[float]) -> Distribution:
    """Moments and quantiles of a sample in the order in which it was measured."""
    sample = np.asarray(seconds)
    medians = [float(np.median(block)) for block in np.array_split(sample, BLOCKS)]
    return Distribution(
        mean=float(sample.mean()),
        second=float((sample**2).mean()),
        third=float((sample**3).mean()),
        quantiles={f"{q:g}": float(np.quantile(sample, q)) for q in QUANTILES},
        n=len(seconds),
        spread=(max(medians) - min(medians)) / 2,
    )

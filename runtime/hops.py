"""Measures what handing a message to another host costs beyond the link: through the channel that runs use."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from runtime.cluster.connection import Connection
from runtime.cluster.local import local_cluster
from runtime.machine import host_name
from runtime.message import Message
from specs.profile import Distribution, HopOverhead

SIZES: Final = (100, 10_000, 100_000, 400_000, 1_000_000, 3_000_000)
CHANNEL: Final = "ray"
QUANTILES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
BLOCKS: Final = 5
GAP: Final = 12e-3
"""Seconds between messages: one does not wait for another, and both processes have gone to sleep, as in a run."""
DELAY: Final = 4e-3
"""Of the link that a probe's message passes, and that is not counted: what is measured includes waking up after it."""


class HopProbe:
    """An actor at one end. Messages take the way that they take in a run: shaper's thread, channel, decoding."""

    def __init__(self) -> None:
        self._took: list[float] = []

    async def deliver(self, data: bytes) -> None:
        from runtime.message import decode

        message = decode(data)
        self._took.append(time.monotonic() - message.sent)

    async def take(self) -> list[float]:
        took, self._took = self._took, []
        return took

    async def send(self, peer: Any, payload: int, count: int, gap: float) -> list[str]:
        """Send `count` messages; returns what went wrong."""
        return await asyncio.to_thread(_send, peer, payload, count, gap)


def _send(peer: Any, payload: int, count: int, gap: float) -> list[str]:
    from runtime.channel.ray_calls import RayChannel
    from runtime.shaping import Shaper, Step

    problems: list[str] = []
    channel = RayChannel({"peer": peer}, lambda member, message, reason: problems.append(reason))
    on_the_way = (Step(None, delay=DELAY),)
    shaper = Shaper(channel.send, None, 0, lambda message: None)
    values = {"a.b": os.urandom(payload)} if payload else {}
    for number in range(count):
        at = time.monotonic()
        due = at + DELAY
        message = Message("values", str(number), "flow", "origin", "consumer", at + 60.0, sent=due, values=values)
        shaper.send("peer", message, on_the_way, at)
        time.sleep(gap)
    time.sleep(0.1)
    shaper.close()
    channel.close()
    return problems


def measure_hops(
    sizes: Iterable[int] = SIZES,
    *,
    count: int = 60,
    on_progress: Callable[[int], None] | None = None,
) -> list[HopOverhead]:
    """One-way time between two nodes of this machine, for messages of each of `sizes` bytes, `count` of each.

    Raises EnvironmentFailed where the nodes do not start.
    """
    found: list[HopOverhead] = []
    with local_cluster([{"site": "hop-a", "tier": "probe"}, {"site": "hop-b", "tier": "probe"}]) as cluster:
        connection = Connection(cluster.wait(), local=True)
        try:
            a, b = (connection.place(site, HopProbe) for site in ("hop-a", "hop-b"))
            connection.gather({"a": a.send.remote(b, 1000, 20, GAP)})
            connection.gather({"b": b.take.remote()})
            for payload in sizes:
                # A message of megabytes takes longer than the gap; wait so that each is measured alone.
                gap = GAP + payload * 1e-8
                problems = connection.gather({"a": a.send.remote(b, payload, count, gap)})["a"]
                took = connection.gather({"b": b.take.remote()})["b"]
                if problems or len(took) != count:
                    raise RuntimeError(f"{count - len(took)} of {count} messages did not arrive: {problems[:1]}")
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

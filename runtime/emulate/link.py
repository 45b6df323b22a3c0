"""One direction of a link: a first-come-first-served server of its rate, then the delay with its jitter, and loss.

Times are those of `time.monotonic`, in seconds. What the kernel hands over may be several packets in one buffer: a
*train*. A train passes a server as its packets would, one after another: its head may be far along while its tail is
still to come, so that a route of several links costs a train no more than its packets.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from runtime.emulate.topology import Way

BUFFER_BYTES: Final = 1_500_000
BUFFER_SECONDS: Final = 0.1
"""What may wait before a link, whichever is more; the rest is dropped. 1,000 full packets, as netem's default."""
JITTER_MEMORY: Final = 0.02
"""Seconds in which a link's delay changes. Packets of one message meet nearly the same delay, and keep their order."""


@dataclass(frozen=True, slots=True)
class Train:
    """`packets` packets of at most `unit` bytes, `size` bytes in all, headers included."""

    size: int
    unit: int
    packets: int


Times = tuple[float, float]
"""When the first and when the last packet of a train are somewhere."""


class Server:
    """Serves at `rate` bytes/s, one after another."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free = 0.0

    def set_rate(self, rate: float, now: float) -> None:
        """What waits already is served at the new rate."""
        if self._free > now:
            self._free = now + (self._free - now) * self.rate / rate
        self.rate = rate

    def serve(self, head: float, tail: float, train: Train) -> Times | None:
        """When the first and the last packet of a train leave, which come at `head` and `tail`; None: no room."""
        begin = max(head, self._free)
        if (begin - head) * self.rate > max(BUFFER_BYTES, BUFFER_SECONDS * self.rate):
            return None
        self._free = begin + train.size / self.rate
        unit = train.unit / self.rate
        return begin + unit, max(self._free, tail + unit)


Step = Callable[[float, float, Train], Times | None]
"""Part of a route, to be taken when the head of a train is there. None where the train goes no further."""


class Line:
    """The state of one `Way`. A train takes its `steps`, each when it is due there: what comes to a server earlier is
    served earlier, from whichever link.
    """

    def __init__(self, way: Way, shared: Server | None, rng: random.Random) -> None:
        self.way = way
        self.own, self.shared = Server(way.rate), shared
        first, last = (shared, self.own) if way.shared_first else (self.own, shared)
        self.steps = self._steps(first, last)
        self.delay, self.jitter, self.loss = way.delay, way.jitter, way.loss
        self.carries = True
        self.packets = self.bytes = self.lost = self.dropped = 0
        self._random = rng
        self._deviation, self._drawn = rng.gauss(0.0, 1.0), 0.0
        self._last_head = self._last_tail = 0.0

    def _steps(self, first: Server | None, last: Server | None) -> tuple[Step, ...]:
        """One for each server, the propagation with the last."""

        def passing(server: Server, then: Step) -> Step:
            def step(head: float, tail: float, train: Train) -> Times | None:
                served = server.serve(head, tail, train) if self.carries else None
                if served is None:
                    self.dropped += train.packets
                    return None
                return then(*served, train)

            return step

        one, *two = [server for server in (first, last) if server is not None]
        if not two:
            return (passing(one, self._propagate),)
        return passing(one, lambda head, tail, _: (head, tail)), passing(two[0], self._propagate)

    def _propagate(self, head: float, tail: float, train: Train) -> Times | None:
        self.packets += train.packets
        self.bytes += train.size
        if self.loss and self._random.random() < self._loss_of(train):
            self.lost += train.packets
            return None
        delay = self._delay(head)
        self._last_head = head = max(head + delay, self._last_head)
        self._last_tail = tail = max(tail + delay, self._last_tail)
        return head, tail

    def _loss_of(self, train: Train) -> float:
        return self.loss if train.packets == 1 else 1 - (1 - self.loss) ** train.packets

    def _delay(self, at: float) -> float:
        """Normal around the mean, cut off at zero; what is sent soon after another meets nearly the same."""
        if not self.jitter:
            return self.delay
        kept = math.exp(-max(0.0, at - self._drawn) / JITTER_MEMORY)
        self._drawn = at
        self._deviation = kept * self._deviation + math.sqrt(1 - kept * kept) * self._random.gauss(0.0, 1.0)
        return max(0.0, self.delay + self.jitter * self._deviation)

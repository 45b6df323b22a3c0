"""Links shaped inside the application: no privilege, one machine.

A message reserves each link of its route in turn, in event time: it starts when the link is free, holds it for
bytes / rate, and is at the far end delay (and jitter) later. When each link is free next stands in one small file that
all hosts of the run map into memory. Times are logical: a thread that wakes late reserves the next link for the time at
which the message was due there, so lateness does not add up; only the last wake-up counts.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import logging
import mmap
import os
import random
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Final

from runtime.message import Message
from runtime.topology import Hop, Topology
from specs.retransmission import Retransmission

METHOD: Final = "links reserved hop by hop inside the senders (no root), processor time stretched by sleeping"
NONE: Final = "none: the network and the processors as they are"
REAL: Final = "none: hosts are on several machines, whose links and processors are as they are"

_FREE_AT: Final = struct.Struct("<d")
_LOG: Final = logging.getLogger(__name__)

Deliver = Callable[[str, Message], None]


class LinkState:
    """When each capacity is free next (CLOCK_MONOTONIC, seconds), shared by the processes of one run through `file`."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_RDWR)
        self._map = mmap.mmap(self._descriptor, 0)
        self._lock = threading.Lock()  # fcntl's locks are per process

    @staticmethod
    def create(file: Path, capacities: int) -> None:
        """A new file in which all capacities are free."""
        with file.open("xb") as stream:
            stream.write(bytes(_FREE_AT.size * max(1, capacities)))

    def reserve(self, capacity: int, at: float, seconds: float) -> float:
        """Hold `capacity` for `seconds` from `at`, or from when it is free. Returns when that ends."""
        offset = capacity * _FREE_AT.size
        with self._lock:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX, _FREE_AT.size, offset)
            try:
                (free_at,) = _FREE_AT.unpack_from(self._map, offset)
                end = max(at, free_at) + seconds
                _FREE_AT.pack_into(self._map, offset, end)
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, _FREE_AT.size, offset)
        return float(end)

    def close(self) -> None:
        with self._lock:
            self._map.close()
            os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Step:
    """Part of a route: a capacity (its place in the file) at `rate` bytes/s, or, where it is None, a delay: its mean
    and jitter, and what packets that are lost on the whole route cost.
    """

    capacity: int | None
    rate: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    again: Retransmission | None = None


class Routes:
    """The steps between members, for each origin. Every process derives the same numbering from the same topology."""

    def __init__(self, top: Topology) -> None:
        self._top = top
        keys: dict[tuple[str, ...], None] = {}
        for serving in top.serving:
            for use in top.links:
                if serving.site == use.instances:
                    keys[("own", use.link, use.direction, str(serving.member))] = None
                if serving.site == use.shared_by:
                    keys[("shared", use.link, use.direction, str(serving.member))] = None
        self._index = {key: index for index, key in enumerate(sorted(keys))}

    @property
    def capacities(self) -> int:
        return len(self._index)

    def names(self) -> tuple[tuple[str, ...], ...]:
        """(own or shared, link, direction, member) of each capacity, by its place in the file."""
        return tuple(self._index)

    def capacity(self, kind: str, link: str, direction: str, member: str) -> int | None:
        """The place of a capacity (`kind` is own or shared) in the file, where the run has it."""
        return self._index.get((kind, link, direction, member))

    def steps(self, origin: str, start: str, end: str) -> tuple[Step, ...]:
        """From site `start` to site `end` for requests of `origin`; none within a site."""
        hops = () if start == end else self._top.hops[self._top.origin_site[origin], start, end]
        steps = tuple(step for hop in hops for step in self.of_hop(origin, hop))
        again = self._losing(hops)
        return (*steps, Step(None, again=again)) if again else steps

    def _losing(self, hops: tuple[Hop, ...]) -> Retransmission | None:
        """What lost packets cost on the way; None where none are lost."""
        uses = [self._top.link[hop] for hop in hops]
        kept = prod(1 - use.loss for use in uses)
        if kept == 1:
            return None
        least = min([use.rate for use in uses] + [use.shared_rate for use in uses if use.shared_by])
        return Retransmission(1 - kept, 2 * sum(use.delay for use in uses), least)

    def of_hop(self, origin: str, hop: Hop) -> tuple[Step, ...]:
        """One link: its own capacity and the one that it shares, in the order met, then the propagation."""
        use = self._top.link[hop]
        way = (use.link, use.direction)
        own = Step(self._index[("own", *way, str(self._top.member[origin, use.instances]))], use.rate)
        steps = [own]
        if use.shared_by:
            key = ("shared", *way, str(self._top.member[origin, use.shared_by]))
            shared = Step(self._index[key], use.shared_rate)
            steps = [shared, own] if use.shared_first else [own, shared]
        return (*steps, Step(None, delay=use.delay, jitter=use.jitter))


@dataclass(slots=True)
class _Parcel:
    member: str
    message: Message
    payload: int
    steps: tuple[Step, ...]
    done: int = 0
    queued: float = 0.0


class Shaper:
    """One thread that carries parcels over their steps and hands each to `deliver` when it is due at the far end."""

    def __init__(
        self,
        deliver: Deliver,
        state: LinkState | None,
        seed: int,
        on_late: Callable[[Message], None],
    ) -> None:
        """`state` may be None where no parcel has steps. `on_late` gets messages whose deadline passed on the way."""
        self._deliver = deliver
        self._state = state
        self._random = random.Random(seed)
        self._on_late = on_late
        self._heap: list[tuple[float, int, _Parcel]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._loop, name="shaper", daemon=True)
        self._thread.start()

    def send(self, member: str, message: Message, steps: tuple[Step, ...], at: float) -> None:
        """Start `message` on its way at `at`."""
        parcel = _Parcel(member, message, message.payload, steps)
        with self._changed:
            if self._open:
                heapq.heappush(self._heap, (at, next(self._order), parcel))
                self._changed.notify()

    def reserve(self, capacity: int, speed: float, payload: int, at: float) -> None:
        """Load `capacity` with `payload` bytes at `speed` bytes/s that nobody receives: traffic that is left out."""
        if self._state is not None:
            self._state.reserve(capacity, at, payload / speed)

    def close(self) -> None:
        """Stop; parcels still on their way are dropped."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join()

    def _loop(self) -> None:
        while True:
            with self._changed:
                while self._open and (not self._heap or self._heap[0][0] > time.monotonic()):
                    left = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._changed.wait(left if left is None else max(left, 0.0))
                if not self._open:
                    return
                due, _, parcel = heapq.heappop(self._heap)
            try:
                self._advance(due, parcel)
            except Exception:  # a thread that dies would lose all messages after this one
                _LOG.exception("message %s to %s was dropped", parcel.message.request, parcel.member)

    def _advance(self, due: float, parcel: _Parcel) -> None:
        """Take the parcel, which is at its next step at `due`, one capacity further, or hand it over."""
        if due > parcel.message.deadline and parcel.message.kind in ("values", "skip"):
            self._on_late(parcel.message)
            return
        if parcel.done == len(parcel.steps):
            self._deliver(parcel.member, replace(parcel.message, queued=parcel.queued))
            return
        step = parcel.steps[parcel.done]
        parcel.done += 1
        if step.capacity is None:
            due += max(0.0, self._random.gauss(step.delay, step.jitter)) if step.jitter else step.delay
            if step.again is not None and parcel.payload:
                due += step.again.drawn(parcel.payload, self._random.random())
        elif self._state is not None and parcel.payload:
            took = parcel.payload / step.rate
            end = self._state.reserve(step.capacity, due, took)
            parcel.queued += max(0.0, end - took - due)
            due = end
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._order), parcel))

"""What one host sends another: the values of one edge for one request, or word that a request goes no further."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Literal

from runtime.values import Value, pack, restored, size

Kind = Literal["values", "skip", "refused", "failed", "unreached", "answer", "adopt", "adopted", "listens"]
"""``answer``: word for the client's log, at the request's origin, of what came to a sink (`consumer`) elsewhere. The
last three are words between processes of a deployment, of no request: see `runtime.deployment.exchange`.
"""


@dataclass(frozen=True, slots=True)
class StageTime:
    """One stage of one request: seconds waited in its queue, seconds of service, and when it ended by `clock`."""

    stage: str
    member: str
    wait: float
    service: float
    ended: float
    clock: str = ""
    """As `clock_name` calls it."""


@dataclass(frozen=True, slots=True)
class TransferTime:
    """One edge between two members: seconds from the producer's hand-over to arrival, `wait` of them for links."""

    edge: str
    member: str
    seconds: float
    wait: float


@dataclass(frozen=True, slots=True)
class Trace:
    """Times of the stages and transfers behind a message; each at most once."""

    stages: tuple[StageTime, ...] = ()
    transfers: tuple[TransferTime, ...] = ()

    def merged(self, other: Trace) -> Trace:
        """Both, without what they have in common."""
        if not (other.stages or other.transfers):
            return self
        if not (self.stages or self.transfers):
            return other
        return Trace(
            tuple(dict.fromkeys((*self.stages, *other.stages))),
            tuple(dict.fromkeys((*self.transfers, *other.transfers))),
        )


_FIXED: Final = struct.Struct("<3di5I")
"""Deadline, sent, queued and attempt; bytes of the request's name, the reason and the route; how many times of the
trace and sizes of values follow."""
_TEXT: Final = ("utf-8", "surrogatepass")
_ROUTES: Final = 512
"""Routes that are kept as they are written: those of the messages of a host, which are alike but for their numbers."""
MOST_KEPT: Final = 16
LONGEST_KEPT: Final = 2048
"""Stages of a trace, and bytes, of the longest of them: with many items, each with its stages, few come twice."""
_NO_TRACE: Final = Trace()
SMALL: Final = 32_768
"""Bytes of values that are not worth frames of their own."""


@dataclass(frozen=True, slots=True)
class Message:
    """From `producer` to `consumer` (stages, a source or a sink, by id) for one request.

    `deadline` and `sent` are CLOCK_MONOTONIC of the sender; `clock` names the machine whose clock that is; `queued` is
    how many seconds it waited for shaped links. `skipped` are components that this request leaves out. `values` are by
    reference, ``component.output``. `attempt` counts how often the origin has sent the request before; the attempt goes
    round the processes in `avoid`. ``unreached`` tells the origin that the process `consumer` could not be reached.
    """

    kind: Kind
    request: str
    flow: str
    origin: str
    consumer: str
    deadline: float
    producer: str = ""
    sent: float = 0.0
    clock: str = ""
    queued: float = 0.0
    values: Mapping[str, Value] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    trace: Trace = Trace()
    reason: str = ""
    attempt: int = 0
    avoid: tuple[str, ...] = ()
    plan: str = ""
    """Of the plans that a process has open, the one whose host it is for; "" where there is only one."""

    def received(self, now: float) -> Message:
        """From another machine, whose clock says nothing here: what was left of its deadline when it was sent is left
        `now`, the trip apart.
        """
        return replace(self, deadline=now + self.deadline - self.sent)

    @property
    def payload(self) -> int:
        """Bytes of the values: what links are charged for. Word of an answer is none of the application's."""
        return 0 if self.kind == "answer" else sum(size(value) for value in self.values.values())


@dataclass(frozen=True, slots=True)
class _Route:
    """What messages from one stage to another have in common; `values` are (name, type, shape), see `pack`."""

    kind: Kind
    flow: str
    origin: str
    consumer: str
    producer: str
    clock: str
    skipped: tuple[str, ...]
    avoid: tuple[str, ...]
    plan: str
    values: tuple[tuple[str, str, tuple[int, ...]], ...]
    stages: tuple[tuple[str, str, str], ...]
    transfers: tuple[tuple[str, str], ...]


def _tuples(found: object) -> Any:
    """Lists of JSON, as deep as a route's, as tuples: they can be looked up."""
    return tuple(map(_tuples, found)) if isinstance(found, list) else found


@lru_cache(_ROUTES)
def _written(route: tuple[object, ...]) -> bytes:
    """The fields of a route as JSON."""
    return json.dumps(route, separators=(",", ":")).encode()


@lru_cache(_ROUTES)
def _read(text: bytes) -> _Route:
    """The inverse of `_written`. Raises ValueError or TypeError where it is not one."""
    return _Route(*_tuples(json.loads(text)))


def frames(message: Message) -> list[bytes | memoryview]:
    """A header, and the raw values as they lie in memory: no pickle, so it may come from outside. Small values follow
    the header in its frame.
    """
    described, buffers = pack(message.values)
    stages, transfers = message.trace.stages, message.trace.transfers
    write = _written if len(stages) <= MOST_KEPT else _written.__wrapped__
    route = write(
        (
            message.kind,
            message.flow,
            message.origin,
            message.consumer,
            message.producer,
            message.clock,
            message.skipped,
            message.avoid,
            message.plan,
            tuple((name, kind, tuple(shape)) for name, kind, shape, _ in described),
            tuple((t.stage, t.member, t.clock) for t in stages),
            tuple((t.edge, t.member) for t in transfers),
        )
    )
    sizes = [size for *_, size in described]
    times = [x for t in stages for x in (t.wait, t.service, t.ended)] + [
        x for t in transfers for x in (t.seconds, t.wait)
    ]
    request, reason = message.request.encode(*_TEXT), message.reason.encode(*_TEXT)
    lengths = (len(request), len(reason), len(route), len(times), len(sizes))
    head = (
        _FIXED.pack(message.deadline, message.sent, message.queued, message.attempt, *lengths),
        _numbers(len(times), len(sizes)).pack(*times, *sizes),
        request,
        reason,
        route,
    )
    if sum(sizes) <= SMALL:
        return [b"".join((*head, *buffers))]
    return [b"".join(head), *buffers]


def from_frames(head: bytes | memoryview, buffers: Sequence[memoryview]) -> Message:
    """The inverse of `frames`; arrays are views of what is given. Raises ValueError where it is not a message."""
    try:
        deadline, sent, queued, attempt, for_request, for_reason, for_route, timed, valued = _FIXED.unpack_from(head)
        layout = _numbers(timed, valued)
        numbers = layout.unpack_from(head, _FIXED.size)
        begin = _FIXED.size + layout.size
        end = begin + for_request + for_reason
        text = bytes(head[begin : end + for_route])
        request = str(text[:for_request], *_TEXT)
        reason = str(text[for_request : end - begin], *_TEXT) if for_reason else ""
        route = _read(text[end - begin :]) if for_route <= LONGEST_KEPT else _read.__wrapped__(text[end - begin :])
        if timed != 3 * len(route.stages) + 2 * len(route.transfers) or valued != len(route.values):
            raise ValueError("not a message: its numbers are not those that it describes")
        if buffers and len(buffers) != valued:
            raise ValueError(f"{valued} values are described, {len(buffers)} came")
        values: dict[str, Value] = {}
        rest, at = memoryview(head), end + for_route
        for i, (name, kind, shape) in enumerate(route.values):
            size = numbers[timed + i]
            part = buffers[i] if buffers else rest[at : at + size]
            if len(part) != size:
                raise ValueError(f"the message ends within {name!r}")
            values[name] = restored(name, kind, shape, part)
            at += size
        return Message(
            route.kind,
            request,
            route.flow,
            route.origin,
            route.consumer,
            deadline,
            route.producer,
            sent,
            route.clock,
            queued,
            values,
            route.skipped,
            _trace(route, numbers),
            reason,
            attempt,
            route.avoid,
            route.plan,
        )
    except (TypeError, AttributeError, OverflowError, RecursionError, struct.error) as error:
        raise ValueError(f"not a message: {error}") from error


def _trace(route: _Route, times: Sequence[float]) -> Trace:
    """Of the names in `route` and the first numbers of a header."""
    if not route.stages and not route.transfers:
        return _NO_TRACE
    begin = 3 * len(route.stages)
    stages = [
        StageTime(stage, member, times[i], times[i + 1], times[i + 2], clock)
        for i, (stage, member, clock) in zip(range(0, begin, 3), route.stages, strict=True)
    ]
    transfers = [
        TransferTime(edge, member, times[i], times[i + 1])
        for i, (edge, member) in zip(range(begin, begin + 2 * len(route.transfers), 2), route.transfers, strict=True)
    ]
    return Trace(tuple(stages), tuple(transfers))


@lru_cache(_ROUTES)
def _numbers(times: int, sizes: int) -> struct.Struct:
    return struct.Struct(f"<{times}d{sizes}Q")


def encode(message: Message) -> bytes:
    """One self-contained buffer."""
    return b"".join(frames(message))


def decode(data: bytes | memoryview) -> Message:
    """The inverse of `encode`. Raises ValueError where `data` is not a message."""
    return from_frames(data, ())

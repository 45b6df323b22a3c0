"""What one host sends another: the values of one edge for one request, or word that a request goes no further."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from runtime.values import Value, pack, size, unpack

Kind = Literal["values", "skip", "refused", "failed", "unreached", "answer", "adopt", "adopted", "listens"]
"""``answer``: word for the client's log, at the request's origin, of what came to a sink (`consumer`) elsewhere. The
last three are words between processes of a deployment, of no request: see `runtime.deployment.exchange`.
"""
_LENGTH: Final = struct.Struct("<I")


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
        return Trace(
            tuple(dict.fromkeys((*self.stages, *other.stages))),
            tuple(dict.fromkeys((*self.transfers, *other.transfers))),
        )


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


def frames(message: Message) -> list[bytes | memoryview]:
    """A JSON header, and the raw values as they lie in memory: no pickle, so it may come from outside."""
    values, buffers = pack(message.values)
    head = {
        "k": message.kind,
        "r": message.request,
        "f": message.flow,
        "o": message.origin,
        "p": message.producer,
        "c": message.consumer,
        "d": message.deadline,
        "s": message.sent,
        "m": message.clock,
        "q": message.queued,
        "x": message.skipped,
        "w": message.reason,
        "n": message.attempt,
        "a": message.avoid,
        "l": message.plan,
        "v": values,
        "t": [[t.stage, t.member, t.wait, t.service, t.ended, t.clock] for t in message.trace.stages],
        "e": [[t.edge, t.member, t.seconds, t.wait] for t in message.trace.transfers],
    }
    return [json.dumps(head, separators=(",", ":")).encode(), *buffers]


def from_frames(head: bytes | memoryview, buffers: Sequence[memoryview]) -> Message:
    """The inverse of `frames`; arrays are views of `buffers`. Raises ValueError where they are not a message."""
    try:
        fields: dict[str, Any] = json.loads(bytes(head))
        described = fields["v"]
        if len(described) != len(buffers):
            raise ValueError(f"{len(described)} values are described, {len(buffers)} came")
        values: dict[str, Value] = {}
        for one, buffer in zip(described, buffers, strict=True):
            values |= unpack([one], buffer)
        return _message(fields, values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message: {error}") from error


def encode(message: Message) -> bytes:
    """One self-contained buffer: the length of the header, then the frames."""
    head, *buffers = frames(message)
    return b"".join((_LENGTH.pack(len(head)), head, *buffers))


def decode(data: bytes | memoryview) -> Message:
    """The inverse of `encode`. Raises ValueError where `data` is not a message."""
    view = memoryview(data)
    try:
        (length,) = _LENGTH.unpack_from(view)
        fields: dict[str, Any] = json.loads(bytes(view[_LENGTH.size : _LENGTH.size + length]))
        return _message(fields, unpack(fields["v"], view[_LENGTH.size + length :]))
    except (KeyError, TypeError, struct.error) as error:
        raise ValueError(f"not a message: {error}") from error


def _message(fields: Mapping[str, Any], values: Mapping[str, Value]) -> Message:
    return Message(
        kind=fields["k"],
        request=fields["r"],
        flow=fields["f"],
        origin=fields["o"],
        producer=fields["p"],
        consumer=fields["c"],
        deadline=fields["d"],
        sent=fields["s"],
        clock=fields["m"],
        queued=fields["q"],
        skipped=tuple(fields["x"]),
        reason=fields["w"],
        attempt=fields["n"],
        avoid=tuple(fields["a"]),
        plan=fields["l"],
        values=values,
        trace=Trace(tuple(StageTime(*t) for t in fields["t"]), tuple(TransferTime(*t) for t in fields["e"])),
    )

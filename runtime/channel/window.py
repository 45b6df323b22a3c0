"""Each message arrives once and in order, over connections that may break: go-back-N with a window of bytes.

The sender numbers messages when they first leave and keeps them until they are acknowledged; the receiver takes the
number that is next and nothing else. What a broken connection lost shows as a gap, or by the sender's next word of
where it stands, and is sent again from there (RFC 3366, section 1.3). The window is the receiver's credit: no more
bytes are on their way than it has room for.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from runtime.message import Message

REMEMBER: Final = 3600.0
"""Seconds after which a sender that has said nothing is forgotten. One that lives says something every half second; one
that was cut off for so long has nothing left to send again, for messages are dropped at their requests' deadlines."""

Frames = Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message as it goes on the wire."""

    message: Message
    frames: Frames
    size: int


class Outbox:
    """What one sender has for one peer. `window` bytes may be on their way; one message may always."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._waiting: deque[Parcel] = deque()
        self._kept: deque[Parcel] = deque()
        self._oldest = 0
        self._sent = 0
        self._bytes = 0

    @property
    def oldest(self) -> int:
        """The number of the first message that is not acknowledged; all before are done with."""
        return self._oldest

    @property
    def end(self) -> int:
        """The number that the next new message will get."""
        return self._oldest + len(self._kept)

    def __len__(self) -> int:
        return len(self._waiting) + len(self._kept)

    def add(self, parcel: Parcel) -> None:
        self._waiting.append(parcel)

    def to_send(self) -> Iterator[tuple[int, Parcel]]:
        """Numbered messages that may leave now: those to send again, then new ones while the window has room."""
        while True:
            if self._sent < self.end:
                parcel = self._kept[self._sent - self._oldest]
            elif self._waiting and (not self._kept or self._bytes + self._waiting[0].size <= self._window):
                parcel = self._waiting.popleft()
                self._kept.append(parcel)
                self._bytes += parcel.size
            else:
                return
            self._sent += 1
            yield self._sent - 1, parcel

    def acknowledge(self, number: int) -> None:
        """The peer has all before `number`."""
        while self._kept and self._oldest < number:
            self._bytes -= self._kept.popleft().size
            self._oldest += 1
        self._sent = max(self._sent, self._oldest)

    def go_back(self, number: int) -> None:
        """The peer has all before `number`, and wants what comes from there once more."""
        self.acknowledge(number)
        self._sent = max(self._oldest, min(number, self._sent))

    def expire(self, now: float) -> list[Message]:
        """Drop what is past its deadline, and tell it; what left is dropped only where all before it is."""
        late = [p.message for p in self._waiting if p.message.deadline < now]
        if late:
            self._waiting = deque(p for p in self._waiting if p.message.deadline >= now)
        while self._kept and self._kept[0].message.deadline < now:
            late.append(self._kept[0].message)
            self.acknowledge(self._oldest + 1)
        return late

    def clear(self) -> list[Message]:
        """Drop all, and tell it."""
        dropped = [p.message for p in (*self._kept, *self._waiting)]
        self.acknowledge(self.end)
        self._waiting.clear()
        return dropped


@dataclass(slots=True)
class _Sender:
    """Of one session: the number to take next, bytes taken since the last acknowledgement, when it was last heard."""

    expected: int = 0
    held: int = 0
    heard: float = 0.0


class Inbox:
    """What a receiver knows of its senders, by session, however many there are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._senders: OrderedDict[bytes, _Sender] = OrderedDict()

    def __len__(self) -> int:
        return len(self._senders)

    def _sender(self, session: bytes) -> _Sender:
        now = self._clock()
        if session not in self._senders:
            while self._senders and next(iter(self._senders.values())).heard < now - REMEMBER:
                self._senders.popitem(last=False)
            self._senders[session] = _Sender()
        self._senders.move_to_end(session)
        found = self._senders[session]
        found.heard = now
        return found

    def expected(self, session: bytes, oldest: int) -> int:
        """The next number to take, where the sender has nothing before `oldest` any more."""
        sender = self._sender(session)
        sender.expected = max(sender.expected, oldest)
        return sender.expected

    def take(self, session: bytes, number: int, oldest: int) -> Literal["new", "seen", "gap"]:
        """Whether message `number` is the one to handle now, was before, or comes after one that is missing."""
        expected = self.expected(session, oldest)
        if number != expected:
            return "seen" if number < expected else "gap"
        self._senders[session].expected = number + 1
        return "new"

    def hold(self, session: bytes, size: int) -> int:
        """So many more bytes were taken from who is known; how many have been since the last acknowledgement."""
        sender = self._senders[session]
        sender.held += size
        return sender.held

    def acknowledged(self, session: bytes) -> None:
        """All that was taken has been acknowledged."""
        self._sender(session).held = 0

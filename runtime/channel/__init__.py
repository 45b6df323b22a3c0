"""The one seam through which messages leave a host. A transport is one file here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from runtime.message import Message

OnError = Callable[[str, Message, str], None]
"""(member, message, reason): the message did not reach the member."""


class Channel(Protocol):
    """Carries messages to other hosts, from any thread, without waiting for them to be handled."""

    def send(self, member: str, message: Message) -> None:
        """Hand `message` over. What goes wrong, now or later, is told to the `OnError` given when it was opened."""
        ...

    def close(self) -> None:
        """Stop sending. Messages on their way may still arrive."""
        ...

"""The one seam through which messages leave a host. A transport is one file here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from runtime.message import Message

CHANNEL: Final = "zeromq"
"""Which one runs and deployments use, and what a hop costs is measured of."""

OnError = Callable[[str, Message, str], None]
"""(process, message, reason): the message did not reach the process."""
OnPulse = Callable[[str | None, str], None]
"""(incarnation, reason) of a heartbeat: None with the reason where no answer can come. Called in any thread."""
UNSENDABLE: Final = "it cannot be sent"
"""How the reason begins where that is the message's own fault, and tells nothing of the process."""


class Channel(Protocol):
    """Carries messages to other hosts, from any thread, without waiting for them to be handled."""

    def send(self, target: str, message: Message) -> None:
        """Hand `message` over to the process `target`.

        What goes wrong, now or later, is told to the `OnError` given when the channel was opened.
        """
        ...

    def beat(self, target: str, on_pulse: OnPulse) -> None:
        """Ask `target` for a sign of life. `on_pulse` may be called at once, later, or never where a link is cut."""
        ...

    def give_up(self, member: str, reason: str) -> None:
        """`member` is dead: what it was sent and may not have handled did not reach it, nor will anything later."""
        ...

    def close(self) -> None:
        """Stop sending. Messages on their way may still arrive."""
        ...

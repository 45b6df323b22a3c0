"""Messages as calls of the other host's Ray actor. What Ray needs to know about a call is in this file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.channel import OnError
from runtime.message import Message, encode


class RayChannel:
    """Calls ``deliver`` of the peer's actor, from host to host: no driver in between, one trip for what is inlined."""

    def __init__(self, peers: Mapping[str, Any], on_error: OnError) -> None:
        self._peers = peers
        self._on_error = on_error
        self._open = True

    def send(self, member: str, message: Message) -> None:
        peer = self._peers.get(member)
        if not self._open or peer is None:
            self._on_error(member, message, f"no host for {member}" if self._open else "the channel is closed")
            return
        try:
            sent = peer.deliver.remote(encode(message)).future()
        except Exception as error:  # Ray raises many kinds here; each means that the message did not leave
            self._on_error(member, message, _first_line(error))
            return
        sent.add_done_callback(lambda done: self._ended(member, message, done))

    def _ended(self, member: str, message: Message, done: Any) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and self._open:
            self._on_error(member, message, _first_line(error))

    def close(self) -> None:
        self._open = False


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no reason given'}"

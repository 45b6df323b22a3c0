"""Messages as calls of the other host's Ray actor. What Ray needs to know about a call is in this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runtime.channel import OnError
from runtime.health import OnPulse
from runtime.message import Message, encode


class RayChannel:
    """Calls ``deliver`` of the peer's actor, from host to host: no driver in between, one trip for what is inlined."""

    def __init__(self, peers: Mapping[str, Any], on_error: OnError) -> None:
        self._peers = peers
        self._on_error = on_error
        self._open = True

    def send(self, target: str, message: Message) -> None:
        def ended(reason: str) -> None:
            if reason and self._open:
                self._on_error(target, message, reason)

        if not self._open:
            self._on_error(target, message, "the channel is closed")
        else:
            self._call(target, "deliver", encode(message), then=lambda _, reason: ended(reason))

    def beat(self, target: str, on_pulse: OnPulse) -> None:
        self._call(target, "beat", then=on_pulse)

    def _call(self, target: str, method: str, *args: object, then: Callable[[Any, str], None]) -> None:
        """Call a method of `target`; `then` gets its result, or None and why there is none."""
        peer = self._peers.get(target)
        if peer is None:
            then(None, f"no host for {target}")
            return
        try:
            sent = getattr(peer, method).remote(*args).future()
        except Exception as error:  # Ray raises many kinds here; each means that the call did not leave
            then(None, _first_line(error))
            return
        sent.add_done_callback(lambda done: then(*_outcome(done)))

    def give_up(self, member: str, reason: str) -> None:
        """Ray ends each call itself."""

    def close(self) -> None:
        self._open = False


def _outcome(done: Any) -> tuple[Any, str]:
    if done.cancelled():
        return None, ""
    error = done.exception()
    return (done.result(), "") if error is None else (None, _first_line(error))


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no reason given'}"

"""Hosts of one process: a message is encoded, decoded and delivered at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runtime.channel import OnError, OnPulse
from runtime.message import Message, decode, encode


class MemoryChannel:
    """`deliver` maps members to what takes their messages; it may be filled after the channel was opened."""

    def __init__(self, deliver: Mapping[str, Callable[[Message], None]], on_error: OnError) -> None:
        self._deliver = deliver
        self._on_error = on_error
        self._open = True

    def send(self, target: str, message: Message) -> None:
        if not self._open:
            return
        deliver = self._deliver.get(target)
        if deliver is None:
            self._on_error(target, message, f"no host for {target}")
        else:
            deliver(decode(encode(message)))

    def beat(self, target: str, on_pulse: OnPulse) -> None:
        there = target in self._deliver
        on_pulse("memory" if there else None, "" if there else f"no host for {target}")

    def give_up(self, member: str, reason: str) -> None:
        """All are in this process."""

    def close(self) -> None:
        """Nothing is held: what a host still makes of what it has goes nowhere."""
        self._open = False

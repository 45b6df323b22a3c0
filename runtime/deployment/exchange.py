"""The channel of a deployed process, which the hosts of all plans that it has open share.

All processes of a deployment share a key, which is made by the first `planner deploy` and stays with it. Where a
process listens stands in a file, for it is another port after each start; who sends looks there for each connection.
Both are in the deployment's folder of state, which nobody else may read.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import zmq

from runtime.channel import Channel, OnError
from runtime.channel.zeromq import Deliver, Secret, ZeroMQChannel
from runtime.deployment.record import PORTS
from runtime.health import OnPulse
from runtime.machine import machine_id
from runtime.message import Message
from specs.errors import EnvironmentFailed
from specs.output_file import cannot_write, write_whole

KEY: Final = "channel.key"
ENDPOINT: Final = ".channel"
"""After the name of the process: the file that says where it listens."""


def make_key(folder: Path) -> None:
    """The key of the deployment whose state is in `folder`, unless there is one. Raises EnvironmentFailed where it
    cannot be written.
    """
    file, part = folder / KEY, folder / f"{KEY}.part"
    if file.exists():
        return
    secret = Secret.new(encrypted=False)
    part.unlink(missing_ok=True)  # of a command that was killed
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
            stream.write(secret.public + b"\n" + secret.private + b"\n")
        part.replace(file)
    except OSError as error:
        raise cannot_write(file, error) from error


def read_key(folder: Path, *, encrypted: bool) -> Secret:
    """Raises EnvironmentFailed where there is none, or the file is not one that `make_key` wrote."""
    try:
        public, private = (folder / KEY).read_bytes().split()
    except (OSError, ValueError) as error:
        raise EnvironmentFailed(f"the deployment's key cannot be read from {folder / KEY}") from error
    return Secret(public, private, encrypted)


def endpoint_in(folder: Path, process: str) -> str | None:
    """Where `process` listens; None where it has never listened."""
    try:
        return (folder / PORTS / f"{process}{ENDPOINT}").read_text("ascii").strip()
    except OSError:
        return None


class Exchange:
    """Of one process. Listens from construction; what comes waits until `start`."""

    def __init__(self, folder: Path, process: str, address: str, *, encrypted: bool) -> None:
        """`address` is of an interface of this machine. Raises EnvironmentFailed where it cannot be listened at, or the
        deployment has no key.
        """
        self._folder, self._process = folder, process
        self._errors: dict[str, OnError] = {}
        self._lock = threading.Lock()
        self._started = False
        try:
            self._channel = ZeroMQChannel(address, read_key(folder, encrypted=encrypted))
        except zmq.ZMQError as error:
            raise EnvironmentFailed(f"{process} cannot listen at {address}: {error}") from error
        self._channel.connect(lambda other: endpoint_in(folder, other), self._undelivered)

    def line(self, plan: str) -> Callable[[OnError], Channel]:
        """Opens the channel as the host of `plan` has it: told of its own messages alone."""

        def opened(on_error: OnError) -> Channel:
            with self._lock:
                self._errors[plan] = on_error
            return _Line(self._channel, lambda: self._end(plan))

        return opened

    def _end(self, plan: str) -> None:
        with self._lock:
            self._errors.pop(plan, None)

    def _undelivered(self, target: str, message: Message, reason: str) -> None:
        with self._lock:
            told = self._errors.get(message.plan)
        if told is not None:  # else it was unloaded meanwhile, with all that was under way by it
            told(target, message, reason)

    def start(self, deliver: Deliver) -> None:
        """Give what comes to `deliver`, and let the others know where we listen. Nothing where that was done before."""
        if not self._started:
            write_whole(self._folder / PORTS / f"{self._process}{ENDPOINT}", self._channel.endpoint + "\n")
            self._channel.start(deliver)
            self._started = True

    def near(self, others: Mapping[str, int]) -> None:
        """See `runtime.channel.zeromq.ZeroMQChannel.near`."""
        self._channel.near(others)

    def turn_away(self, message: Message, reason: str) -> None:
        """Tell the origin of `message` that it has come to nothing here."""
        if message.kind in ("values", "skip"):
            now, clock = time.monotonic(), machine_id()
            word = replace(message, kind="unreached", consumer=self._process, values={}, reason=reason)
            self._channel.send(message.origin, replace(word, sent=now, clock=clock))

    def close(self) -> None:
        self._channel.close()


@dataclass(frozen=True, slots=True)
class _Line:
    """See `runtime.channel.Channel`. Closing it leaves the others open."""

    channel: Channel
    end: Callable[[], None]

    def send(self, target: str, message: Message) -> None:
        self.channel.send(target, message)

    def beat(self, target: str, on_pulse: OnPulse) -> None:
        self.channel.beat(target, on_pulse)

    def give_up(self, member: str, reason: str) -> None:
        self.channel.give_up(member, reason)

    def close(self) -> None:
        self.end()

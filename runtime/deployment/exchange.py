"""The channel of a deployed process, which the hosts of all plans that it has open share.

All processes of a deployment share a key, which is made by the first `planner deploy` and stays with it. Where a
process listens stands in a file, for it is another port after each start; who sends looks there for each connection.
Both are in the deployment's folder of state, which nobody else may read.

A process on a machine of its own has a copy of that folder. It listens at the port that it had before, where that is
free, and else sends word of the new one to each of the others, again and again until it has come. Who gets that word
answers with what it was told of others that have moved: so two that moved at once, each telling where the other was
before, find each other by any third. By word of the channel, too, processes ask one another to have the host of a plan
without a site open: they may be in different clusters.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final
from uuid import uuid4

import zmq

from runtime.channel import Channel, OnError, OnPulse
from runtime.channel.zeromq import Deliver, Secret, ZeroMQChannel
from runtime.deployment.record import PORTS
from runtime.machine import machine_id
from runtime.message import Message
from specs.digest import digest_bytes
from specs.errors import EnvironmentFailed
from specs.output_file import cannot_write, write_whole

KEY: Final = "channel.key"
ADOPT_LIMIT: Final = 30.0
"""Seconds for other processes to open a host."""
TELL_AGAIN: Final = 2.0
"""Seconds from one word of where we listen to the next, to a process that it did not reach."""
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


def mark_of(folder: Path) -> str:
    """A word that tells folders of state apart, whatever they are called: the digest of the key. "" where none is."""
    try:
        return digest_bytes((folder / KEY).read_bytes())
    except OSError:
        return ""


def endpoint_file(process: str) -> str:
    """In a folder of state: what says where `process` listens."""
    return f"{PORTS}/{process}{ENDPOINT}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address where a process listens, and how often it has moved to another port since its folder was made: of two
    the later has the greater number.
    """

    address: str
    moves: int = 0

    def text(self) -> str:
        """As it stands in a file."""
        return f"{self.address} {self.moves}\n" if self.moves else f"{self.address}\n"


def endpoint_in(folder: Path, process: str) -> Endpoint | None:
    """Where `process` is known to listen; None where it has never listened."""
    try:
        address, *moves = (folder / endpoint_file(process)).read_text("ascii").split()
        return Endpoint(address, int(moves[0]) if moves else 0)
    except (OSError, ValueError):
        return None


def address_in(folder: Path, process: str) -> str | None:
    """The same, without how often it has moved."""
    endpoint = endpoint_in(folder, process)
    return endpoint.address if endpoint is not None else None


class Exchange:
    """Of one process. Listens from construction; what comes waits until `start`."""

    def __init__(self, folder: Path, process: str, address: str, *, encrypted: bool) -> None:
        """`address` is of an interface of this machine. `encrypted`: there may be processes on other machines, which do
        not see `folder`. Raises EnvironmentFailed where it cannot be listened at, or the deployment has no key.
        """
        self._folder, self._process = folder, process
        self._errors: dict[str, OnError] = {}
        self._adopting: dict[str, SimpleQueue[Message]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._untold: set[str] = set()
        self._started = False
        before = endpoint_in(folder, process) if encrypted else None
        secret = read_key(folder, encrypted=encrypted)
        try:
            self._channel = _listening(address, secret, _port(before.address if before else None))
        except zmq.ZMQError as error:
            raise EnvironmentFailed(f"{process} cannot listen at {address}: {error}") from error
        moved = before is not None and before.address != self._channel.endpoint
        self.endpoint = Endpoint(self._channel.endpoint, (before.moves if before else 0) + moved)
        self._channel.connect(lambda other: address_in(folder, other), self._undelivered)

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
        if message.kind == "adopt":
            self._adopted(replace(message, consumer=target, reason=reason))
            return
        if message.kind == "listens":
            if message.consumer == self._process:  # else it is told again when it tells where it is itself
                with self._lock:
                    self._untold.add(target)
            return
        with self._lock:
            told = self._errors.get(message.plan)
        if told is not None:  # else it was unloaded meanwhile, with all that was under way by it
            told(target, message, reason)

    def start(self, deliver: Deliver) -> None:
        """Give what comes to `deliver`, and let the others know where we listen. Nothing where that was done before."""
        if not self._started:
            write_whole(self._folder / endpoint_file(self._process), self.endpoint.text())
            self._channel.start(lambda message: self._take(message, deliver))
            self._started = True
            if self.endpoint.moves:  # by whichever process before: some may not have heard of it
                self._tell_endpoint()

    def _take(self, message: Message, deliver: Deliver) -> None:
        if message.kind == "adopted":
            self._adopted(message)
        elif message.kind == "listens":
            if _port(message.reason) and re.fullmatch(r"[\w+.-]+", message.consumer):
                self._hear(message.origin, message.consumer, Endpoint(message.reason, message.attempt))
        else:
            deliver(message)

    def _hear(self, teller: str, process: str, endpoint: Endpoint) -> None:
        """`teller` says that `process` listens at `endpoint` by now. Who says so of itself may not know who else has
        moved.
        """
        known = endpoint_in(self._folder, process)
        if known is None or endpoint.moves > known.moves:
            write_whole(self._folder / endpoint_file(process), endpoint.text())
        if teller == process:
            for other in self._others() - {process}:
                if (moved := endpoint_in(self._folder, other)) is not None and moved.moves:
                    self._tell(teller, other, moved)

    def _others(self) -> set[str]:
        """All but this one that are known to listen somewhere."""
        files = (self._folder / PORTS).glob(f"*{ENDPOINT}")
        return {file.name.removesuffix(ENDPOINT) for file in files} - {self._process}

    def _tell(self, target: str, process: str, endpoint: Endpoint) -> None:
        word = Message("listens", "", "", self._process, process, float("inf"), reason=endpoint.address)
        self._channel.send(target, replace(word, attempt=endpoint.moves))

    def _tell_endpoint(self) -> None:
        """To all others: it is another one than they know. Who is not there now is told later."""
        self._untold = self._others()
        threading.Thread(target=self._keep_telling, name="tell endpoint", daemon=True).start()

    def _keep_telling(self) -> None:
        while not self._closed.is_set():
            with self._lock:
                told, self._untold = self._untold, set()
            for other in sorted(told):
                self._tell(other, self._process, self.endpoint)
            self._closed.wait(TELL_AGAIN)

    # --- hosts of another plan

    def adopt(self, others: Collection[str], plan: str, limit: float = ADOPT_LIMIT) -> None:
        """Have the hosts of `plan` open at other processes, which are asked for it as messages of kind ``adopt``.

        Raises EnvironmentFailed where one does not say in time that it is.
        """
        answers: SimpleQueue[Message] = SimpleQueue()
        asked, until = uuid4().hex, time.monotonic() + limit
        self._adopting[asked] = answers
        left = set(others)
        try:
            for other in left:
                self._channel.send(other, Message("adopt", asked, "", self._process, other, until, plan=plan))
            while left:
                answer = answers.get(timeout=max(0.0, until - time.monotonic()))
                if answer.reason:
                    raise EnvironmentFailed(f"{answer.consumer} cannot take part: {answer.reason}")
                left.discard(answer.consumer)
        except Empty:
            raise EnvironmentFailed(f"{', '.join(sorted(left))} did not answer within {limit:g} s") from None
        finally:
            del self._adopting[asked]

    def has_adopted(self, message: Message, reason: str = "") -> None:
        """Tell who asked by `message` that it is so, or the `reason` why not."""
        until = time.monotonic() + ADOPT_LIMIT
        word = replace(message, kind="adopted", origin=self._process, deadline=until, reason=reason)
        self._channel.send(message.origin, replace(word, consumer=self._process))

    def _adopted(self, message: Message) -> None:
        answers = self._adopting.get(message.request)
        if answers is not None:
            answers.put(message)

    def near(self, others: Mapping[str, int]) -> None:
        """See `runtime.channel.zeromq.ZeroMQChannel.near`."""
        self._channel.near(others)

    def turn_away(self, message: Message, reason: str) -> None:
        """Tell the origin of `message` that it has come to nothing here."""
        if message.kind in ("values", "skip"):
            now, clock = time.monotonic(), machine_id()
            here = message if message.clock == clock else message.received(now)
            word = replace(here, kind="unreached", consumer=self._process, values={}, reason=reason)
            self._channel.send(message.origin, replace(word, sent=now, clock=clock))

    def close(self) -> None:
        self._closed.set()
        self._channel.close()


def _port(endpoint: str | None) -> int:
    """0 for what is no endpoint."""
    found = re.fullmatch(r"tcp://[\w.:\[\]-]+:(\d+)", endpoint or "")
    return int(found[1]) if found else 0


def _listening(address: str, secret: Secret, port: int) -> ZeroMQChannel:
    """At `port` where it is not 0 and free, else at another."""
    if port:
        with contextlib.suppress(zmq.ZMQError):
            return ZeroMQChannel(address, secret, port)
    return ZeroMQChannel(address, secret)


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

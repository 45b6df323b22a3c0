"""A client of TVM's RPC tracker: who lends devices under which key, and one of them on loan.

The protocol (`tvm.rpc.tracker` of 0.27): both sides say a magic number; then each message is its length in four bytes,
little endian, and JSON. TVM's own client waits without an end for a device and repeats refused connections for a
minute; this one says what is wrong, takes no more than `_MOST_BYTES` at a time, and follows a tracker to addresses of
this machine alone unless told otherwise.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from specs.errors import EnvironmentFailed, InputError, Issue, NotKnown
from specs.loopback import is_loopback

_MAGIC: Final = struct.pack("<i", 0x2F271)
_REQUEST, _SUMMARY, _SUCCESS = 4, 6, 0
_MOST_BYTES: Final = 1 << 20
_ANSWER: Final = 5.0
"""Seconds in which a tracker answers what it need not wait for."""
_POLL: Final = 0.2


@dataclass(frozen=True, slots=True)
class Lease:
    """A device that waits for who knows `matchkey`, a word that is good once."""

    address: str
    port: int
    matchkey: str

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tracker:
    """At `address`. With `anywhere`, neither it nor the devices that it names must be on this machine."""

    address: str
    port: int
    anywhere: bool = False

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"

    def devices(self) -> dict[str, int]:
        """How many devices there are under each key, those on loan included.

        Raises EnvironmentFailed where no tracker answers.
        """
        try:
            with self._connected() as line:
                line.send([_SUMMARY])
                answer = line.receive(time.monotonic() + _ANSWER)
        except NotKnown as error:
            raise EnvironmentFailed(str(error)) from error
        found: dict[str, int] = {}
        try:
            status, summary = answer
            if status != _SUCCESS:
                raise ValueError(status)
            for server in summary["server_info"]:
                key = str(server["key"]).removeprefix("server:")
                found[key] = found.get(key, 0) + 1
        except (TypeError, ValueError, KeyError) as error:
            raise self._strange(answer) from error
        return found

    def request(self, key: str, seconds: float, wanted: Callable[[], bool]) -> Lease:
        """A device, as soon as one is free; asked for as long as it is `wanted`, `seconds` at most.

        Raises NotKnown where none was free in time, EnvironmentFailed where the tracker fails or names a device that
        is not on this machine though it must be.
        """
        with self._connected() as line:
            line.send([_REQUEST, key, "", 1])
            answer = line.receive(time.monotonic() + seconds, wanted)
        try:
            status, (address, port, matchkey) = answer
            lease = Lease(str(address), int(port), str(matchkey))
        except (TypeError, ValueError, OverflowError) as error:
            raise self._strange(answer) from error
        if status != _SUCCESS:
            raise self._strange(answer)
        if not self.anywhere and not is_loopback(lease.address):
            raise EnvironmentFailed(
                f"the tracker at {self} names a device at {lease}, which is another machine: RPC has neither"
                " passwords nor encryption; lead it here by ssh, or say --insecure"
            )
        return lease

    def _connected(self) -> _Line:
        try:
            return _Line(self, socket.create_connection((self.address, self.port), _ANSWER))
        except (OSError, UnicodeError) as error:  # the latter of a name that is none
            hint = "start one with: python -m tvm.exec.rpc_tracker --host 127.0.0.1"
            why = getattr(error, "strerror", None) or error
            raise EnvironmentFailed(f"no tracker answers at {self}: {why} ({hint})") from error

    def _strange(self, answer: object) -> EnvironmentFailed:
        return EnvironmentFailed(f"the tracker at {self} gave an answer that is not understood: {str(answer)[:80]!r}")


def tracker_at(text: str, anywhere: bool) -> Tracker:
    """The tracker at ``HOST:PORT``. Raises InputError for other text, and for another machine unless `anywhere`."""
    address, _, port = text.rpartition(":")
    if not address or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(Issue(f"--tracker: expected HOST:PORT, got {text!r}", None, "such as 127.0.0.1:9190"))
    address = address.removeprefix("[").removesuffix("]")
    if not anywhere and not is_loopback(address):
        raise InputError(
            Issue(
                f"--tracker: {address} is another machine, and RPC has neither passwords nor encryption",
                None,
                f"lead it here: ssh -L {port}:localhost:{port} ..., or say --insecure on a network of your own",
            )
        )
    return Tracker(address, int(port), anywhere)


class _Line:
    """A connection to a tracker that has said its magic number."""

    def __init__(self, tracker: Tracker, connection: socket.socket) -> None:
        self._tracker, self._socket, self._data = tracker, connection, b""
        try:
            connection.sendall(_MAGIC)
            greeting = self._take(4, time.monotonic() + _ANSWER, lambda: True)
            if greeting != _MAGIC:
                raise EnvironmentFailed(f"what answers at {tracker} is no tracker of TVM's RPC")
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, message: list[object]) -> None:
        data = json.dumps(message).encode()
        try:
            self._socket.sendall(struct.pack("<i", len(data)) + data)
        except OSError as error:
            raise self._lost() from error

    def receive(self, end: float, wanted: Callable[[], bool] = lambda: True) -> Any:
        """The next message, any JSON. Raises NotKnown after `end` (of time.monotonic) or once it is not `wanted`."""
        size = int.from_bytes(self._take(4, end, wanted), "little", signed=True)
        if not 0 < size <= _MOST_BYTES:
            raise EnvironmentFailed(f"the tracker at {self._tracker} announces {size} bytes, not 1 to {_MOST_BYTES}")
        try:
            return json.loads(self._take(size, end, wanted))
        except (ValueError, RecursionError) as error:
            raise EnvironmentFailed(f"the tracker at {self._tracker} does not speak JSON") from error

    def _take(self, count: int, end: float, wanted: Callable[[], bool]) -> bytes:
        while len(self._data) < count:
            if not wanted() or (left := end - time.monotonic()) <= 0:
                raise NotKnown(f"no answer in time from the tracker at {self._tracker}")
            self._socket.settimeout(min(_POLL, left))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            except OSError as error:
                raise self._lost() from error
            if not data:
                raise self._lost()
            self._data += data
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def _lost(self) -> EnvironmentFailed:
        return EnvironmentFailed(f"the tracker at {self._tracker} ended the connection")

"""Whether a process is there, told by whether anybody listens where it did."""

from __future__ import annotations

import errno
import socket
import time
from typing import Final, Literal

LIMIT: Final = 2.0
"""Seconds after which a probe is given up for another: what is sent to make a connection may be lost as well."""


class Probe:
    """A TCP connection to `endpoint` (``tcp://HOST:PORT``) that is tried and then closed. ZeroMQ would try for ever.

    One that is refused says that the machine is there and the process is not; silence says nothing of either.
    """

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._since = time.monotonic()
        self._error = self._socket.connect_ex((host, int(port)))

    def fileno(self) -> int:
        """Becomes writable when something came of it."""
        return self._socket.fileno()

    def overdue(self, now: float) -> bool:
        return now - self._since > LIMIT

    def outcome(self) -> Literal["there", "refused", "unreachable"] | None:
        """None while nothing has come of it."""
        error = self._error
        if error in (0, errno.EINPROGRESS):
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == errno.ECONNREFUSED:
            return "refused"
        if error:
            return "unreachable"
        try:
            self._socket.getpeername()
        except OSError:
            return None
        return "there"

    def close(self) -> None:
        self._socket.close()

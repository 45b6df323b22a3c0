"""Calls a hosted API: the client's side of the Open Inference Protocol, over one connection that is kept open.

What comes back is data from outside: bounded in bytes and in time, checked against what is declared, never followed to
another address. A call is tried once more where it was refused or answered with 5xx, or where the kept connection had
been closed meanwhile; never after a timeout. Each try may be charged.
"""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from runtime.open_inference.models import Port
from runtime.open_inference.protocol import MAX_JSON, ProtocolError
from runtime.open_inference.tensors import BYTES, DATATYPES, check_header, from_json, shape_of, to_json
from runtime.stages.secrets import HIDDEN
from runtime.stages.time_left import time_left
from runtime.values import Value
from specs.errors import EnvironmentFailed, InputError, Issue
from specs.tensors import TensorType, from_numpy_name

TRIES: Final = 2
"""Of a call, at most."""
MAX_ANSWER: Final = MAX_JSON
"""Bytes of an answer."""
_CHUNK: Final = 65_536
_TOKEN: Final = re.compile(r"[\x21-\x7e]*")


class _Again(Exception):
    """A try that may be made again, and why it failed."""


class HostedModel:
    """A callable that takes and gives what the component does. Serves one thread at a time."""

    def __init__(self, endpoint: str, timeout: float, outputs: Mapping[str, TensorType], token: str = "") -> None:
        """Connects to nothing yet. `timeout` in seconds; `token` is sent with each call where it is not empty.

        Raises InputError for a token that no header can carry.
        """
        if not _TOKEN.fullmatch(token):
            raise InputError(Issue(f"the token for {endpoint} cannot be sent: expected visible ASCII characters"))
        self.endpoint, self._timeout, self._token = endpoint, timeout, token
        self._ports = {name: Port(name, kind) for name, kind in outputs.items()}
        self._path = urlsplit(endpoint).path
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._context = ssl.create_default_context() if endpoint.startswith("https:") else None
        self._connection: HTTPConnection | None = None
        self._socket: _Bounded

    def __call__(self, **inputs: Value) -> dict[str, Value]:
        """The outputs by name.

        Raises InputError for a number that JSON does not have, EnvironmentFailed, naming the endpoint, for all else
        that keeps the answer away: nobody there, too late, an error, too long, or not what is declared.
        """
        body = self._body(inputs)
        until = time.monotonic() + min(self._timeout, time_left())
        for number in range(1, TRIES + 1):
            try:
                return self._answer(self._post(body, until))
            except _Again as error:
                self.close()
                if number == TRIES:
                    raise self._failed(str(error)) from error
            except TimeoutError:
                self.close()
                raise self._failed("no answer in time") from None
            except (OSError, HTTPException, ProtocolError, UnicodeError) as error:
                self.close()
                raise self._failed(str(error) or type(error).__name__) from error
        raise AssertionError("unreachable")

    def connect(self) -> None:
        """Open the connection, so that no request pays for that. Raises EnvironmentFailed where nobody answers."""
        try:
            self._open(time.monotonic() + self._timeout)
        except (OSError, HTTPException, UnicodeError) as error:
            self.close()
            raise self._failed(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _failed(self, why: str) -> EnvironmentFailed:
        said = why.replace(self._token, HIDDEN) if self._token else why
        return EnvironmentFailed(f"{self.endpoint}: {said:.300}")

    def _body(self, inputs: Mapping[str, Value]) -> bytes:
        tensors = []
        for name, given in inputs.items():
            value = given if isinstance(given, (bytes, str)) else np.asarray(given)
            kind = BYTES if isinstance(value, (bytes, str)) else DATATYPES[from_numpy_name(value.dtype.name)]
            try:
                data, content_type = to_json(name, value)
            except ProtocolError:
                text = f"{name} holds a number that JSON does not have: {self.endpoint} cannot be given it"
                raise InputError(Issue(text)) from None
            tensor = {"name": name, "shape": shape_of(value), "datatype": kind, "data": data}
            tensors.append(tensor | ({"parameters": {"content_type": content_type}} if content_type else {}))
        asked = {"inputs": tensors, "outputs": [{"name": name} for name in self._ports]}
        return json.dumps(asked, separators=(",", ":"), ensure_ascii=False).encode()

    def _open(self, until: float) -> HTTPConnection:
        """The connection, whose every read and write ends at `until`."""
        left = _left(until)  # of one address; a name with several gives each so long
        if self._connection is None:
            parts = urlsplit(self.endpoint)
            host, port = parts.hostname or "", parts.port
            connection: Any = (
                HTTPSConnection(host, port, timeout=left, context=self._context)
                if self._context is not None
                else HTTPConnection(host, port, timeout=left)
            )
            connection.connect()
            connection.sock = self._socket = _Bounded(connection.sock)
            self._connection = connection
        self._socket.until = until
        return self._connection

    def _post(self, body: bytes, until: float) -> bytes:
        """The body of the answer. Raises _Again for what may be tried once more, TimeoutError where `until` is past."""
        kept = self._connection is not None
        try:
            connection = self._open(until)
        except (ConnectionRefusedError, socket.gaierror) as error:
            raise _Again(str(error)) from error
        try:
            connection.request("POST", self._path, body, self._headers)
            response = connection.getresponse()
        except (RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            if kept:  # closed while nobody used it
                raise _Again(str(error)) from error
            raise
        data = self._read(response)
        if response.will_close:
            self.close()
        if response.status >= 500:
            raise _Again(f"answered {response.status}: {_said(self._hidden(data))}")
        if response.status != 200:
            raise HTTPException(f"answered {response.status}: {_said(self._hidden(data))}")
        return data

    def _read(self, response: HTTPResponse) -> bytes:
        """The body."""
        parts: list[bytes] = []
        size = 0
        while part := response.read1(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER:
                raise HTTPException(f"the answer has more than {MAX_ANSWER:,} bytes")
        if response.length:
            raise HTTPException(f"the answer ends {response.length} bytes too early")
        response.close()  # read1 leaves it open, and the connection with it
        return b"".join(parts)

    def _hidden(self, data: bytes) -> bytes:
        """With stars for the token wherever it is repeated: errors quote what they were sent."""
        return data.replace(self._token.encode(), HIDDEN.encode()) if self._token else data

    def _answer(self, data: bytes) -> dict[str, Value]:
        """As `_outputs`, whose errors quote nothing of the token."""
        try:
            return self._outputs(data)
        except (HTTPException, ProtocolError):
            self._outputs(self._hidden(data))
            raise HTTPException("the answer is not as declared") from None

    def _outputs(self, data: bytes) -> dict[str, Value]:
        """What an answer holds, each output as declared. Raises HTTPException or ProtocolError."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise HTTPException(f"the answer is not JSON: {error}") from error
        listed = found.get("outputs") if isinstance(found, dict) else None
        if not isinstance(listed, list) or not all(isinstance(t, dict) for t in listed):
            raise HTTPException("the answer has no list of outputs")
        names = [str(tensor.get("name")) for tensor in listed]
        if sorted(names) != sorted(self._ports):
            raise HTTPException(f"expected the outputs {sorted(self._ports)}, got {sorted(names)}")
        return {name: _value(self._ports[name], tensor) for name, tensor in zip(names, listed, strict=True)}


def _value(port: Port, tensor: Mapping[str, Any]) -> Value:
    """Raises HTTPException or ProtocolError for another type or shape than declared."""
    shape, parameters = tensor.get("shape"), tensor.get("parameters", {})
    if not isinstance(shape, list) or not isinstance(parameters, dict):
        raise HTTPException(f"{port.name}: expected a shape and parameters")
    dims = check_header(port, tensor.get("datatype"), shape)
    return from_json(port, dims, tensor.get("data"), parameters.get("content_type"))


def _said(data: bytes) -> str:
    """What an error's body says, in printable characters."""
    try:
        found = json.loads(data)
        text = str(found["error"]) if isinstance(found, dict) and "error" in found else ""
    except (ValueError, RecursionError):
        text = ""
    return ascii(text)[1:-1] or f"a body of {len(data)} bytes"


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Bounded:
    """A socket, as http.client uses one, whose reads and writes end at `until`, however slowly bytes come."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self._streams, self._closing = 0, False
        self.until = 0.0

    def receive(self, buffer: Any) -> int:
        self._real.settimeout(_left(self.until))
        return self._real.recv_into(buffer)

    def sendall(self, data: Any) -> None:
        self._real.settimeout(_left(self.until))
        self._real.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """For one answer. As with a socket, what is closed before it is read is closed after."""
        self._streams += 1
        return io.BufferedReader(_Stream(self), _CHUNK)

    def close(self) -> None:
        self._closing = True
        if not self._streams:
            self._real.close()

    def stream_closed(self) -> None:
        self._streams -= 1
        if self._closing:
            self.close()


class _Stream(io.RawIOBase):
    def __init__(self, bounded: _Bounded) -> None:
        super().__init__()
        self._bounded = bounded

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._bounded.receive(buffer)

    def close(self) -> None:
        if not self.closed:
            self._bounded.stream_closed()
        super().close()

"""A hosted API of tests: a real HTTP(S) server on loopback that doubles what it is given, or does what a test says."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, bytes]


@dataclass
class Hosting:
    """`answer` makes (status, body) of a request's JSON; `seen` has each request's headers, `peers` its connection."""

    answer: Callable[[dict[str, Any]], Answer]
    url: str = ""
    seen: list[dict[str, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    peers: list[object] = field(default_factory=list)
    pause: float = 0.0
    drip: float = 0.0
    close_after: bool = False


def outputs(**found: dict[str, Any]) -> bytes:
    return json.dumps({"outputs": [{"name": name, **tensor} for name, tensor in found.items()]}).encode()


def doubled(request: dict[str, Any]) -> Answer:
    """The output y is twice the input x, in its shape and type."""
    (given,) = request["inputs"]
    data = [2 * number for number in given["data"]]
    return 200, outputs(y={"datatype": given["datatype"], "shape": given["shape"], "data": data})


@contextmanager
def hosting(answer: Callable[[dict[str, Any]], Answer] = doubled, certificate: Path | None = None) -> Iterator[Hosting]:
    """Serves until the context ends; with a `certificate` (its key in the same file) over TLS."""
    state = Hosting(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.seen.append({**dict(self.headers.items()), "path": self.path})
            state.asked.append(body)
            state.peers.append(self.client_address)
            time.sleep(state.pause)
            status, data = state.answer(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            for byte in data if state.drip else ():
                self.wfile.write(bytes([byte]))
                time.sleep(state.drip)
            self.wfile.write(b"" if state.drip else data)
            self.close_connection = state.close_after

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ssl.SSLError):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is printed."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that go away are part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""The door of one member: both servers on an event loop in a thread of their own, beside the host's threads."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runtime.ingress.grpc_server import GrpcServer
from runtime.ingress.http_server import HttpServer
from runtime.ingress.service import Limits, Service
from runtime.observe.request_log import LogLevel
from runtime.observe.tracing import TraceOptions
from specs.errors import EnvironmentFailed, InputError, Issue

LOOPBACK: Final = "127.0.0.1"
START_LIMIT: Final = 20.0
BACKLOG: Final = 512


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """Where to listen, and whom to let in.

    `host` is an address of this machine; port 0 takes one that is free. Files are read by the process that listens, so
    neither tokens nor keys travel. `insecure` permits a public address without both tokens and TLS.
    """

    host: str = LOOPBACK
    http_port: int = 0
    grpc_port: int = 0
    token_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    insecure: bool = False
    log_file: str = ""
    log: LogLevel = "requests"
    trace: TraceOptions = field(default_factory=TraceOptions)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a door listens; ``scheme://host:port`` and ``host:port``."""

    http: str
    grpc: str


def check_exposure(options: DoorOptions) -> None:
    """Raises InputError where others could reach the door and it would not ask who they are, or speak in the clear."""
    if bool(options.tls_cert) != bool(options.tls_key):
        raise InputError(Issue("TLS needs both a certificate and its key", None, "--tls-cert FILE --tls-key FILE"))
    try:
        address = ipaddress.ip_address(options.host)
    except ValueError as error:
        raise InputError(Issue(f"expected an IP address of this machine, got {options.host!r}")) from error
    if not address.is_loopback and not options.insecure and not (options.token_file and options.tls_cert):
        raise InputError(
            Issue(
                f"others can reach {options.host}: requests there need tokens and TLS",
                None,
                "--token-file FILE --tls-cert FILE --tls-key FILE, or --insecure on a network that you trust",
            )
        )


class Door:
    """Listens from `open` to `close`."""

    def __init__(self, service: Service, options: DoorOptions, version: str) -> None:
        self._service, self._options, self._version = service, options, version
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="door", daemon=True)
        self._http = HttpServer(service, version)
        self._grpc: GrpcServer | None = None
        self._listener: asyncio.Server | None = None

    def open(self) -> Endpoints:
        """Raises EnvironmentFailed where an address cannot be had, InputError for files that are no keys."""
        check_exposure(self._options)
        self._thread.start()
        try:
            return asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(START_LIMIT)
        except BaseException:
            self.close()
            raise

    async def _open(self) -> Endpoints:
        options = self._options
        context = _tls_context(options)
        self._grpc = grpc = GrpcServer(self._service, self._version)
        try:
            listener = await self._loop.create_server(
                await self._http.protocol_factory(), options.host, options.http_port, ssl=context, backlog=BACKLOG
            )
            self._listener = listener
            tls = (Path(options.tls_key).read_bytes(), Path(options.tls_cert).read_bytes()) if context else None
            grpc_port = await grpc.start(_join(options.host, options.grpc_port), tls)
        except OSError as error:
            raise EnvironmentFailed(
                f"the ingress cannot listen: {error.strerror or error} (other ports: --http-port, --grpc-port)"
            ) from error
        http_port = listener.sockets[0].getsockname()[1]
        scheme = "https" if context else "http"
        return Endpoints(f"{scheme}://{_join(options.host, http_port)}", _join(options.host, grpc_port))

    def serve(self, service: Service) -> None:
        """Give what comes from now on to `service`, with the same options. Once this returns, nothing new comes to the
        one before: what it has let in is what its `admission` counts.
        """

        async def switch() -> None:  # in the loop: between two requests, never within one
            self._http.serve(service)
            assert self._grpc is not None
            self._grpc.serve(service)

        asyncio.run_coroutine_threadsafe(switch(), self._loop).result(START_LIMIT)

    async def _shut(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._grpc is not None:
            await self._grpc.close()
        await self._http.close()

    def close(self) -> None:
        """Stop listening; what is under way ends with an error. May be called more than once."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(START_LIMIT)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(START_LIMIT)
        self._loop.close()


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls_context(options: DoorOptions) -> ssl.SSLContext | None:
    if not options.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(Issue(f"cannot use the certificate {options.tls_cert} with its key: {error}")) from error
    return context

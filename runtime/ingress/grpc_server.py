"""The protocol over gRPC. Messages are parsed here, so that a broken one gets the protocol's own error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import grpc
import grpc.aio

from runtime.ingress.grpc_codec import parse, read_request, write_answer
from runtime.ingress.http_server import NAME, metadata
from runtime.ingress.messages import SERVICE, message
from runtime.ingress.service import Service
from runtime.observe.tracing import CONTEXT_HEADERS
from runtime.open_inference.protocol import EXTENSIONS, Code, InferRequest, Origin, ProtocolError

MAX_AGE_MS: Final = 600_000
AGE_GRACE_MS: Final = 60_000
"""After ten minutes a client is asked to connect anew, and a minute later the connection ends: so a sender that never
finishes a message does not hold it for ever. Clients connect again by themselves."""
LEAST_TIMEOUT: Final = 1e-3
"""Seconds that a call has whose deadline passed while it came in: nobody waits for it."""
OPEN_METHODS: Final = frozenset({"ServerLive", "ServerReady"})

Method = Callable[[Any, Any], Awaitable[Any]]
"""Of a message and the call's context."""


class GrpcServer:
    """Used by one event loop."""

    def __init__(self, service: Service, version: str) -> None:
        self._service, self._version = service, version
        body = service.limits.body
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=service.limits.requests,
            options=[
                ("grpc.max_receive_message_length", body),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.max_connection_age_ms", MAX_AGE_MS),
                ("grpc.max_connection_age_grace_ms", AGE_GRACE_MS),
                ("grpc.server_handshake_timeout_ms", int(service.limits.head_seconds * 1e3)),
            ],
        )
        methods: dict[str, Method] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._handler(name, method), None, _serialize)
            for name, method in methods.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    async def start(self, address: str, tls: tuple[bytes, bytes] | None) -> int:
        """Listen at `address`, with (key, certificate) where it is encrypted. Returns the port.

        Raises OSError where the address cannot be had.
        """
        try:
            if tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
        except RuntimeError as error:
            raise OSError(f"cannot listen at {address}") from error
        await self._server.start()
        return int(port)

    def serve(self, service: Service) -> None:
        """As `HttpServer.serve`."""
        self._service = service

    async def close(self) -> None:
        await self._server.stop(0.5)

    # --- around every call

    def _handler(self, name: str, method: Method) -> Callable[[bytes, Any], Awaitable[Any]]:
        async def handle(data: bytes, context: Any) -> Any:
            try:
                if name not in OPEN_METHODS:
                    self._service.tokens.check(_authorization(context))
                if name == "ModelInfer":
                    with self._service.admission.arrive(len(data)), self._service.admission.enter():
                        return await method(parse(f"{name}Request", data), context)
                return await method(parse(f"{name}Request", data), context)
            except ProtocolError as error:
                failure = error
            except Exception as error:  # the last line of defence: the client learns no more than that
                failure = ProtocolError(Code.failed, f"a mistake in the ingress: {type(error).__name__}")
            self._service.refused(failure, "grpc", context.peer() or "")
            return await context.abort(getattr(grpc.StatusCode, failure.code.grpc), str(failure))

        return handle

    # --- methods

    async def _live(self, request: Any, context: Any) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        return message("ServerReadyResponse")(ready=True)

    async def _model_ready(self, request: Any, context: Any) -> Any:
        model = self._service.models.get(request.name)
        ready = model is not None and request.version in ("", model.version)
        return message("ModelReadyResponse")(ready=ready)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        return message("ServerMetadataResponse")(name=NAME, version=self._version, extensions=EXTENSIONS)

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        return message("ModelMetadataResponse")(**metadata(self._service.model(request.name, request.version)))

    async def _infer(self, request: Any, context: Any) -> Any:
        service = self._service
        with service.counted(request.model_name, "grpc"):
            model = service.model(request.model_name, request.model_version)
            asked = in_time(read_request(model, request, _origin(context)), context.time_remaining())
            return write_answer(model, asked, await service.infer(asked))


def in_time(request: InferRequest, remaining: float | None) -> InferRequest:
    """With the deadline of the call (seconds from now, None without one), where that comes first."""
    if remaining is None or (request.timeout is not None and request.timeout <= remaining):
        return request
    return replace(request, timeout=max(remaining, LEAST_TIMEOUT))


def _serialize(answer: Any) -> bytes:
    data: bytes = answer.SerializeToString()
    return data


def _origin(context: Any) -> Origin:
    found = context.invocation_metadata() or ()
    carrier = {key: value for key, value in found if key in CONTEXT_HEADERS and isinstance(value, str)}
    return Origin("grpc", carrier)


def _authorization(context: Any) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else None
    return None

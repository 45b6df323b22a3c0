"""The protocol over HTTP: one function a path, every error a JSON object with the key ``error``."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from runtime.ingress.http_codec import read_request, write_answer
from runtime.ingress.openapi import openapi
from runtime.ingress.service import Service
from runtime.observe.metrics import CONTENT_TYPE
from runtime.observe.tracing import CONTEXT_HEADERS
from runtime.open_inference.models import Port, ServedModel
from runtime.open_inference.protocol import EXTENSIONS, Code, Origin, ProtocolError
from runtime.open_inference.tensors import datatype, declared_shape

NAME: Final = "tierplan"
JSON_LENGTH: Final = "Inference-Header-Content-Length"
OPEN_PATHS: Final = frozenset({"/v2/health/live", "/v2/health/ready"})
"""What answers without a token: probes say yes or no, and nothing else."""
IDLE_SECONDS: Final = 75.0
LINGER_SECONDS: Final = 2.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Holds what handlers need. Used by one event loop."""

    def __init__(self, service: Service, version: str) -> None:
        self._service, self._version = service, version
        self._silent: dict[object, asyncio.TimerHandle] = {}
        app = web.Application(client_max_size=service.limits.body, middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/v2", self._server),
                web.get("/v2/health/live", self._yes),
                web.get("/v2/health/ready", self._yes),
                web.get("/v2/models/{model}", self._model),
                web.get("/v2/models/{model}/ready", self._model_ready),
                web.post("/v2/models/{model}/infer", self._infer),
                web.get("/v2/models/{model}/versions/{version}", self._model),
                web.get("/v2/models/{model}/versions/{version}/ready", self._model_ready),
                web.post("/v2/models/{model}/versions/{version}/infer", self._infer),
                web.get("/openapi.json", self._openapi),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=IDLE_SECONDS, lingering_time=LINGER_SECONDS, handle_signals=False
        )

    async def protocol_factory(self) -> Callable[[], asyncio.BaseProtocol]:
        """What a listening socket makes for each connection."""
        await self._runner.setup()
        return self._connect

    def _connect(self) -> asyncio.BaseProtocol:
        """Each connection must begin a request in time, and there is a bound on how many there are."""
        server = self._runner.server
        assert server is not None
        if len(server.connections) >= self._service.limits.connections:
            return _Refusing()
        protocol = server()
        limit = self._service.limits.head_seconds
        self._silent[protocol] = asyncio.get_running_loop().call_later(limit, self._expire, protocol)
        return protocol

    def _expire(self, protocol: Any) -> None:
        del self._silent[protocol]
        protocol.force_close()

    def serve(self, service: Service) -> None:
        """Give what comes from now on to `service`. What has come in stays with the one that let it in."""
        self._service = service

    async def close(self) -> None:
        await self._runner.cleanup()

    # --- around every request

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if timer := self._silent.pop(request.protocol, None):
            timer.cancel()
        try:
            if request.path not in OPEN_PATHS:
                self._service.tokens.check(request.headers.get("Authorization"))
            return await handler(request)
        except ProtocolError as error:
            self._service.refused(error, "http", request.remote or "")
            return _error(error)
        except web.HTTPException as error:
            return _json({"error": f"{request.method} {request.path[:200]}: {error.reason}"}, error.status)
        except ConnectionError:
            raise
        except Exception as error:  # the last line of defence: the client learns no more than that
            mistake = ProtocolError(Code.failed, f"a mistake in the ingress: {type(error).__name__}")
            self._service.refused(mistake, "http", request.remote or "")
            return _error(mistake)

    # --- paths

    async def _yes(self, request: web.Request) -> web.StreamResponse:
        return web.Response()

    async def _server(self, request: web.Request) -> web.StreamResponse:
        return _json({"name": NAME, "version": self._version, "extensions": list(EXTENSIONS)})

    def _named(self, request: web.Request) -> ServedModel:
        return self._service.model(request.match_info["model"], request.match_info.get("version", ""))

    async def _model(self, request: web.Request) -> web.StreamResponse:
        return _json(metadata(self._named(request)))

    async def _model_ready(self, request: web.Request) -> web.StreamResponse:
        self._named(request)
        return web.Response()

    async def _openapi(self, request: web.Request) -> web.StreamResponse:
        return _json(openapi(tuple(self._service.models.values()), self._version))

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._service.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _infer(self, request: web.Request) -> web.StreamResponse:
        service = self._service
        with service.counted(request.match_info["model"], "http"):
            model = self._named(request)
            length = request.content_length
            if length is not None and length > service.limits.body:
                raise _too_large(service.limits.body)
            with service.admission.arrive(service.limits.body if length is None else length):
                body = await self._body(request)
                with service.admission.enter():
                    asked = read_request(model, body, _json_length(request), _origin(request))
                    answer = await service.infer(asked)
                    out, json_length = write_answer(model, asked, answer)
        if json_length is None:
            return web.Response(body=out, content_type="application/json")
        headers = {JSON_LENGTH: str(json_length), "Content-Type": "application/octet-stream"}
        return web.Response(body=out, headers=headers)

    async def _body(self, request: web.Request) -> bytes:
        limits = self._service.limits
        try:
            async with asyncio.timeout(limits.body_seconds):
                return await request.read()
        except TimeoutError as error:
            raise ProtocolError(Code.slow, f"the body did not come within {limits.body_seconds:g} s") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise _too_large(limits.body) from error
        except (web.RequestPayloadError, ValueError) as error:
            raise ProtocolError(Code.invalid, "the body is not what its headers say") from error


class _Refusing(asyncio.Protocol):
    """Of a connection beyond the bound."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def metadata(model: ServedModel) -> dict[str, Any]:
    """What the protocol tells of a model."""

    def tensor(port: Port) -> dict[str, Any]:
        return {"name": port.name, "datatype": datatype(port.type), "shape": declared_shape(port.type)}

    return {
        "name": model.name,
        "versions": [model.version],
        "platform": NAME,
        "inputs": [tensor(port) for port in model.inputs],
        "outputs": [tensor(port) for port in model.outputs],
    }


def _too_large(limit: int) -> ProtocolError:
    return ProtocolError(Code.too_large, f"the body is larger than {limit} bytes")


def _json_length(request: web.Request) -> int | None:
    text = request.headers.get(JSON_LENGTH)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise ProtocolError(Code.invalid, f"{JSON_LENGTH}: expected a number of bytes, got {text!r:.40}")
    return int(text)


def _origin(request: web.Request) -> Origin:
    carrier = {name: request.headers[name] for name in CONTEXT_HEADERS if name in request.headers}
    return Origin("http", carrier)


def _json(value: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(value).encode(), status=status, content_type="application/json")


def _error(error: ProtocolError) -> web.Response:
    response = _json({"error": str(error)}, error.code.http)
    if error.code is Code.refused:
        response.headers["Retry-After"] = "1"
    elif error.code is Code.unauthenticated:
        response.headers["WWW-Authenticate"] = "Bearer"
    elif error.code in (Code.too_large, Code.slow):
        response.force_close()  # the rest of the body is not waited for
    return response

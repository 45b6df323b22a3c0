"""Traces of requests, exported by OTLP over HTTP. All that knows OpenTelemetry is here; it is imported when asked for.

A trace is made when the request has ended, from the times that came home with it: a request that is not sampled costs
no more than the choice. Names follow the semantic conventions for HTTP and RPC servers where these have one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from runtime.observe.requests import Ended, Listener
from runtime.observe.spans import Producers, Span, spans_of
from specs.errors import EnvironmentFailed, InputError, Issue

CONTEXT_HEADERS: Final = ("traceparent", "tracestate")
"""Of the W3C's Trace Context: who calls may have begun the trace, and have chosen whether it is kept."""
ROUTE: Final = "/v2/models/{model}/infer"
METHOD: Final = "inference.GRPCInferenceService/ModelInfer"
EXPORT_LIMIT: Final = 5.0
"""Seconds for one export, with what is tried again."""


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Where traces go (``http://host:4318``, "" for nowhere); `sample` is the share kept of those begun here."""

    endpoint: str = ""
    sample: float = 0.01


def check_tracing(options: TraceOptions) -> None:
    """Raises InputError for what is no endpoint or share, EnvironmentFailed where OpenTelemetry is not installed."""
    if not options.endpoint:
        return
    parts = urlsplit(options.endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        hint = "a collector listens at http://localhost:4318"
        raise InputError(
            Issue(f"expected http://HOST:PORT of an OTLP receiver, got {options.endpoint!r:.200}", None, hint)
        )
    if parts.username or parts.password:
        hint = "set OTEL_EXPORTER_OTLP_HEADERS where the deployment's nodes are started"
        raise InputError(
            Issue("an OTLP endpoint is written into the deployment's state: no password in it", None, hint)
        )
    if not 0 <= options.sample <= 1:
        raise InputError(Issue(f"expected a share of requests between 0 and 1, got {options.sample:g}"))
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError as error:
        raise EnvironmentFailed(f"traces need OpenTelemetry ({error.name}): pip install 'tierplan[trace]'") from error


class Tracing(Listener):
    """Exports from a thread of its own; what does not get out in time is dropped, and no request waits for it."""

    def __init__(self, options: TraceOptions, resource: Mapping[str, str], producers: Producers) -> None:
        """`resource` describes this process by OpenTelemetry's names. Raises as `check_tracing` does."""
        check_tracing(options)
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._otel = trace
        self._producers = producers
        self._provider = TracerProvider(
            sampler=ParentBasedTraceIdRatio(options.sample),
            resource=Resource.create(dict(resource)),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(_traces_url(options.endpoint), timeout=EXPORT_LIMIT)
        self._processor = BatchSpanProcessor(exporter)
        self._provider.add_span_processor(self._processor)
        self._readable = ReadableSpan
        self._tracer = self._provider.get_tracer("tierplan", resource.get("service.version", ""))
        self._propagator = TraceContextTextMapPropagator()
        self._nowhere = trace.set_span_in_context(trace.INVALID_SPAN)

    def ended(self, request: Ended) -> None:
        """Make the trace of `request`, where it is to be kept."""
        entry = request.entry
        offset = time.time_ns() - int(time.monotonic() * 1e9)

        def wall(seconds: float) -> int:
            return int(seconds * 1e9) + offset

        context = self._propagator.extract(request.carrier, self._nowhere) if request.carrier else self._nowhere
        name, attributes = _server(request)
        root = self._tracer.start_span(
            name, context, self._otel.SpanKind.SERVER, attributes, start_time=wall(entry.started)
        )
        if root.is_recording():
            if entry.status != "answered":
                root.set_attribute("error.type", entry.status)
                root.set_status(self._otel.StatusCode.ERROR, entry.reason)
            for span in spans_of(request, self._producers):
                self._add(root, span, wall(span.begin), wall(span.end))
        root.end(wall(request.ended))

    def _add(self, root: Any, span: Span, begin: int, end: int) -> None:
        """Put `span` under `root`, finished: a tracer's span, which may still change, costs more."""
        parent = root.get_span_context()
        context = self._otel.SpanContext(
            parent.trace_id,
            self._provider.id_generator.generate_span_id(),
            is_remote=False,
            trace_flags=parent.trace_flags,
            trace_state=parent.trace_state,
        )
        self._processor.on_end(
            self._readable(
                span.name,
                context,
                parent,
                self._provider.resource,
                span.attributes,
                start_time=begin,
                end_time=end,
                instrumentation_scope=root.instrumentation_scope,
            )
        )

    def close(self) -> None:
        """Export what is left, for a few seconds at most."""
        self._provider.force_flush(int(EXPORT_LIMIT * 1e3))
        self._provider.shutdown()


def _traces_url(endpoint: str) -> str:
    """The specification has /v1/traces under the base that users know."""
    base = endpoint.rstrip("/")
    return base if base.endswith("/v1/traces") else f"{base}/v1/traces"


def _server(request: Ended) -> tuple[str, dict[str, Any]]:
    """Name and attributes of a request's own span."""
    mine: dict[str, Any] = {"tierplan.request.id": request.entry.request, "tierplan.flow": request.entry.flow}
    if request.entry.attempts:
        mine["tierplan.request.sent_again"] = request.entry.attempts
    if request.client_id:
        mine["tierplan.client.request.id"] = request.client_id
    if request.protocol == "grpc":
        return METHOD, {"rpc.system.name": "grpc", "rpc.method": METHOD, **mine}
    return f"POST {ROUTE}", {"http.request.method": "POST", "http.route": ROUTE, **mine}

"""Prometheus metrics of one host. Sums are of what was measured, not of bucket mid-points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from runtime.host import QueueLoad
from runtime.message import Trace
from specs.plan import Plan

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histograms' buckets."""

Loads = Callable[[], Sequence[QueueLoad]]


class Metrics:
    """Counts and times requests; what queues do is read when somebody asks."""

    def __init__(self, member: str, plan: Plan, loads: Loads) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tierplan_requests", "Requests by outcome.", ["model", "outcome", "protocol"], registry=registry
        )
        self._latency = Histogram(
            "tierplan_request_duration_seconds",
            "From admission to the answer.",
            ["flow"],
            buckets=SECONDS,
            registry=registry,
        )
        self._wait = self._times("tierplan_stage_wait_seconds", "Wait in a stage's queue, of answered requests.")
        self._service = self._times("tierplan_stage_service_seconds", "A stage's service, of answered requests.")
        self._transfer = Histogram(
            "tierplan_transfer_duration_seconds",
            "From hand-over to arrival, waits for links included.",
            ["flow", "edge", "member"],
            buckets=SECONDS,
            registry=registry,
        )
        self.inflight = Gauge("tierplan_inflight_requests", "Admitted, not ended.", registry=registry)
        Gauge("tierplan_plan_info", "The plan that runs.", ["plan", "application", "member"], registry=registry).labels(
            plan.digest, plan.application, member
        ).set(1)
        _predicted(plan, registry)
        registry.register(_Queues(member, loads))

    def _times(self, name: str, what: str) -> Histogram:
        return Histogram(name, what, ["stage", "member"], buckets=SECONDS, registry=self._registry)

    def ended(self, model: str, outcome: str, protocol: str) -> None:
        """Count a request. `model` must be one that is served, or "": clients choose no label."""
        self._requests.labels(model, outcome, protocol).inc()

    def answered(self, flow: str, latency: float, trace: Trace) -> None:
        """Time an answered request; seconds."""
        self._latency.labels(flow).observe(latency)
        for stage in trace.stages:
            self._wait.labels(stage.stage, stage.member).observe(stage.wait)
            self._service.labels(stage.stage, stage.member).observe(stage.service)
        for passed in trace.transfers:
            self._transfer.labels(flow, passed.edge, passed.member).observe(passed.seconds)

    def render(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)


def _predicted(plan: Plan, registry: CollectorRegistry) -> None:
    """What the plan promises, as lines beside what is measured."""
    latency = Gauge(
        "tierplan_predicted_request_duration_seconds",
        "What the plan predicts at its peak.",
        ["flow", "to", "over", "quantile"],
        registry=registry,
    )
    limit = Gauge(
        "tierplan_limit_request_duration_seconds", "Limits.", ["flow", "to", "over", "quantile"], registry=registry
    )
    for path in plan.paths:
        for quantile in ("p50", "p95", "p99"):
            labels = (path.flow, path.to, path.over, f"0.{quantile[1:].rstrip('0')}")
            latency.labels(*labels).set(getattr(path.predicted, f"{quantile}_ms") / 1e3)
            if quantile in path.limit_ms:
                limit.labels(*labels).set(path.limit_ms[quantile] / 1e3)
    service = Gauge(
        "tierplan_predicted_stage_seconds",
        "Mean wait and service of a stage or transfer that the plan predicts.",
        ["name", "kind", "site", "what"],
        registry=registry,
    )
    for stage in plan.stages:
        service.labels(stage.name, stage.kind, stage.site, "wait").set(stage.wait.mean_ms / 1e3)
        service.labels(stage.name, stage.kind, stage.site, "service").set(stage.service.mean_ms / 1e3)


class _Queues(Collector):
    """Queue depth, and busy seconds: their rate, divided by the servers, is the utilisation."""

    def __init__(self, member: str, loads: Loads) -> None:
        self._member, self._loads = member, loads

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        depth = GaugeMetricFamily("tierplan_queue_depth", "Requests that wait.", labels=["queue", "member"])
        servers = GaugeMetricFamily("tierplan_queue_servers", "Threads that serve.", labels=["queue", "member"])
        busy = CounterMetricFamily("tierplan_stage_busy_seconds", "Worked so far.", labels=["stage", "queue", "member"])
        for load in self._loads():
            depth.add_metric([load.queue, self._member], load.waiting)
            servers.add_metric([load.queue, self._member], load.servers)
            for stage, seconds in load.busy.items():
                busy.add_metric([stage, load.queue, self._member], seconds)
        return (depth, servers, busy)

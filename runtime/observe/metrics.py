"""Prometheus metrics of one host. Sums are of what was measured, not of bucket mid-points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from runtime.fleet import Member, site_of
from runtime.hosting.host import QueueLoad
from runtime.observe import catalogue
from runtime.observe.catalogue import STATISTICS, Metric
from runtime.observe.drift import TOLERANCE
from runtime.observe.requests import Ended, Listener
from runtime.topology import Topology
from specs.plan import Percentiles, Plan

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STEPS: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
DECADES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Bounds of the histograms' buckets, at most a factor 1.7 apart: from 0.1 ms to 10 s."""

# Series of when each began, which this text format cannot tell from metrics.
disable_created_metrics()  # type: ignore[no-untyped-call]

Loads = Callable[[], Sequence[QueueLoad]]
Family = TypeVar("Family", GaugeMetricFamily, CounterMetricFamily)


class Metrics(Listener):
    """Counts and times requests; what queues do is read when somebody asks."""

    def __init__(self, member: Member, plan: Plan, top: Topology, loads: Loads) -> None:
        self._registry = registry = CollectorRegistry()
        self._ways = top.ways
        self._requests = _counter(catalogue.REQUESTS, registry)
        paths = [value for path in plan.paths for value in (path.predicted, path.limit_ms)]
        stages = [value for stage in plan.stages for value in (stage.wait, stage.service)]
        self._latency = _histogram(catalogue.LATENCY, registry, paths)
        self._wait = _histogram(catalogue.WAIT, registry, stages)
        self._service = _histogram(catalogue.SERVICE, registry, stages)
        self._transfer = _histogram(catalogue.TRANSFER, registry, ())
        self._in_flight = _gauge(catalogue.IN_FLIGHT, registry)
        _gauge(catalogue.PLAN, registry).labels(plan.digest, plan.application, str(member)).set(1)
        peak = _gauge(catalogue.PEAK, registry)
        for flow in top.flows:
            if member in flow.members:
                peak.labels(flow.name).set(flow.rate)
        _predict(plan, registry)
        registry.register(_Queues(str(member), loads))
        self._children: dict[tuple[object, ...], Histogram] = {}

    def entered(self) -> None:
        self._in_flight.inc()

    def left(self) -> None:
        self._in_flight.dec()

    def counted(self, model: str, outcome: str, protocol: str) -> None:
        self._requests.labels(model, outcome, protocol).inc()

    def ended(self, request: Ended) -> None:
        entry = request.entry
        if entry.status != "answered":
            return
        self._child(self._latency, entry.flow).observe(entry.latency)
        for stage in entry.trace.stages:
            site = site_of(stage.member)
            self._child(self._wait, stage.stage, site, stage.member).observe(stage.wait)
            self._child(self._service, stage.stage, site, stage.member).observe(stage.service)
        for hop in entry.trace.transfers:
            passed = self._ways.get((entry.flow, hop.edge), "")
            self._child(self._transfer, hop.edge, passed, hop.member).observe(hop.seconds)

    def _child(self, metric: Histogram, *labels: str) -> Histogram:
        """As ``metric.labels``, which checks and locks each time."""
        key = (metric, *labels)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = metric.labels(*labels)
        return found

    def render(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


def _histogram(
    metric: Metric, registry: CollectorRegistry, promised: Iterable[Percentiles | Mapping[str, float]]
) -> Histogram:
    return Histogram(metric.name, metric.help, metric.labels, buckets=buckets(promised), registry=registry)


def buckets(promised: Iterable[Percentiles | Mapping[str, float]]) -> list[float]:
    """Upper bounds in seconds: even steps, and the limits and the bounds of drift of what the plan promises.

    A percentile that Prometheus interpolates is above a bound exactly where too few requests are below it. So an alert
    on one of these values does not depend on the interpolation.
    """
    bounds = {round(step * decade, 10) for decade in DECADES for step in STEPS} | {10.0}
    for each in promised:
        if isinstance(each, Percentiles):
            ms = [getattr(each, f"{statistic}_ms") for statistic in STATISTICS]
            bounds |= {_tidy(value * factor) for value in ms for factor in (1 / (1 + TOLERANCE), 1 + TOLERANCE)}
        else:
            bounds |= {_tidy(value) for value in each.values()}
    return sorted(bound for bound in bounds if bound > 0)


def _tidy(ms: float) -> float:
    """In seconds, to nine digits: what bounds and predictions have in common must print alike."""
    return float(f"{ms / 1e3:.9g}")


def _predict(plan: Plan, registry: CollectorRegistry) -> None:
    """What the plan promises, as lines beside what is measured."""
    latency = _gauge(catalogue.PREDICTED_LATENCY, registry)
    limit = _gauge(catalogue.LIMIT, registry)
    wait = _gauge(catalogue.PREDICTED_WAIT, registry)
    service = _gauge(catalogue.PREDICTED_SERVICE, registry)
    transfer = _gauge(catalogue.PREDICTED_TRANSFER, registry)
    for path in plan.paths:
        _set(latency, (path.flow, path.to, path.over), path.predicted)
        for statistic, value in path.limit_ms.items():
            limit.labels(path.flow, path.to, path.over, statistic).set(_tidy(value))
    for stage in plan.stages:
        if stage.kind == "stage":
            _set(wait, (stage.name, stage.site), stage.wait)
            _set(service, (stage.name, stage.site), stage.service)
        else:
            _set(transfer, (stage.name, stage.site), stage.wait, stage.service)


def _set(gauge: Gauge, labels: tuple[str, ...], *terms: Percentiles) -> None:
    for statistic in STATISTICS:
        gauge.labels(*labels, statistic).set(_tidy(sum(getattr(term, f"{statistic}_ms") for term in terms)))


class _Queues(Collector):
    """Queue length, and busy seconds: their rate, divided by the servers, is the utilisation."""

    def __init__(self, member: str, loads: Loads) -> None:
        self._member, self._loads = member, loads

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        length = _family(GaugeMetricFamily, catalogue.QUEUE_LENGTH)
        servers = _family(GaugeMetricFamily, catalogue.QUEUE_SERVERS)
        busy = _family(CounterMetricFamily, catalogue.BUSY)
        for load in self._loads():
            length.add_metric([load.queue, self._member], load.waiting)
            servers.add_metric([load.queue, self._member], load.servers)
            for stage, seconds in load.busy.items():
                busy.add_metric([stage, load.queue, self._member], seconds)
        return (length, servers, busy)


def _family(kind: type[Family], metric: Metric) -> Family:
    return kind(metric.name, metric.help, labels=list(metric.labels))

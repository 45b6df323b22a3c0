"""Every metric that a deployment exports: the one place where names, units and labels are written.

`runtime.observe.metrics` makes them, `dashboard` and `alerts` ask for them; so none can ask for what is not there.
Names and units follow Prometheus' conventions: base units, the unit last, ``_total`` for what only grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

STATISTICS: Final = ("mean", "p50", "p95", "p99")
"""Values of the label `statistic`. Not `quantile`, which belongs to summaries."""


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` as it is exported; of a histogram, without _bucket, _sum and _count."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


REQUESTS: Final = Metric("tierplan_requests_total", "counter", "Requests by outcome.", ("model", "outcome", "protocol"))
IN_FLIGHT: Final = Metric("tierplan_requests_in_flight", "gauge", "Admitted, not ended.")
LATENCY: Final = Metric(
    "tierplan_request_duration_seconds", "histogram", "From admission to the answer, of answered requests.", ("flow",)
)
WAIT: Final = Metric(
    "tierplan_stage_wait_seconds",
    "histogram",
    "Wait in a stage's queue, of answered requests.",
    ("stage", "site", "member"),
)
SERVICE: Final = Metric(
    "tierplan_stage_service_seconds",
    "histogram",
    "A stage's service, of answered requests.",
    ("stage", "site", "member"),
)
TRANSFER: Final = Metric(
    "tierplan_transfer_duration_seconds",
    "histogram",
    "From hand-over to arrival at another member, waits for links included, of answered requests.",
    ("edge", "way", "member"),
)
QUEUE_LENGTH: Final = Metric("tierplan_queue_length", "gauge", "Requests that wait.", ("queue", "member"))
QUEUE_SERVERS: Final = Metric("tierplan_queue_servers", "gauge", "Threads that serve a queue.", ("queue", "member"))
BUSY: Final = Metric(
    "tierplan_stage_busy_seconds_total", "counter", "Seconds worked so far.", ("stage", "queue", "member")
)
PLAN: Final = Metric("tierplan_plan_info", "gauge", "The plan that runs; always 1.", ("plan", "application", "member"))
PEAK: Final = Metric(
    "tierplan_planned_requests_per_second", "gauge", "Peak rate that the plan was made for, at this member.", ("flow",)
)
PREDICTED_LATENCY: Final = Metric(
    "tierplan_predicted_request_duration_seconds",
    "gauge",
    "What the plan predicts at its peak.",
    ("flow", "to", "over", "statistic"),
)
LIMIT: Final = Metric(
    "tierplan_limit_request_duration_seconds", "gauge", "What was asked for.", ("flow", "to", "over", "statistic")
)
PREDICTED_WAIT: Final = Metric(
    "tierplan_predicted_stage_wait_seconds",
    "gauge",
    "What the plan predicts at its peak.",
    ("stage", "site", "statistic"),
)
PREDICTED_SERVICE: Final = Metric(
    "tierplan_predicted_stage_service_seconds",
    "gauge",
    "What the plan predicts.",
    ("stage", "site", "statistic"),
)
PREDICTED_TRANSFER: Final = Metric(
    "tierplan_predicted_transfer_duration_seconds",
    "gauge",
    "What the plan predicts at its peak: wait for links and transfer; a percentile is the sum of both, a bound.",
    ("edge", "way", "statistic"),
)

ALL: Final = (
    REQUESTS,
    IN_FLIGHT,
    LATENCY,
    WAIT,
    SERVICE,
    TRANSFER,
    QUEUE_LENGTH,
    QUEUE_SERVERS,
    BUSY,
    PLAN,
    PEAK,
    PREDICTED_LATENCY,
    LIMIT,
    PREDICTED_WAIT,
    PREDICTED_SERVICE,
    PREDICTED_TRANSFER,
)

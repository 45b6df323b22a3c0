"""A Grafana dashboard of a deployment, made from the catalogue of metrics: measured, with what is predicted beside it.

Format: Grafana's dashboard JSON, schemaVersion 39. ``python -m runtime.observe.dashboard`` writes docs/grafana.json and
docs/alerts.yaml.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.observe import catalogue as c
from runtime.observe.drift import TOLERANCE
from runtime.observe.promql import aggregated, mean, quantile, rate, selector

WINDOW: Final = "$__rate_interval"
JOB: Final = 'job=~"$job"'
CHOSEN: Final = "$percentile"
STATISTIC: Final = {"statistic": "${percentile:text}"}
WIDTH, HEIGHT = 12, 8
"""Of a panel; Grafana's grid is 24 wide."""


@dataclass(frozen=True, slots=True)
class _Panel:
    """`queries` are (expression, legend); a legend that ends with predicted, limit or planned is drawn dashed."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    threshold: float | None = None


def _largest(metric: c.Metric, by: tuple[str, ...], where: dict[str, str]) -> str:
    return aggregated("max", metric, by, selector(metric, "", where, JOB))


def _timed(title: str, measured: c.Metric, predicted: c.Metric, by: tuple[str, str]) -> _Panel:
    legend = " at ".join(f"{{{{{label}}}}}" for label in by)
    return _Panel(
        title + ", ${percentile:text}",
        "s",
        (
            (quantile(CHOSEN, measured, by, WINDOW, JOB), legend),
            (_largest(predicted, by, STATISTIC), f"{legend} predicted"),
        ),
    )


def _panels() -> tuple[_Panel, ...]:
    latency = quantile(CHOSEN, c.LATENCY, ("flow",), WINDOW, JOB)
    promised = _largest(c.PREDICTED_LATENCY, ("flow",), {**STATISTIC, "over": "all"})
    service = mean(c.SERVICE, ("stage", "site"), WINDOW, JOB)
    expected = _largest(c.PREDICTED_SERVICE, ("stage", "site"), {"statistic": "mean"})
    busy = rate(c.BUSY, ("queue", "member"), WINDOW, extra=JOB)
    servers = _largest(c.QUEUE_SERVERS, ("queue", "member"), {})
    return (
        _Panel(
            "Answered requests",
            "reqps",
            (
                (rate(c.LATENCY, ("flow",), WINDOW, "_count", JOB), "{{flow}}"),
                (aggregated("sum", c.PEAK, ("flow",), selector(c.PEAK, extra=JOB)), "{{flow}} planned"),
            ),
        ),
        _Panel("Requests by outcome", "reqps", ((rate(c.REQUESTS, ("outcome",), WINDOW, extra=JOB), "{{outcome}}"),)),
        _Panel(
            "Latency, ${percentile:text}",
            "s",
            (
                (latency, "{{flow}}"),
                (_largest(c.PREDICTED_LATENCY, ("flow", "over"), STATISTIC), "{{flow}} {{over}} predicted"),
                (_largest(c.LIMIT, ("flow", "over"), STATISTIC), "{{flow}} {{over}} limit"),
            ),
        ),
        _Panel(
            "Measured over predicted",
            "none",
            (
                (f"{latency} / {promised}", "{{flow}} ${percentile:text}"),
                (f"({service}) / {expected}", "{{stage}} at {{site}}, mean service"),
            ),
            1 + TOLERANCE,
        ),
        _timed("Service by stage", c.SERVICE, c.PREDICTED_SERVICE, ("stage", "site")),
        _timed("Wait by stage", c.WAIT, c.PREDICTED_WAIT, ("stage", "site")),
        _timed("Transfers", c.TRANSFER, c.PREDICTED_TRANSFER, ("edge", "way")),
        _Panel("Utilisation of queues", "percentunit", ((f"{busy} / {servers}", "{{queue}} {{member}}"),), 1.0),
        _Panel("Queue length", "short", ((_largest(c.QUEUE_LENGTH, ("queue", "member"), {}), "{{queue}} {{member}}"),)),
        _Panel("In flight", "short", ((selector(c.IN_FLIGHT, extra=JOB), "{{instance}}"),)),
    )


def dashboard() -> dict[str, Any]:
    """To be imported into Grafana, which asks for a Prometheus data source."""
    return {
        "title": "tierplan deployment",
        "uid": "tierplan",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": _variables()},
        "panels": [_drawn(number, panel) for number, panel in enumerate(_panels())],
    }


def _variables() -> list[dict[str, Any]]:
    jobs = f"label_values({c.PLAN.name}, job)"
    percentiles = (("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99"))
    options = [{"text": text, "value": value, "selected": text == "p99"} for text, value in percentiles]
    return [
        {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
        {
            "name": "job",
            "type": "query",
            "label": "Job",
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "query": jobs,
            "definition": jobs,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
        },
        {
            "name": "percentile",
            "type": "custom",
            "label": "Percentile",
            "query": ",".join(f"{text} : {value}" for text, value in percentiles),
            "options": options,
            "current": options[-1],
        },
    ]


def _drawn(number: int, panel: _Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.threshold is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.threshold}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    dashed = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}}
    matcher = {"id": "byRegexp", "options": ".* (predicted|limit|planned)"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": source,
        "gridPos": {"h": HEIGHT, "w": WIDTH, "x": number % 2 * WIDTH, "y": number // 2 * HEIGHT},
        "fieldConfig": {"defaults": defaults, "overrides": [{"matcher": matcher, "properties": [dashed]}]},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": source, "expr": expression, "legendFormat": legend}
            for i, (expression, legend) in enumerate(panel.queries)
        ],
    }


def dashboard_text() -> str:
    """As it is written to a file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    from runtime.observe.alerts import alerts_text

    docs = Path(__file__).parents[2] / "docs"
    (docs / "grafana.json").write_text(dashboard_text(), "utf-8")
    (docs / "alerts.yaml").write_text(alerts_text(), "utf-8")

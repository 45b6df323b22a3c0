"""Alert rules for Prometheus, made from the catalogue of metrics: what is promised is not kept, and why."""

from __future__ import annotations

from typing import Any, Final

from runtime.observe import catalogue as c
from runtime.observe.drift import FLOOR_MS, TOLERANCE
from runtime.observe.promql import aggregated, mean, quantile, rate, selector
from specs.yamlfile import yaml_text

WINDOW: Final = "10m"
FEWEST: Final = {"p50": 20, "p95": 100, "p99": 500}
"""Requests in the window: with fewer, a percentile is an accident. Five of 500 are above the 99th."""
BAD_SHARE: Final = 0.01
_QUANTILES: Final = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}
_FLOW: Final = ("flow",)
_STAGE: Final = ("stage", "site")


def _rule(name: str, query: str, minutes: int, severity: str, summary: str, **labels: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": query,
        "for": f"{minutes}m",
        "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary},
    }


def _percentiles() -> list[dict[str, Any]]:
    """For each percentile: the limit is missed; it is above what was predicted."""
    rules = []
    for statistic, q in _QUANTILES.items():
        measured = quantile(q, c.LATENCY, _FLOW, WINDOW)
        where = {"statistic": statistic, "over": "all"}
        limit = aggregated("max", c.LIMIT, _FLOW, selector(c.LIMIT, where=where))
        promised = aggregated("max", c.PREDICTED_LATENCY, _FLOW, selector(c.PREDICTED_LATENCY, where=where))
        enough = f"{aggregated('sum', c.LATENCY, _FLOW, _increase())} >= {FEWEST[statistic]}"
        told = f"{statistic} of {{{{ $labels.flow }}}} is {{{{ $value | humanizeDuration }}}}"
        rules += [
            _rule(
                "TierplanLimitMissed",
                f"{measured} > {limit} and {enough}",
                5,
                "critical",
                f"{told}, which is above its limit",
                statistic=statistic,
            ),
            _rule(
                "TierplanLatencyDrift",
                f"{measured} > {1 + TOLERANCE:g} * {promised} and {enough}",
                5,
                "warning",
                f"{told}, more than {TOLERANCE:.0%} above the plan; other alerts name the cause",
                statistic=statistic,
            ),
        ]
    return rules


def _increase() -> str:
    return f"increase({selector(c.LATENCY, '_count')}[{WINDOW}])"


def _causes() -> list[dict[str, Any]]:
    """Which term of the prediction is off; means, which need no interpolation."""
    peak = aggregated("sum", c.PEAK, _FLOW, selector(c.PEAK))
    factor, floor = f"{1 + TOLERANCE:g}", f"{FLOOR_MS / 1e3:g}"

    def planned(metric: c.Metric, by: tuple[str, ...]) -> str:
        return aggregated("max", metric, by, selector(metric, where={"statistic": "mean"}))

    service, expected = mean(c.SERVICE, _STAGE, WINDOW), planned(c.PREDICTED_SERVICE, _STAGE)
    wait = f"{mean(c.WAIT, _STAGE, WINDOW)} > {factor} * {planned(c.PREDICTED_WAIT, _STAGE)} + {floor}"
    way = ("edge", "way")
    transfer = f"{mean(c.TRANSFER, way, WINDOW)} > {factor} * {planned(c.PREDICTED_TRANSFER, way)} + {floor}"
    stage = "{{ $labels.stage }} at {{ $labels.site }}"
    value = "{{ $value | humanizeDuration }} on average"
    return [
        _rule(
            "TierplanRateAbovePlan",
            f"{rate(c.LATENCY, _FLOW, WINDOW, '_count')} > {peak}",
            10,
            "warning",
            "{{ $labels.flow }} answers {{ $value | humanize }} requests a second, more than the plan was made for",
        ),
        _rule(
            "TierplanServiceSlower",
            f"{service} > {factor} * {expected} + {floor}",
            10,
            "warning",
            f"service of {stage} takes {value}: slower than its profile (planner replan)",
        ),
        _rule(
            "TierplanServiceFaster",
            f"{service} < {expected} / {factor} - {floor}",
            30,
            "info",
            f"service of {stage} takes {value}: faster than its profile; another plan may be cheaper (planner replan)",
        ),
        _rule("TierplanWaitLonger", wait, 10, "warning", f"requests wait {value} for {stage}, longer than planned"),
        _rule(
            "TierplanTransferSlower",
            transfer,
            10,
            "warning",
            f"{{{{ $labels.edge }}}} ({{{{ $labels.way }}}}) takes {value}: slower than the plan's links",
        ),
    ]


def _faults() -> list[dict[str, Any]]:
    bad = f"sum(rate({selector(c.REQUESTS, where={'outcome': '~refused|late|failed'})}[{WINDOW}]))"
    every = f"sum(rate({selector(c.REQUESTS)}[{WINDOW}]))"
    plans = f"count by (application) ({aggregated('count', c.PLAN, ('plan', 'application'), selector(c.PLAN))})"
    return [
        _rule(
            "TierplanRequestsNotAnswered",
            f"{bad} / {every} > {BAD_SHARE:g}",
            5,
            "critical",
            "{{ $value | humanizePercentage }} of requests are refused, late or failed",
        ),
        _rule(
            "TierplanPlansDiffer",
            f"{plans} > 1",
            15,
            "warning",
            "members of {{ $labels.application }} run several plans",
        ),
        _rule(
            "TierplanMemberDown",
            'up{job="tierplan"} == 0',
            1,
            "critical",
            "the door of {{ $labels.instance }} does not answer (planner status)",
        ),
    ]


def alerts() -> dict[str, Any]:
    """A rule file, as ``rule_files`` of prometheus.yml takes it."""
    return {
        "groups": [
            {"name": "tierplan-promises", "rules": _percentiles()},
            {"name": "tierplan-causes", "rules": _causes()},
            {"name": "tierplan-faults", "rules": _faults()},
        ]
    }


def alerts_text() -> str:
    """As it is written to a file."""
    return yaml_text(alerts())

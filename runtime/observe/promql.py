"""Queries of our metrics. A label that the metric does not have is a mistake here, not an empty panel there."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.observe.catalogue import Metric


def selector(metric: Metric, suffix: str = "", where: Mapping[str, str] | None = None, extra: str = "") -> str:
    """``name_suffix{label="value"}``; a value that begins with ~ is a regular expression. `extra` is added as it is."""
    _check(metric, tuple(where or ()))
    parts = [f'{k}=~"{v[1:]}"' if v.startswith("~") else f'{k}="{v}"' for k, v in (where or {}).items()]
    inside = ",".join([*parts, *([extra] if extra else [])])
    return f"{metric.name}{suffix}" + (f"{{{inside}}}" if inside else "")


def aggregated(how: str, metric: Metric, by: tuple[str, ...], inner: str) -> str:
    """``how by (labels) (inner)``, where `inner` is of `metric`."""
    _check(metric, by)
    return f"{how} by ({', '.join(by)}) ({inner})"


def rate(metric: Metric, by: tuple[str, ...], window: str, suffix: str = "", extra: str = "") -> str:
    """By how much it grows in a second, summed."""
    return aggregated("sum", metric, by, f"rate({selector(metric, suffix, extra=extra)}[{window}])")


def quantile(q: str, metric: Metric, by: tuple[str, ...], window: str, extra: str = "") -> str:
    """Of a histogram."""
    _check(metric, by)
    inner = f"rate({selector(metric, '_bucket', extra=extra)}[{window}])"
    return f"histogram_quantile({q}, sum by (le, {', '.join(by)}) ({inner}))"


def mean(metric: Metric, by: tuple[str, ...], window: str, extra: str = "") -> str:
    """Of a histogram; exact, for sums are."""
    return f"{rate(metric, by, window, '_sum', extra)} / {rate(metric, by, window, '_count', extra)}"


def _check(metric: Metric, labels: tuple[str, ...]) -> None:
    unknown = set(labels) - set(metric.labels)
    if unknown:
        raise ValueError(f"{metric.name} has no label {min(unknown)}; it has {', '.join(metric.labels)}")

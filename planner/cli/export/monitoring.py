"""What those who watch a deployment load: a Grafana dashboard and alert rules for Prometheus, alike for all bundles."""

from __future__ import annotations


def monitoring_files() -> dict[str, bytes]:
    """By name in the export."""
    from runtime.observe.alerts import alerts_text
    from runtime.observe.dashboard import dashboard_text

    return {
        "monitoring/grafana.json": dashboard_text().encode(),
        "monitoring/alerts.yaml": alerts_text().encode(),
    }

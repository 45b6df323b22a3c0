"""The units of objectives."""

from __future__ import annotations

from specs.application import Application


def units_of(app: Application, currency: str) -> tuple[str, ...]:
    """Of each objective, in order."""
    money = f"{currency}/month"
    units = {"cost": money, "energy": "kWh/month", "accuracy": "of answers wrong", "throughput": "of the fullest queue"}
    return tuple(units.get(term, "ms") if isinstance(term, str) else "ms" for term in app.objective)

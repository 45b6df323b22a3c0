"""The report as one HTML page: no script, no request to anywhere, every name escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from planner.cli.ends import Path, ends
from planner.cli.output import number
from planner.cli.report.map import draw_map, link_ends
from planner.cli.report.waterfall import draw_waterfall
from specs.plan import Percentiles, Plan
from specs.run_result import RunResult

QUANTILES: Final = (("p50", "p50_ms"), ("p95", "p95_ms"), ("p99", "p99_ms"))

PROOF: Final = {
    "optimal": "No better plan exists for the tables that were measured: the bound equals the objective.",
    "feasible": "A plan that keeps every constraint; a better one may exist, by no more than the gap.",
    "infeasible": "No plan keeps all constraints: this is proven.",
    "unknown": "Neither a plan nor a proof that there is none was found within the limits.",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What the page says beyond plan and run, from the spec files where they were given."""

    tiers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    emulation: Mapping[str, float] = field(default_factory=dict)
    edges: tuple[tuple[str, str], ...] = ()
    units: tuple[str, ...] = ()
    """Of the objectives, in order; none where the application was not given."""

    remembers: Mapping[str, float] = field(default_factory=dict)
    """Bytes of state at most, by component that keeps some."""

    calls: Mapping[str, str] = field(default_factory=dict)
    """Where each hosted API is called."""


def render(plan: Plan, run: RunResult | None, context: Context | None = None) -> str:
    """The page for `plan` and, where given, a run of it."""
    known = context or Context()
    environment = Environment(
        loader=PackageLoader("planner.cli.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ms": milliseconds, "figure": number, "percent": percent, "bytes": size, "money": money}
    page: str = environment.get_template("page.html.j2").render(
        plan=plan,
        run=run,
        known=known,
        proof=PROOF[plan.status],
        objective=_with_units(plan.objective, known.units),
        bound=_with_units(plan.bound or [], known.units),
        map=draw_map(plan, link_ends(plan, dict(known.links)), dict(known.tiers)),
        waterfall=draw_waterfall(plan, run, known.edges),
        measured={p.key: p for p in run.paths} if run else {},
        quantiles=QUANTILES,
        headline=_headline(plan, run, remembers=bool(known.remembers)),
        deviation=deviation,
        provenances=sorted({a.provenance for a in plan.assignments}),
    )
    return page


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the headline; `good` is None where there is nothing to keep."""

    name: str
    value: str
    note: str
    good: bool | None = None


def _headline(plan: Plan, run: RunResult | None, *, remembers: bool) -> list[Figure]:
    figures: list[Figure] = []
    if plan.cost is not None:
        cost = plan.cost
        note = f"{money(cost.per_1000)} {cost.currency} per 1,000 requests"
        figures.append(Figure("cost", f"{money(cost.per_month)} {cost.currency}", f"a month; {note}"))
    if plan.energy is not None:
        figures.append(
            Figure("energy", f"{plan.energy.per_month:,.3g} kWh", "a month, of devices whose power is known")
        )
    if plan.paths:
        path = max(plan.paths, key=lambda p: _used(p.predicted, p.limit_ms))
        limit = path.limit_ms.get("p99")
        note = f"predicted, limit {milliseconds(limit)}" if limit else "predicted"
        good = path.predicted.p99_ms <= limit if limit else None
        figures.append(Figure("p99 latency", milliseconds(path.predicted.p99_ms), note + _of(path, plan.paths), good))
    if run is not None and run.paths:
        seen = max(run.paths, key=lambda p: _used(p.measured, p.limit_ms))
        limit = seen.limit_ms.get("p99")
        good = seen.measured.p99_ms <= limit if limit else None
        note = f"measured over {seen.n:,} requests" + _of(seen, run.paths)
        figures.append(Figure("p99 latency", milliseconds(seen.measured.p99_ms), note, good))
    figures += _accuracy(plan, run)
    if run is not None:
        r = run.requests
        bad = r.failed + r.lost + r.refused + r.wrong
        note = "each equal to the reference's answer" + ", but for what depends on state" * remembers
        note = note if not bad else f"{r.wrong} wrong, {r.lost} lost, {r.failed} failed"
        figures.append(Figure("answered", f"{r.answered:,} of {r.sent:,}", note, not bad))
    return figures


def _with_units(values: Sequence[float], units: Sequence[str]) -> list[str]:
    """Each value of an objective in words."""
    return [f"{number(v)} {u}" for v, u in zip(values, units, strict=True)] if units else [number(v) for v in values]


def _used(found: Percentiles, limit_ms: Mapping[str, float]) -> float:
    """The part of its p99 limit that a path takes; less than any for a path without one."""
    limit = limit_ms.get("p99")
    return found.p99_ms / limit if limit else -1.0


def _of(path: Path, among: Sequence[Path]) -> str:
    """Which path a figure is of, where there are several: the one nearest to its limit."""
    return f"; {ends(path, among)}, of {len(among)} paths the nearest to its limit" if len(among) > 1 else ""


def _accuracy(plan: Plan, run: RunResult | None) -> list[Figure]:
    """As measured in the run, with its interval beside plan and limit; without a run, as planned."""
    if run is None or not run.accuracies:
        planned = [pair for behaviour in plan.behaviour[:1] for pair in behaviour.accuracy.items()]
        return [Figure("accuracy", percent(value), f"end to end on {data}, planned") for data, value in planned[:1]]
    figures = []
    for a in run.accuracies:
        note = f"measured on {a.data}, {percent(a.low)} to {percent(a.high)} at 95 %"
        if a.planned is not None:
            note += f"; planned {percent(a.planned)}"
        if a.limit is not None:
            said = {"kept": "", "missed": ": all of it lies below", "not certain": ": too few answers to tell"}
            note += f"; limit {percent(a.limit)}{said[a.verdict]}"
        good = None if a.limit is None else {"kept": True, "missed": False, "not certain": None}[a.verdict]
        figures.append(Figure("accuracy", percent(a.value), note, good))
    return figures


def milliseconds(value: float) -> str:
    """A time, in the unit that reads best."""
    if value >= 10_000:
        return f"{number(value / 1000)} s"
    if 0 < value < 0.1:
        return f"{number(value * 1000)} µs"
    return f"{number(value)} ms"


def percent(value: float) -> str:
    """A share, as precise as it takes not to round to all or nothing."""
    digits = 0 if value in (0.0, 1.0) else 1 if 0.001 <= value <= 0.999 else 3
    return f"{100 * value:.{digits}f} %"


def size(value: float) -> str:
    """Bytes, in the unit that reads best."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{number(value / factor)} {unit}"
    return f"{number(value)} B"


def money(value: float) -> str:
    """An amount: cents where they matter."""
    if value and abs(value) < 0.01:
        return number(value, 2)
    return f"{value:,.2f}"


def deviation(predicted: Percentiles, measured: Percentiles, key: str) -> dict[str, Any]:
    """How far a measured percentile is from its prediction: the share, and whether that is within a quarter."""
    claimed, seen = getattr(predicted, key), getattr(measured, key)
    if claimed <= 0:
        return {"text": "", "near": True}
    share = seen / claimed - 1
    return {"text": f"{share:+.0%}".replace("%", " %"), "near": abs(share) <= 0.25}

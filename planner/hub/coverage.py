"""On which share of a fleet does a variant meet its constraint, what fails on the rest, and what would mend it?

A device meets the constraint of a path where the variant alone takes no longer than the path may, at the path's
quantile, and fits in memory; the accuracy constraint where a combination with the variant keeps it. What was measured
counts with its drift, an estimate with its interval, and what is not known is possible, never certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Literal

from planner.hub.rows import best_accuracy
from planner.hub.unit_cost import cost_per_1000, interval, price_of
from specs.application import AccuracyConstraint, Application, PathConstraint
from specs.behaviour import Behaviour
from specs.graph import Graph
from specs.hub import CoverageGap, CoverageRow
from specs.infrastructure import Infrastructure
from specs.profile import Record

Verdict = Literal["yes", "possible", "no"]
Reason = Literal["memory", "operator", "latency", "accuracy", "not measured"]
_RANK: Final[dict[Verdict, int]] = {"yes": 2, "possible": 1, "no": 0}

Refusal = Callable[[str, str, str], str | None]
"""(component, variant, hardware) -> why the model cannot be compiled for the class, or None."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The tightest limit of a path through a component: seconds at a quantile, and the constraint's name."""

    name: str
    probability: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What holds on one class. `latency` are the least and greatest seconds of the best way to run there."""

    verdict: Verdict
    reason: Reason | None = None
    detail: str = ""
    latency: tuple[float, float] | None = None


@dataclass(frozen=True)
class Facts:
    """`records` by (COMPONENT/VARIANT, hardware): of whole variants, on allowed backends, batch 1."""

    app: Application
    infra: Infrastructure
    records: Mapping[tuple[str, str], Sequence[Record]]
    behaviours: Sequence[Behaviour]
    refusal: Refusal

    def names(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Components that are models, with their variants."""
        for name, component in self.app.components.items():
            variants = tuple(v for v, real in component.realisations.items() if real.is_model)
            if variants:
                yield name, variants


def limit_of(app: Application, component: str) -> Limit | None:
    """The tightest limit of the paths that `component` is on, or None."""
    graph = Graph(app)
    found = [
        Limit(name, probability, seconds)
        for name, constraint in app.constraints.items()
        if isinstance(constraint, PathConstraint) and component in _between(graph, constraint.from_, constraint.to)
        for probability, seconds in constraint.limits.items()
    ]
    return min(found, key=lambda limit: limit.seconds, default=None)


def _between(graph: Graph, start: str, end: str) -> set[str]:
    """Nodes on a way from `start` to `end`, both included."""
    after, before = {start}, {end}
    for edge in graph.edges:
        if edge.producer in after:
            after.add(edge.consumer)
    for edge in reversed(graph.edges):
        if edge.consumer in before:
            before.add(edge.producer)
    return after & before


def coverage(facts: Facts, components: Sequence[str] = (), variants: Sequence[str] = ()) -> list[CoverageRow]:
    """A row for each fleet, component and variant, and one for the component where it has several."""
    rows: list[CoverageRow] = []
    for fleet in facts.infra.fleets:
        for component, known in facts.names():
            if components and component not in components:
                continue
            chosen = tuple(v for v in known if not variants or v in variants)
            findings = {v: _on_fleet(facts, fleet, component, v) for v in chosen}
            rows += [_row(facts, fleet, component, v, findings[v]) for v in chosen]
            if len(known) > 1 and not variants:
                best = {h: max((f[h] for f in findings.values()), key=_goodness) for h in next(iter(findings.values()))}
                rows.append(_row(facts, fleet, component, "", best))
    return rows


def _goodness(finding: Finding) -> tuple[int, float]:
    return _RANK[finding.verdict], -(finding.latency[0] if finding.latency else 0.0)


def _on_fleet(facts: Facts, fleet: str, component: str, variant: str) -> dict[str, Finding]:
    return {part.hardware: judge(facts, component, variant, part.hardware) for part in facts.infra.fleets[fleet]}


def _row(facts: Facts, fleet: str, component: str, variant: str, found: Mapping[str, Finding]) -> CoverageRow:
    shares: dict[str, float] = {}
    for part in facts.infra.fleets[fleet]:
        shares[part.hardware] = shares.get(part.hardware, 0.0) + part.share
    limit = limit_of(facts.app, component)
    gaps = tuple(
        CoverageGap(
            hardware=hardware,
            share=shares[hardware],
            verdict=finding.verdict,
            reason=finding.reason or "latency",
            detail=finding.detail,
            change=_change(facts, component, variant, hardware, finding, limit),
        )
        for hardware, finding in found.items()
        if finding.verdict != "yes"
    )
    return CoverageRow(
        fleet=fleet,
        component=component,
        variant=variant,
        constraint=limit.name if limit else "",
        limit_ms=1000 * limit.seconds if limit else None,
        certain=sum(shares[h] for h, f in found.items() if f.verdict == "yes"),
        possible=sum(shares[h] for h, f in found.items() if f.verdict != "no"),
        gaps=gaps,
    )


def judge(facts: Facts, component: str, variant: str, hardware: str) -> Finding:
    """Whether a variant meets the constraints on a class."""
    found = _runs(facts, component, variant, hardware)
    if found.verdict == "no":
        return found
    good_enough = _accuracy(facts, component, variant)
    return found if _RANK[good_enough.verdict] >= _RANK[found.verdict] else good_enough


def _runs(facts: Facts, component: str, variant: str, hardware: str) -> Finding:
    """Whether it runs there, in memory and in time."""
    known = facts.records.get((f"{component}/{variant}", hardware), ())
    memory = facts.infra.hardware[hardware].memory
    fitting = [r for r in known if memory is None or r.memory <= memory]
    if known and not fitting:
        return _too_large(min(r.memory for r in known), memory or 0.0)
    if not known:
        return _unmeasured(facts, component, variant, hardware)
    limit = limit_of(facts.app, component)
    if limit is None:
        return Finding("yes")
    spans = [interval(record, limit.probability) for record in fitting]
    best = min(spans, key=lambda span: (span[1] > limit.seconds, span[0]))
    if best[1] <= limit.seconds:
        return Finding("yes", latency=best)
    low, high = (f"{1000 * s:.3g} ms" for s in best)
    span = low if low == high else f"{low} to {high}" if best[1] < inf else f"{low} or more (too few runs to say)"
    took = f"p{100 * limit.probability:g} of {span}, limit {1000 * limit.seconds:.3g} ms"
    if best[0] <= limit.seconds:
        return Finding("possible", "latency", took, best)
    over = f"{took}: {best[0] / limit.seconds:.2g} times what is allowed"
    return Finding("no", "latency", over, best)


def _too_large(needed: float, memory: float) -> Finding:
    return Finding("no", "memory", f"needs {needed / 1e6:.3g} MB, the device has {memory / 1e6:.3g} MB")


def _unmeasured(facts: Facts, component: str, variant: str, hardware: str) -> Finding:
    """What can be said of a class that nobody measured: memory is about the same everywhere, operators are its own."""
    name, memory = f"{component}/{variant}", facts.infra.hardware[hardware].memory
    elsewhere = [r.memory for (other, _), records in facts.records.items() if other == name for r in records]
    if elsewhere and memory is not None and min(elsewhere) > memory:
        return _too_large(min(elsewhere), memory)
    if (refused := facts.refusal(component, variant, hardware)) is not None:
        others = facts.app.components[component].backends != ["tvm"]
        return Finding("possible" if others else "no", "operator", refused)
    return Finding("possible", "not measured", "nobody ran it there")


def _accuracy(facts: Facts, component: str, variant: str) -> Finding:
    """Whether some combination with the variant keeps every accuracy constraint, so far as it was measured."""
    finding = Finding("yes")
    for name, constraint in facts.app.constraints.items():
        if isinstance(constraint, AccuracyConstraint):
            best = best_accuracy(facts.behaviours, constraint.on).get(f"{component}/{variant}")
            if best is None:
                detail = f"{name}: nothing is known of the accuracy on {constraint.on}"
                finding = Finding("possible", "not measured", detail)
            elif best < constraint.accuracy:
                detail = f"{name}: at best {best:.4g} on {constraint.on}, {constraint.accuracy:g} is asked for"
                return Finding("no", "accuracy", detail)
    return finding


def _change(facts: Facts, component: str, variant: str, hardware: str, finding: Finding, limit: Limit | None) -> str:
    """The cheapest change that mends it: another variant, a measurement, other hardware, then a weaker limit."""
    others = [v for v in facts.app.components[component].realisations if v != variant]
    if variant:
        fits = [v for v in others if judge(facts, component, v, hardware).verdict == "yes"]
        if fits:
            best = best_accuracy(facts.behaviours)
            chosen = max(fits, key=lambda v: best.get(f"{component}/{v}", 0.0))
            change = [best.get(f"{component}/{v}") for v in (variant, chosen)]
            known = f" (accuracy {change[1]:.4g}, not {change[0]:.4g})" if None not in change else ""
            return f"use variant {chosen} there{known}"
        perhaps = [v for v in others if judge(facts, component, v, hardware).verdict == "possible"]
        if perhaps and finding.verdict == "no":
            return f"measure variant {perhaps[0]} there, which may do"
    if finding.verdict == "possible":
        return _measurement(facts, hardware, finding)
    if finding.reason == "accuracy":
        return "train it further, or ask for less"
    if (moved := _elsewhere(facts, component, variant, hardware)) is not None:
        return moved
    if finding.latency is not None and limit is not None:
        needed = max(seconds for seconds in finding.latency if seconds < inf)
        return f"allow {1000 * needed:.3g} ms in {limit.name}"
    return "a smaller or quantized variant"


def _measurement(facts: Facts, hardware: str, finding: Finding) -> str:
    """What makes a possible answer certain."""
    if finding.reason == "operator":
        return "measure it there with another backend"
    spec = facts.infra.hardware[hardware]
    if spec.emulate is None and spec.device != "here":
        if finding.latency is not None:
            return "measure it there: the estimate leaves it open"
        return "planner profile --estimate, or measure it there"
    return "planner profile, with a longer --budget" if finding.reason == "latency" else "planner profile"


def _elsewhere(facts: Facts, component: str, variant: str, hardware: str) -> str | None:
    """The cheapest class in the infrastructure's sites on which it holds."""
    used = {p.hardware for s in facts.infra.sites.values() for p in s.pools.values()} - {hardware}
    variants = (variant,) if variant else tuple(facts.app.components[component].realisations)
    found: list[tuple[float, str]] = []
    for name in sorted(used):
        for v in variants:
            records = facts.records.get((f"{component}/{v}", name), ())
            if records and judge(facts, component, v, name).verdict == "yes":
                price = price_of(facts.infra, name)
                costs = [cost_per_1000(r, facts.infra.hardware[name], price) for r in records]
                found.append((min(c or 0.0 for c in costs), name))
    if not found:
        return None
    cost, name = min(found)
    said = f"{cost:.3g} {facts.infra.currency} for 1,000 at full load, and " if cost else ""
    return f"run it on {name}: {said}the way there"

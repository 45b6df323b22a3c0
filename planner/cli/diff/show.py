"""What differs, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from planner.cli.ends import ends
from planner.cli.output import counted, number, table

if TYPE_CHECKING:
    from rich.console import Console

    from specs.diff import (
        BundleDifference,
        ConstraintChange,
        DiffResult,
        Placement,
        PlacementChange,
        PlanDifference,
        Side,
    )

NOTHING: Final = "-"
"""Stands for what is not there."""
PERCENTILES: Final = ("p50", "p95", "p99")


def show(result: DiffResult, out: Console) -> None:
    """All that differs, then from which plan to which."""
    show_difference(result.difference, out)
    if result.bundle is not None:
        _show_bundle(result.bundle, out)
    if result.same:
        out.print("nothing differs")
    for side in (result.old, result.new):
        out.print(side_text(side, result.old.application != result.new.application))


def show_difference(found: PlanDifference, out: Console) -> None:
    """What runs otherwise, figures, constraints and inputs."""
    if found.placements:
        rows = list(_placements(found.placements))
        out.print(table(["component", "for", "was", "is"], rows))
    figures = [row for row in _figures(found) if row[1] != row[2]]  # alike to the digits that people see
    if figures:
        columns = ["", "was", "is", "change"]
        out.print(table(columns, figures, right=columns[1:]))
    if found.constraints:
        columns = ["constraint", "unit", "was", "is", "limit", "to spare", "binding"]
        rows = [_constraint(c) for c in found.constraints]
        out.print(table(columns, rows, right=columns[2:6]))
    if found.inputs:
        rows = [[i.kind, "" if i.name == i.kind else i.name, _short(i.old), _short(i.new)] for i in found.inputs]
        out.print(table(["input", "of", "was", "is"], rows))


def side_text(side: Side, named: bool) -> str:
    what = f"{side.application}, " if named else ""
    conflict = f": {', '.join(side.conflict)} cannot hold together" if side.conflict else ""
    """Its file, status and digest; the application where it is to be `named`."""
    return f"{side.file}: {what}{side.status}{conflict}; plan {side.plan[:16]}"


def _placements(changes: Sequence[PlacementChange]) -> Iterator[list[str]]:
    """Fields that are alike on both sides are left out, but for the site."""
    for c in changes:
        name = c.component if c.segment.is_whole else f"{c.component}[{c.segment}]"
        differ = None if c.old is None or c.new is None else c.differ
        yield [name, c.flow, _placed(c.old, differ), _placed(c.new, differ)]


def _placed(p: Placement | None, differ: Sequence[str] | None) -> str:
    if p is None:
        return NOTHING
    words = {
        "pool": f"pool {p.pool}",
        "hardware": f"on {p.hardware}",
        "variant": p.variant,
        "backend": p.backend,
        "replicas": counted(p.replicas, "replica"),
        "standby": f"{p.standby} on standby",
        "threads": counted(p.threads, "thread"),
        "batch": f"batch {p.batch}",
        "batch_wait_ms": f"waits {number(p.batch_wait_ms)} ms",
        "members": f"for {p.members:,} members",
        "artefact": f"artefact {_short(p.artefact or None)}",
        "provenance": p.provenance,
    }
    usual = ("hardware", "variant", "backend", "replicas", "threads")
    wanted = usual if differ is None else differ
    return ", ".join([p.site, *(text for field, text in words.items() if field in wanted)])


def _figures(found: PlanDifference) -> Iterator[list[str]]:
    for d in found.devices:
        sides = [f"{x.bought} x {x.hardware}, {x.load:.0%} busy" if x else NOTHING for x in (d.old, d.new)]
        more = (d.new.bought if d.new else 0) - (d.old.bought if d.old else 0)
        yield [f"devices at each of {d.site}.{d.pool}", *sides, f"{more:+d}" if more else ""]
    for link in found.links:
        yield [f"link {link.name}, busy", *(f"{x:.1%}" if x is not None else NOTHING for x in (link.old, link.new)), ""]
    if found.cost is not None:
        cost = found.cost
        for item in cost.items:
            yield _money(f"{item.name}, {cost.currency}/month", item.old, item.new)
        yield _money(f"cost, {cost.currency}/month", cost.per_month.old, cost.per_month.new)
        yield _row(f"cost, {cost.currency}/1,000 requests", cost.per_1000.old, cost.per_1000.new)
    if found.energy is not None:
        yield _row("energy, kWh/month", found.energy.old, found.energy.new)
    for path in found.paths:
        for q in PERCENTILES:
            old, new = (getattr(p, f"{q}_ms") if p else None for p in (path.old, path.new))
            yield _row(f"{q} of {ends(path, found.paths)} over {path.over}, ms", old, new)
    for a in found.accuracy:
        sides = [f"{x:.4f}" if x is not None else NOTHING for x in (a.old, a.new)]
        change = "" if a.old is None or a.new is None else f"{a.new - a.old:+.4f}"
        yield [f"accuracy on {a.name}", *sides, change]


def _row(name: str, old: float | None, new: float | None) -> list[str]:
    sides = [number(x) if x is not None else NOTHING for x in (old, new)]
    if old is None or new is None or old == 0:
        return [name, *sides, ""]
    return [name, *sides, f"{new / old - 1:+.1%}"]


def _money(name: str, old: float | None, new: float | None) -> list[str]:
    sides = [f"{x:,.2f}" if x is not None else NOTHING for x in (old, new)]
    return [name, *sides, f"{(new or 0) - (old or 0):+,.2f}"]


def _constraint(c: ConstraintChange) -> list[str]:
    """Value before and now; limit, slack and binding once where they are the same."""
    old, new = c.old, c.new
    values = [number(k.value, 4) if k else NOTHING for k in (old, new)]
    limits = [number(k.limit, 4) if k else NOTHING for k in (old, new)]
    spare = [number(k.slack) if k else NOTHING for k in (old, new)]
    binding = [("yes" if k.binding else "no") if k else NOTHING for k in (old, new)]
    return [c.name, c.unit, *values, *(_once(*pair) for pair in (limits, spare, binding))]


def _once(was: str, now: str) -> str:
    return was if was == now else f"{was} -> {now}"


def _short(text: str | None) -> str:
    """Of a digest, its first digits; other texts as they are."""
    if text is None:
        return NOTHING
    return text[:12] if len(text) == 64 and text.isalnum() else text


def _show_bundle(found: BundleDifference, out: Console) -> None:
    if found.artefacts:
        rows = []
        for a in found.artefacts:
            part = "" if a.segment.is_whole else f"[{a.segment}]"
            threads = counted(a.threads, "thread")
            rows.append([f"{a.component}{part}", f"{a.variant}, {a.backend}, {threads}", _short(a.old), _short(a.new)])
        out.print(table(["artefact of", "as", "was", "is"], rows))
    new, gone = (sum(f.old is None for f in found.files), sum(f.new is None for f in found.files))
    changed = len(found.files) - new - gone
    size = f"{number(found.ship_bytes / 1e6)} of {number(found.total_bytes / 1e6)} MB to ship"
    out.print(f"files: {changed} changed, {new} new, {gone} gone; {size}")

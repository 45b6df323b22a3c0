"""What moved between two plans of one application, in words."""

from __future__ import annotations

from pathlib import Path

from planner.cli.ends import ends
from planner.cli.output import counted, number
from specs.errors import InputError
from specs.plan import Assignment, Plan, comparable, read_plan


def plan_that_stood(file: Path) -> Plan | None:
    """The plan in `file` before another one takes its place, where there is one that places something."""
    try:
        plan = read_plan(file) if file.is_file() else None
    except InputError:  # an older format, or no plan at all: there is nothing to compare with
        return None
    return plan if plan is not None and plan.assignments else None


def moves(before: Plan, after: Plan) -> list[str]:
    """Each component that runs elsewhere or otherwise, then what that does to cost and p99; nothing where none does.

    Of p99 what was simulated, if it was for both plans, else what sums predict.
    """
    if before.application != after.application or not after.assignments:
        return []
    found: list[str] = []
    old, new = _by_component(before), _by_component(after)
    for component, chosen in new.items():
        was = old.get(component)
        if was is None:
            found.append(f"{component} is new, at {_sites(chosen)}")
        elif _sites(was) != _sites(chosen):
            found.append(f"{component} moved from {_sites(was)} to {_sites(chosen)}")
        elif _how(was) != _how(chosen):
            found.append(f"{component} stays at {_sites(chosen)}: {_how(was)} -> {_how(chosen)}")
    found += [f"{component} is gone" for component in old if component not in new]
    if not found:
        return []
    return [*found, *_figures(*comparable(before, after))]


def _by_component(plan: Plan) -> dict[str, list[Assignment]]:
    chosen: dict[str, list[Assignment]] = {}
    for a in plan.assignments:
        chosen.setdefault(a.component, []).append(a)
    return chosen


def _sites(chosen: list[Assignment]) -> str:
    """Where, from the first segment to the last."""
    parts = [a.site if a.segment.is_whole else f"{a.site} [{a.segment}]" for a in chosen]
    return " and ".join(dict.fromkeys(parts))


def _how(chosen: list[Assignment]) -> str:
    parts = []
    for a in chosen:
        variant = "" if a.variant == "default" else f"{a.variant}, "
        threads = counted(a.threads, "thread")
        batch = f", up to {a.batch} requests at once" if a.batch > 1 else ""
        parts.append(f"{variant}{a.backend}, {a.replicas} x {threads} on {a.hardware}{batch}")
    return " and ".join(dict.fromkeys(parts))


def _figures(before: Plan, after: Plan) -> list[str]:
    said: list[str] = []
    if before.cost is not None and after.cost is not None:
        more = after.cost.per_month - before.cost.per_month
        said.append(f"cost {more:+,.2f} {after.cost.currency}/month")
    paths = {p.key: p.predicted.p99_ms for p in before.paths}
    for p in after.paths:
        was = paths.get(p.key)
        if was is not None:
            said.append(f"p99 of {ends(p, after.paths)} over {p.over} {number(was)} -> {number(p.predicted.p99_ms)} ms")
    return said

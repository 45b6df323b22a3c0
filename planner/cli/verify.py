"""`planner verify`: the plan's numbers, computed a second way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from planner.cli.options import PROFILES, AppFile, InfraFile, PlanFile, ProfilesFolder, SetOption
from planner.cli.output import Format, FormatOption, emit, number, table
from specs.errors import AnswerIsNo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from planner.cli.results import VerifyResult, VerifyRow
    from planner.cli.tables import FittedTable
    from planner.verification.claims import Check

TINY: Final = 0.05
"""Differences of figures below this say nothing: a wait of 0.01 ms may be sampled as 0.02."""


def verify(
    plan: PlanFile,
    app: AppFile,
    infra: InfraFile,
    profiles: ProfilesFolder = PROFILES,
    every: Annotated[bool, typer.Option("--all", help="Show every claim, not counts by subject.")] = False,
    sets: SetOption = None,
    fmt: FormatOption = Format.table,
) -> None:
    """Recompute latency, cost and every constraint of a plan without the solver's model.

    Exit code 1 where a claim does not hold, 2 where the plan is older than its inputs.

    Example: planner verify plan.yaml app.yaml --infra infra.yaml --profiles profiles
    """
    from planner import verify as recompute
    from planner.cli.loading import load_situation_checked
    from planner.cli.results import VerifyResult
    from specs.changes import parse_changes
    from specs.plan import read_plan

    read = read_plan(plan)
    report = recompute(load_situation_checked(app, infra, profiles, parse_changes(sets or [])), read)
    checks = tuple(_row(check) for check in report.checks)
    result = VerifyResult(plan=read.digest, ok=all(c.ok for c in checks), checks=checks)
    emit(result.dump(), fmt, lambda out: _show(result, every, out))
    wrong = [c.name for c in checks if not c.ok]
    if wrong:
        raise AnswerIsNo(f"{len(wrong)} of {len(checks)} claims do not hold: {', '.join(wrong[:5])}")


def _row(check: Check) -> VerifyRow:
    from planner.cli.results import VerifyRow

    return VerifyRow(
        subject=check.subject,
        name=check.name,
        rule=check.rule,
        claimed=check.claimed,
        recomputed=check.recomputed,
        ok=check.ok,
        note=check.note,
    )


def _show(result: VerifyResult, every: bool, out: Console) -> None:
    """How many claims hold by subject, then the figures that matter and whatever does not hold; or every claim."""
    checks = result.checks
    if every:
        for subject in dict.fromkeys(c.subject for c in checks):
            out.print(_claims([c for c in checks if c.subject == subject], subject))
    else:
        out.print(_summary(checks))
        out.print(_claims([c for c in checks if not c.ok or _matters(c)], "the figures that matter"))
    for note in dict.fromkeys(c.note for c in checks if c.note and (every or not c.ok)):
        out.print(f"objective latency: {note}")
    more = "" if every else "; --all shows each"
    out.print(f"{sum(c.ok for c in checks)} of {len(checks)} claims hold{more}; plan {result.plan[:16]}")


def _matters(check: VerifyRow) -> bool:
    """End-to-end times, money, and whether the user's constraints are kept."""
    if check.subject == "latency":
        return check.rule == "close" and not check.name.startswith(("stage ", "transfer "))
    kept = check.subject == "constraints" and check.rule in ("at most", "at least")
    return kept or check.name in ("cost per month", "energy per month")


def _summary(checks: Sequence[VerifyRow]) -> FittedTable:
    rows = []
    for subject in dict.fromkeys(c.subject for c in checks):
        own = [c for c in checks if c.subject == subject]
        apart = [
            abs(c.recomputed / c.claimed - 1) for c in own if c.rule in ("equal", "close") and abs(c.claimed) > TINY
        ]
        held = sum(c.ok for c in own)
        mark = "✓" if held == len(own) else "✗"
        rows.append([mark, subject, f"{held} of {len(own)}", f"{max(apart):.1%}" if apart else ""])
    return table(["", "about", "hold", "largest difference"], rows, right=["hold", "largest difference"])


def _claims(checks: Sequence[VerifyRow], title: str) -> FittedTable:
    """Plan and limit apart: what is compared with a limit was found, whatever the plan says of it."""
    rows = []
    for c in checks:
        bounded = c.rule in ("at most", "at least")
        sign = {"at most": "<= ", "at least": ">= "}.get(c.rule, "")
        plan = "" if bounded else "yes" if c.rule == "holds" else number(c.claimed, 5)
        found = ("yes" if c.recomputed else "no") if c.rule == "holds" else number(c.recomputed, 5)
        limit = f"{sign}{number(c.claimed, 5)}" if bounded else ""
        rows.append(["✓" if c.ok else "✗", c.name, plan, found, limit])
    columns = ["", "claim", "plan", "recomputed", "limit"]
    return table(columns, rows, title=title, right=columns[2:])

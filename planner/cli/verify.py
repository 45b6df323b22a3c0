"""`planner verify`: the plan's numbers, computed a second way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from planner.cli.options import PROFILES, AppFile, InfraFile, PlanFile, ProfilesFolder, SetOption
from planner.cli.output import Format, FormatOption, emit, number, table
from specs.errors import AnswerIsNo

if TYPE_CHECKING:
    from rich.console import Console

DETAILS: Final = ("assignment ", "stage ", "transfer ", "delay ", "route ")
"""How claims begin that hold for every small part: counted, and shown where one does not hold."""


def verify(
    plan: PlanFile,
    app: AppFile,
    infra: InfraFile,
    profiles: ProfilesFolder = PROFILES,
    every: Annotated[bool, typer.Option("--all", help="Show every claim, those of small parts too.")] = False,
    sets: SetOption = None,
    fmt: FormatOption = Format.table,
) -> None:
    """Recompute latency, cost and every constraint of a plan without the solver's model.

    Exit code 1 where a claim does not hold, 2 where the plan is older than its inputs.

    Example: planner verify plan.yaml app.yaml --infra infra.yaml --profiles profiles
    """
    from planner import load_situation
    from planner import verify as recompute
    from planner.cli.loading import load_checked
    from planner.cli.results import VerifyResult, VerifyRow
    from specs.changes import parse_changes
    from specs.plan import read_plan

    read = read_plan(plan)
    changes = parse_changes(sets or [])
    load_checked(app, infra, models=False, changes=changes)
    report = recompute(load_situation(app, infra, profiles, changes=changes), read)
    checks = tuple(VerifyRow(name=c.name, claimed=c.claimed, recomputed=c.recomputed, ok=c.ok) for c in report.checks)
    result = VerifyResult(plan=read.digest, ok=all(c.ok for c in checks), checks=checks)

    def show(out: Console) -> None:
        shown = [c for c in checks if every or not c.ok or not c.name.startswith(DETAILS)]
        shown = [c for c in shown if every or not c.ok or (c.claimed, c.recomputed) != (1.0, 1.0)]
        rows = [["✓" if c.ok else "✗", c.name, number(c.claimed, 5), number(c.recomputed, 5)] for c in shown]
        out.print(table(["", "claim", "plan", "recomputed"], rows, right=["plan", "recomputed"]))
        out.print(f"{sum(c.ok for c in checks)} of {len(checks)} claims hold; plan {read.digest[:16]}")

    emit(result.dump(), fmt, show)
    wrong = [c.name for c in checks if not c.ok]
    if wrong:
        raise AnswerIsNo(f"{len(wrong)} of {len(checks)} claims do not hold: {', '.join(wrong[:5])}")

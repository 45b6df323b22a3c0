"""`planner sensitivity`: how far inputs may change before the plan does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import PROFILES, AppFile, InfraFile, PlanFile, ProfilesFolder, Seed, SetOption, TimeLimit
from planner.cli.output import Format, FormatOption, emit, number, table
from specs.errors import NotKnown

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.results import SensitivityRegret, SensitivityResult


def sensitivity(
    plan: PlanFile,
    app: AppFile,
    infra: InfraFile,
    profiles: ProfilesFolder = PROFILES,
    only: Annotated[str, typer.Option("--only", metavar="PATTERN", help="Inputs to vary, such as 'link.*'.")] = "*",
    step: Annotated[
        float, typer.Option("--step", metavar="SHARE", min=0.001, max=1.0, help="Between factors, as a share.")
    ] = 0.05,
    off: Annotated[
        float, typer.Option("--off", metavar="SHARE", min=0.01, max=0.9, help="How wrong profiles are, as a share.")
    ] = 0.2,
    time_limit: TimeLimit = 300.0,
    sets: SetOption = None,
    seed: Seed = 0,
    fmt: FormatOption = Format.table,
) -> None:
    """Say between which values of each input the plan stays optimal, and what it could cost that profiles are wrong.

    Everything is found by solving again. Exit code 4 where time ran out before all was: what was found is written.

    Example: planner sensitivity plan.yaml app.yaml --infra infra.yaml --only 'link.*'
    """
    from dataclasses import asdict

    from planner.answers.sensitivity import sensitivity as find
    from planner.cli.loading import load_planned
    from planner.cli.results import SensitivityRange, SensitivityRegret, SensitivityResult
    from specs.changes import parse_changes

    read, situation = load_planned(plan, app, infra, profiles, parse_changes(sets or []))
    found = find(situation, read, only=only, step=step, off=off, time_limit=time_limit, seed=seed)
    regrets = tuple(SensitivityRegret(**asdict(r)) for r in found.regrets)
    known = [r.regret for r in regrets if r.regret is not None]
    result = SensitivityResult(
        plan=read.digest,
        objective=found.unit,
        step=found.step,
        off=found.off,
        ranges=tuple(SensitivityRange(**asdict(r)) for r in found.ranges),
        regrets=regrets,
        worst_regret=max(known) if known and len(known) == len(regrets) else None,
        complete=found.complete,
    )
    emit(result.dump(), fmt, lambda out: _show(result, out))
    if not result.complete:
        raise NotKnown(f"not all was found out within {time_limit:g} s; allow more --time-limit, or say --only which")


def _show(result: SensitivityResult, out: Console) -> None:
    from planner.answers.sensitivity import WIDEST

    tried = f"from 1/{WIDEST:g} of the value to {WIDEST:g} times it"
    columns = ["input", "kind", "now", "optimal from", "to"]
    rows = [
        [
            r.name,
            r.kind,
            f"{number(r.value)} {r.unit}",
            f"<= {number(r.value / WIDEST)} {r.unit}" if r.low is None else f"{number(r.low)} {r.unit}",
            f">= {number(r.value * WIDEST)} {r.unit}" if r.high is None else f"{number(r.high)} {r.unit}",
        ]
        for r in result.ranges
        if (r.low, r.high) != (None, None)
    ]
    if rows:
        out.print(table(columns, rows, right=columns[2:]))
        out.print(f"found in factors of {1 + result.step:g}, tried {tried}")
    if steady := [r.name for r in result.ranges if (r.low, r.high) == (None, None)]:
        out.print(f"stays optimal {tried}, of each of: {', '.join(steady)}")
    cases = [[r.case, _regret(r, result.objective)] for r in result.regrets]
    out.print(table(["if profiles are wrong", "regret of the placement"], cases))
    if result.worst_regret is not None:
        out.print(f"worst regret: {number(result.worst_regret)} {result.objective}")


def _regret(r: SensitivityRegret, unit: str) -> str:
    if r.regret is not None:
        return f"{number(r.regret)} {unit}"
    if r.planned is None:
        missed = ", ".join(f"{name} by {number(ms)} ms" for name, ms in r.missed.items())
        other = "no placement keeps all" if r.best is None else f"another keeps all for {number(r.best)} {unit}"
        return f"misses {missed or 'capacities'}; {other}"
    return "not known"

"""`planner explain`: why here and not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from planner.cli.conflicts import no_plan, show_conflicts
from planner.cli.options import PROFILES, AppFile, InfraFile, PlanFile, ProfilesFolder, Seed, SetOption, TimeLimit
from planner.cli.output import TINY_MS, Format, FormatOption, emit, milliseconds, number, table
from specs.errors import NotKnown

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.results import ExplainCandidate, ExplainPart, ExplainResult, ExplainWorth
    from planner.situation import Situation
    from specs.plan import Plan


def explain(
    plan: PlanFile,
    app: AppFile,
    infra: InfraFile,
    profiles: ProfilesFolder = PROFILES,
    component: Annotated[
        list[str] | None,
        typer.Option("--component", "-c", metavar="COMPONENT", help="Of this component only. May be given many times."),
    ] = None,
    time_limit: TimeLimit = 120.0,
    sets: SetOption = None,
    seed: Seed = 0,
    fmt: FormatOption = Format.table,
) -> None:
    """Say of every choice what it would cost instead, what each limit is worth, and where the time goes.

    Of a plan that says that there is none: every conflict, and what would be enough (exit code 1). Everything is found
    by solving again. Exit code 4 where time ran out before all was: what was found is written.

    Example: planner explain plan.yaml app.yaml --infra infra.yaml
    """
    from dataclasses import asdict

    from planner.answers.explain import explain as find
    from planner.cli.loading import load_planned, load_situation_checked
    from planner.cli.results import ExplainCandidate, ExplainGain, ExplainPart, ExplainResult, ExplainWorth
    from specs.changes import parse_changes
    from specs.plan import read_plan

    changes = parse_changes(sets or [])
    read = read_plan(plan)
    if read.status == "infeasible":
        _why_not(read, load_situation_checked(app, infra, profiles, changes), (time_limit, seed), fmt)
    read, situation = load_planned(plan, app, infra, profiles, changes)
    found = find(situation, read, components=component or [], time_limit=time_limit, seed=seed)
    gains = [w.next_gain and ExplainGain(by=w.next_gain[0], difference=w.next_gain[1]) for w in found.worths]
    result = ExplainResult(
        plan=read.digest,
        objectives=found.units,
        candidates=tuple(ExplainCandidate(**asdict(c)) for c in found.candidates),
        constraints=tuple(
            ExplainWorth(**asdict(w) | {"next_gain": gain}) for w, gain in zip(found.worths, gains, strict=True)
        ),
        critical_path=tuple(ExplainPart(**asdict(p)) for p in found.critical),
        complete=found.complete,
    )
    emit(result.dump(), fmt, lambda out: _show(result, out))
    if not result.complete:
        raise NotKnown(f"not all was found out within {time_limit:g} s; allow more --time-limit, or name a --component")


def _why_not(plan: Plan, situation: Situation, within: tuple[float, int], fmt: Format) -> NoReturn:
    """Say what cannot hold together, and what would be enough, found anew `within` seconds and with a seed.

    Raises AnswerIsNo, and InputError where the plan is older than its inputs.
    """
    from planner.answers.relaxations import with_relaxations
    from planner.cli.results import ExplainResult
    from planner.units import units_of
    from planner.verification.inputs import check_inputs

    check_inputs(situation, plan)
    found = with_relaxations(situation, plan, time_limit=within[0], seed=within[1], anew=True)
    result = ExplainResult(
        plan=plan.digest,
        objectives=units_of(situation.app.value, situation.infra.value.currency),
        candidates=(),
        constraints=(),
        critical_path=(),
        complete=bool(found.relaxations),
        conflicts=(found.conflict, *found.further_conflicts),
        relaxations=found.relaxations,
    )
    emit(result.dump(), fmt, lambda out: show_conflicts(found, out))
    raise no_plan(found)


def _show(result: ExplainResult, out: Console) -> None:
    rows = []
    last = ""
    for c in result.candidates:
        mark = "✓" if c.status == "chosen" else ""
        rows.append([c.component if c.component != last else "", mark, c.kind, c.choice, _why(c, result.objectives)])
        last = c.component
    out.print(table(["component", "", "of", "choice", "instead of the plan's"], rows))
    for w in result.constraints:
        out.print(_worth(w, result.objectives[0]))
    for parts, constraints in _ways(result.critical_path).items():
        rows = [
            [p.name, p.site, milliseconds(p.wait_ms), milliseconds(p.service_ms), f"{100 * p.part:.0f} %"]
            for p in parts
        ]
        columns = ["critical path", "at", "wait ms", "service ms", "part"]
        title = f"means of the longest way of {', '.join(constraints)}"
        out.print(table(columns, rows, title=title, right=columns[2:]))


def _ways(path: Sequence[ExplainPart]) -> dict[tuple[ExplainPart, ...], list[str]]:
    """Ways (parts that name no constraint), and the constraints whose longest they are: each is shown once."""
    of: dict[tuple[str, str], list[ExplainPart]] = {}
    for part in path:
        of.setdefault((part.constraint, part.flow), []).append(part.model_copy(update={"constraint": "", "flow": ""}))
    several = len({flow for _, flow in of}) > 1
    found: dict[tuple[ExplainPart, ...], list[str]] = {}
    for (constraint, flow), parts in of.items():
        found.setdefault(tuple(parts), []).append(f"{constraint} from {flow}" if several else constraint)
    return found


def _why(c: ExplainCandidate, units: tuple[str, ...]) -> str:
    if c.status == "chosen":
        return "chosen"
    if c.status == "unknown":
        return "not found out in time"
    if c.status == "infeasible":
        if c.forbidden_by:
            return f"forbidden by {', '.join(c.forbidden_by)}"
        return f"no route for {', '.join(c.no_way_for)}" if c.no_way_for else "no option: nothing holds it there"
    return ", ".join(_price(price, unit) for price, unit in zip(c.prices, units, strict=True))


def _price(price: float, unit: str) -> str:
    if unit == "ms" and 0 < abs(price) < TINY_MS:
        return f"not {TINY_MS} ms {'more' if price > 0 else 'less'}"
    return f"{'+' if price >= 0 else ''}{number(price)} {unit}"


def _worth(w: ExplainWorth, unit: str) -> str:
    step = f"{number(w.step)} {w.unit}"
    more, less = ("less", "more") if w.unit == "share" else ("more", "less")
    if not w.binding:
        said = f"{w.name} does not bind"
    elif w.looser:
        said = f"{w.name}: {step} {more} saves {number(-w.looser)} {unit}"
    elif w.next_gain is not None:
        saved = f"{number(w.next_gain.by)} {w.unit} {more} saves {number(-w.next_gain.difference)} {unit}"
        said = f"{w.name}: {step} {more} saves nothing, {saved}"
    else:
        said = f"{w.name} binds, but no step that was tried saves anything"
    if w.tighter is None:
        return f"{said}; {step} {less} leaves no plan"
    return f"{said}; {step} {less} costs {number(w.tighter)} {unit}" if w.tighter else said

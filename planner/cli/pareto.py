"""`planner pareto`: the plans that none beats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from planner.cli.options import PROFILES, AppFile, InfraFile, ProfilesFolder, Seed, SetOption, TimeLimit
from planner.cli.output import Format, FormatOption, Progress, counted, emit, number, table
from specs.errors import AnswerIsNo, InputError, Issue, NotKnown

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.results import ParetoPoint, ParetoResult

WIDTH: Final = 64
HEIGHT: Final = 16


Axis = Literal["latency", "cost", "accuracy"]


def pareto(
    app: AppFile,
    infra: InfraFile,
    profiles: ProfilesFolder = PROFILES,
    x: Annotated[Axis, typer.Option("--x", help="First axis.")] = "latency",
    y: Annotated[Axis, typer.Option("--y", help="Second axis.")] = "cost",
    y2: Annotated[Axis | None, typer.Option("--y2", help="Third axis.")] = None,
    latency: Annotated[
        str, typer.Option("--latency", metavar="NAME", help="Which percentile, such as answer_time.p99.")
    ] = "",
    step: Annotated[
        float | None, typer.Option("--step", metavar="MS", min=1e-3, help="Between latency limits, in ms.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the points as CSV.")] = None,
    time_limit: TimeLimit = 120.0,
    sets: SetOption = None,
    seed: Seed = 0,
    fmt: FormatOption = Format.table,
) -> None:
    """List every plan that none beats on the axes, complete to a step of latency.

    Limits on the axes do not count; each point says whether it keeps them. Exit code 1 where there is no plan at all,
    4 where time ran out: the points found are written.

    Example: planner pareto app.yaml --infra infra.yaml --x latency --y cost --y2 accuracy --csv front.csv
    """
    axes = [x, y, *([y2] if y2 else [])]
    if len(set(axes)) < len(axes):
        raise InputError(Issue(f"the axes are not different: {', '.join(axes)}", None, "--x latency --y cost"))

    from dataclasses import asdict

    from planner.answers.pareto import pareto as find
    from planner.cli.files import check_output
    from planner.cli.loading import load_situation_checked
    from planner.cli.results import ParetoPoint, ParetoResult
    from specs.changes import parse_changes
    from specs.output_file import write_whole

    if csv is not None:
        check_output(csv, app, infra)
    situation = load_situation_checked(app, infra, profiles, parse_changes(sets or []))
    found = find(situation, axes, latency=latency, step_ms=step, time_limit=time_limit, seed=seed)
    given = situation.changes
    points = tuple(
        ParetoPoint(**{k: v for k, v in asdict(p).items() if k not in ("keeps", "changes")}, keeps_limits=p.keeps,
                    changes=(*given, *p.changes))
        for p in found.points
    )  # fmt: skip
    result = ParetoResult(
        application=situation.app.value.name,
        axes=tuple(axes),
        latency=found.latency,
        currency=situation.infra.value.currency,
        step_ms=found.step_ms,
        complete=found.complete,
        points=points,
    )
    if csv is not None:
        write_whole(csv, as_csv(result))
        with Progress() as progress:
            progress.say(f"wrote {csv}")
    emit(result.dump(), fmt, lambda out: _show(result, out))
    if not found.complete:
        raise NotKnown(f"the front is not complete after {time_limit:g} s; allow more --time-limit, or a larger --step")
    if not points:
        raise AnswerIsNo("no plan at all, whatever the limits on the axes")


def as_csv(result: ParetoResult) -> str:
    """A line for each point, with the figures of the JSON; columns are places by component too."""
    import csv
    import io

    names = list(dict.fromkeys(name for p in result.points for name in p.places))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"{result.latency}_ms", f"{result.currency}_per_month", "accuracy", "keeps_limits", *names])
    for p in result.dump()["points"]:
        places = [p["places"].get(name, "") for name in names]
        keeps = str(p["keeps_limits"]).lower()
        writer.writerow([p["latency_ms"], p["per_month"], p.get("accuracy", ""), keeps, *places])
    return text.getvalue()


def _show(result: ParetoResult, out: Console) -> None:
    columns = [f"{result.latency} ms", f"{result.currency}/month", "accuracy", "keeps limits", "where"]
    rows = [
        [
            number(p.latency_ms, 4),
            f"{p.per_month:,.2f}",
            "" if p.accuracy is None else f"{p.accuracy:.4f}",
            "✓" if p.keeps_limits else "",
            _where(p),
        ]
        for p in result.points
    ]
    out.print(table(columns, rows, right=columns[:3]))
    if len(result.points) > 1:
        out.print(plot(result))
    step = "" if result.step_ms is None else f", complete to {number(result.step_ms)} ms" if result.complete else ""
    count = counted(len(result.points), "plan")
    out.print(f"{count} that none beats in {', '.join(result.axes)}{step}")


def _where(point: ParetoPoint) -> str:
    at: dict[str, list[str]] = {}
    for component, place in point.places.items():
        at.setdefault(place, []).append(component)
    return "; ".join(f"{point.devices.get(place, 1)} x {place}: {', '.join(names)}" for place, names in at.items())


def plot(result: ParetoResult) -> str:
    """The first two axes as characters: `o` keeps the user's limits, `x` does not."""
    xs, ys = ([_value(p, axis) for p in result.points] for axis in result.axes[:2])
    field = [[" "] * WIDTH for _ in range(HEIGHT)]
    for p, a, b in zip(result.points, xs, ys, strict=True):
        column = round((a - min(xs)) / ((max(xs) - min(xs)) or 1.0) * (WIDTH - 1))
        row = round((max(ys) - b) / ((max(ys) - min(ys)) or 1.0) * (HEIGHT - 1))
        field[row][column] = "o" if p.keeps_limits or field[row][column] == "o" else "x"
    lines = [f"{result.axes[1]} {number(min(ys), 4)} to {number(max(ys), 4)}"]
    lines += ["|" + "".join(line).rstrip() for line in field]
    lines.append("+" + "-" * WIDTH)
    lines.append(f" {result.axes[0]} {number(min(xs), 4)} to {number(max(xs), 4)}; o keeps all limits, x does not")
    return "\n".join(lines)


def _value(point: ParetoPoint, axis: str) -> float:
    if axis == "latency":
        return point.latency_ms
    return point.per_month if axis == "cost" else point.accuracy or 0.0

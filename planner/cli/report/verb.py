"""`planner report`: a plan, and a run of it, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import PlanFile
from planner.cli.output import Format, FormatOption, emit

if TYPE_CHECKING:
    from rich.console import Console


def report(
    plan: PlanFile,
    run: Annotated[
        Path | None, typer.Option("--run", "-r", metavar="RUN", help="The result of `planner run` (run.json).")
    ] = None,
    app: Annotated[
        Path | None, typer.Option("--app", "-a", metavar="APP", help="Adds who waits for whom to the waterfall.")
    ] = None,
    infra: Annotated[
        Path | None, typer.Option("--infra", "-i", metavar="INFRA", help="Adds tiers, members and emulation.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page.")] = Path("report.html"),
    fmt: FormatOption = Format.table,
) -> None:
    """Write one self-contained page: placement, latency waterfall, predicted against measured, cost, proof.

    Example: planner report plan.yaml --run run.json -o report.html
    """
    from planner.cli.files import check_output, read_run
    from planner.cli.report.context import context_of
    from planner.cli.report.page import render
    from planner.cli.results import ReportResult
    from specs.errors import InputError, Issue, Place
    from specs.output_file import write_whole
    from specs.plan import read_plan

    check_output(output, plan, run, app, infra)
    read = read_plan(plan)
    measured = read_run(run) if run else None
    if measured is not None and measured.plan != read.digest:
        message = f"this run is of plan {measured.plan[:16]}, not of {plan} ({read.digest[:16]})"
        raise InputError(Issue(message, Place(str(run)), "give the run of this plan"))
    context = context_of(read, app, infra)
    page = render(read, measured, context)
    write_whole(output, page)
    result = ReportResult(file=str(output), plan=read.digest, run=measured is not None, bytes=len(page.encode()))

    def show(out: Console) -> None:
        out.print(f"wrote {output}")

    emit(result.dump(), fmt, show)

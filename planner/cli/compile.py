"""`planner compile`: a plan becomes a bundle; a model becomes an artefact for each target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from planner.cli.models import names_a_model
from planner.cli.options import STORE, StoreFolder
from planner.cli.output import Format, FormatOption, Progress, emit, number
from specs.errors import InputError, Issue, Place

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.results import TuningResult

MOST_SECONDS: Final = 7 * 86_400.0


def compile_bundle(
    subject: Annotated[Path, typer.Argument(metavar="PLAN|MODEL", help="A plan, or a model alone.")],
    app: Annotated[Path | None, typer.Argument(metavar="[APP]", help="The application; needed for PLAN.")] = None,
    infra: Annotated[
        Path | None, typer.Option("--infra", "-i", metavar="INFRA", help="The infrastructure; needed for PLAN.")
    ] = None,
    store: StoreFolder = STORE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The bundle (default: bundle), or artefacts.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", "-t", metavar="TARGET", help="For MODEL: cortex-a72, ..., or all; may be given again."
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", metavar="N", min=1, max=64, help="For MODEL.")] = 1,
    tune: Annotated[
        str | None,
        typer.Option(
            "--tune", metavar="TIME", help="Search that long for faster schedules on this machine: 90s, 10m, 1h."
        ),
    ] = None,
    fmt: FormatOption = Format.table,
) -> int:
    """Assemble what a plan runs: compiled artefacts, functions, plan, and a manifest with every file's sha256.

    Takes artefacts from the store, where profiling left them, and compiles what is missing. With a model alone: an
    artefact for each target, checked to hold code for that device; a target whose tools are missing is reported.

    Example: planner compile plan.yaml app.yaml --infra infra.yaml -o bundle

    With --tune, schedules are searched by timing them here; what is faster beyond chance is kept in the store, and
    taken by every later profile and compile. It may be broken off and goes on where it was. After tuning what a plan
    runs, profile and solve again.

    Example: planner compile model.onnx --target cortex-a72 --target cuda-sm87 -o artefacts

    Example: planner compile model.onnx --tune 10m
    """
    seconds = None if tune is None else _seconds(tune)
    if names_a_model(subject):
        from planner.cli.cross import compile_model

        return compile_model(str(subject), target or (), threads, store, output, fmt, seconds)
    if app is None or infra is None:
        lacking = "APP" if app is None else "--infra"
        raise InputError(Issue(f"{lacking} is missing", Place(str(subject)), "a plan needs the files it was made from"))
    _bundle(subject, app, infra, store, output or Path("bundle"), fmt, seconds)
    return 0


def _seconds(text: str) -> float:
    """A time such as 90s, 10m, 1h or 10 min. Raises InputError for anything else, zero, and more than a week."""
    from specs.quantities import TIME, parse_quantity

    try:
        seconds = parse_quantity(text, {"m": 60.0, **TIME}, "10m")
    except ValueError as error:
        raise InputError(Issue(f"--tune: {error}")) from None
    if not 0 < seconds <= MOST_SECONDS:
        raise InputError(Issue(f"--tune: expected a time above zero and of at most a week, got {text!r}"))
    return seconds


def _bundle(
    plan: Path, app: Path, infra: Path, store: Path, output: Path, fmt: Format, tune: float | None = None
) -> None:
    from planner.cli.loading import load_checked, refuse_nothing, refuse_what_if
    from planner.cli.results import CompileResult, TuningResult, TuningRow
    from specs.plan import read_plan
    from specs.plan_check import refuse_impossible
    from specs.yamlfile import read_yaml

    read = read_plan(plan)
    refuse_what_if(read, plan)
    loaded = load_checked(app, infra, models=True, store=store)
    assert loaded.infra is not None
    refuse_nothing(read, plan)
    refuse_impossible(read, loaded.app.value, loaded.infra.value, str(plan))

    from planner.cli.assemble import assemble

    with Progress() as progress:
        rows: tuple[TuningRow, ...] = ()
        if tune is not None:
            from planner.cli.tuning import tune_plan

            rows = tune_plan(read, loaded, store, tune, progress)
            if any(row.ratio is not None for row in rows):
                _emit_tuned(TuningResult(plan=read.digest, rows=rows, bundle=None), fmt)
                return
        made = assemble(read, loaded, store, output, lambda *path: read_yaml(plan).place(*path), progress.step)
    bundle, compiled = made.bundle, made.compiled
    sizes = [(bundle.folder / name).stat().st_size for name in bundle.manifest.files]
    result = CompileResult(
        bundle=str(output),
        plan=read.digest,
        artefacts=made.artefacts,
        compiled=compiled,
        files=len(sizes),
        bytes=sum(sizes),
    )

    def show(out: Console) -> None:
        made = f"{result.artefacts} artefacts ({compiled} compiled now), {result.files} files"
        out.print(f"wrote {output}: {made}, {number(result.bytes / 1e6)} MB; plan {read.digest[:16]}")

    if tune is not None:
        _emit_tuned(TuningResult(plan=read.digest, rows=rows, bundle=str(output)), fmt)
    else:
        emit(result.dump(), fmt, show)


def _emit_tuned(result: TuningResult, fmt: Format) -> None:
    from planner.cli.tuning import show_tuning

    def show(out: Console) -> None:
        for row in result.rows:
            show_tuning(row, out)
        if result.bundle is None:
            out.print("no bundle: the plan's artefacts are faster ones now; profile and solve again, then compile")
        else:
            out.print(f"wrote {result.bundle}; plan {result.plan[:16]}")

    emit(result.dump(), fmt, show)

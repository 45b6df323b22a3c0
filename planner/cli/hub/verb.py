"""`planner hub`: models x hardware, the catalogue, and care of the store."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import PROFILES, STORE, ProfilesFolder, StoreFolder
from planner.cli.output import Format, FormatOption, counted, emit, number

if TYPE_CHECKING:
    from rich.console import Console

    from specs.hub import ArchiveResult, CatalogueResult, HubResult

hub = typer.Typer(invoke_without_command=True, rich_markup_mode=None, add_completion=False)


@hub.callback()
def show(
    context: typer.Context,
    app: Annotated[
        Path | None, typer.Option("--app", "-a", metavar="APP", help="Names models, and leaves out those of others.")
    ] = None,
    infra: Annotated[
        Path | None, typer.Option("--infra", "-i", metavar="INFRA", help="Adds prices of its hardware.")
    ] = None,
    profiles: ProfilesFolder = PROFILES,
    store: StoreFolder = STORE,
    catalog: Annotated[bool, typer.Option("--catalog", help="List the catalogue of hardware and prices.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", "-w", metavar="CONDITION", help="Such as 'p99_ms<50' or model~vision; may be given again."
        ),
    ] = None,
    sort: Annotated[
        list[str] | None,
        typer.Option("--sort", "-s", metavar="COLUMN", help="A column, -column for the greatest first."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write the table as a page.")] = None,
    fmt: FormatOption = Format.table,
) -> None:
    """Every way that models are known to run, with latency, throughput, cost per 1,000, size and accuracy.

    From the profiles and the store; what was compiled but not measured is listed so. Subcommands care for the store.

    Example: planner hub --app app.yaml --infra infra.yaml --where 'p99_ms<50' --sort cost_per_1000 --html hub.html

    Example: planner hub --catalog --where kind=cloud_gpu --sort hourly
    """
    if context.invoked_subcommand is not None:
        return
    from planner.cli.hub.show import catalogue_table, hub_table, show_hub

    result: CatalogueResult | HubResult
    if catalog:
        result = listed = _catalogue(where or [], sort or [])
        drawn = catalogue_table(listed)
        shown = drawn.print
    else:
        result = found = _hub(app, infra, profiles, store, where or [], sort or [])
        drawn = hub_table(found)
        shown = partial(show_hub, found)
    if html is not None:
        from planner.cli.files import check_output
        from specs.output_file import write_whole

        check_output(html, app, infra)
        write_whole(html, drawn.page())
    emit(result.dump(), fmt, shown)


def _catalogue(where: list[str], sort: list[str]) -> CatalogueResult:
    from planner.cli.hub.query import select
    from specs.catalogue import catalogue
    from specs.hub import CatalogueResult, CatalogueRow

    known = catalogue()
    rows = [
        CatalogueRow(
            name=name,
            kind=entry.kind,
            title=entry.title,
            cores=entry.cores,
            memory=entry.memory,
            target=entry.target,
            gpu=entry.gpu or "",
            gpu_title=entry.gpu_title,
            idle_watts=entry.power[0] if entry.power else None,
            busy_watts=entry.power[1] if entry.power else None,
            buy=entry.buy,
            hourly=entry.per_hour,
            source=entry.source,
            source_name=known.sources[entry.source].name,
            as_of=entry.as_of,
        )
        for name, entry in known.entries.items()
    ]
    return CatalogueResult(currency=known.currency, rows=tuple(select(rows, CatalogueRow, where, sort)))


def _hub(
    app: Path | None, infra: Path | None, profiles: Path, store: Path, where: list[str], sort: list[str]
) -> HubResult:
    from planner.cli.hub.contents import read_contents
    from planner.cli.hub.query import select
    from planner.hub.rows import hub_rows
    from specs.hub import HubResult, HubRow
    from specs.load import load_application, load_infrastructure

    application = load_application(app) if app else None
    infrastructure = load_infrastructure(infra).value if infra else None
    found = read_contents(profiles, store, application, infrastructure)
    rows = hub_rows(found.records, found.artefacts, found.names, infrastructure, found.accuracy)
    return HubResult(
        profiles=str(profiles),
        store=str(store),
        currency=infrastructure.currency if infrastructure else "USD",
        rows=tuple(select(rows, HubRow, where, sort)),
    )


@hub.command("gc", short_help="Remove artefacts that nothing names any more.")
def gc(
    profiles: Annotated[
        list[Path] | None, typer.Option("--profiles", "-p", metavar="DIR", help="In use; may be given again.")
    ] = None,
    plan: Annotated[
        list[Path] | None, typer.Option("--plan", metavar="PLAN", help="In use as well; may be given again.")
    ] = None,
    store: StoreFolder = STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    fmt: FormatOption = Format.table,
) -> None:
    """Remove artefacts, and converted and quantized models, that neither the profiles nor the plans given speak of.

    They can be made again.

    Example: planner hub gc --profiles profiles --plan plan.yaml --dry-run
    """
    from planner.cli.hub.collect import collect

    result = collect(store, profiles or [PROFILES], plan or [], dry_run)
    what = "would be removed" if dry_run else "removed"
    size = number(result.bytes / 1e6)
    text = f"{len(result.removed)} artefacts and models {what}, {size} MB; {result.kept} kept in {store}"
    emit(result.dump(), fmt, lambda out: out.print(text))


@hub.command("export", short_help="Artefacts and profiles as one archive.")
def export(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A tar file to write.")],
    profiles: ProfilesFolder = PROFILES,
    store: StoreFolder = STORE,
    fmt: FormatOption = Format.table,
) -> None:
    """Write every artefact, profile and record of tuning to one archive; the same contents give the same bytes.

    Example: planner hub export hub.tar
    """
    from planner.cli.hub.archive import export_archive

    result = export_archive(archive, profiles, store)
    emit(result.dump(), fmt, lambda out: _told(result, "wrote", out))


@hub.command("import", short_help="Take what an archive holds.")
def import_(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="What `planner hub export` wrote.")],
    profiles: ProfilesFolder = PROFILES,
    store: StoreFolder = STORE,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="DIGEST", help="Refuse another archive than this one.")
    ] = None,
    fmt: FormatOption = Format.table,
) -> None:
    """Take artefacts, profiles and records of tuning that are not there yet. Artefacts are code: import only what you
    trust.

    Example: planner hub import hub.tar --sha256 DIGEST
    """
    from planner.cli.hub.archive import import_archive

    result = import_archive(archive, profiles, store, sha256)
    emit(result.dump(), fmt, lambda out: _told(result, "read", out))


def _told(result: ArchiveResult, did: str, out: Console) -> None:
    fresh = _counted(result.new_artefacts, result.new_records, result.new_tuned)
    held = _counted(result.artefacts, result.records, result.tuned)
    new = f"; new here: {fresh}" if did == "read" else ""
    out.print(f"{did} {result.archive}: {held}, {number(result.bytes / 1e6)} MB{new}")
    out.print(f"sha256 {result.sha256}")


def _counted(artefacts: int, records: int, tuned: int) -> str:
    return f"{counted(artefacts, 'artefact')}, {counted(records, 'record')}" + (f", {tuned} of tuning" if tuned else "")

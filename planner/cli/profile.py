"""`planner profile`: what things cost. An application on its infrastructure, or one model on this machine."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from planner.cli.models import hand_in_alone, names_a_model, said_of
from planner.cli.options import PROFILES, STORE, StoreFolder
from planner.cli.output import (
    DASH,
    TOO_FEW,
    Format,
    FormatOption,
    Progress,
    counted,
    emit,
    number,
    plus_minus,
    table,
)
from specs.errors import InputError, Issue, Place
from specs.model_source import FORMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from compiler.remote.tracker import Tracker
    from planner.cli.profiling.again import Again
    from planner.cli.profiling.lent import Lent
    from planner.cli.results import EstimateRow, ModelComparison, ModelProfile, ProfileResult
    from specs.application import Application
    from specs.load import Document
    from specs.profile import Record

SHOWN_OF_KIND: Final = 3
"""Estimates of each kind of the catalogue that stand in the table of a model."""


def profile(
    context: typer.Context,
    subject: Annotated[
        Path,
        typer.Argument(
            metavar="APP|MODEL|PLAN",
            help="An application; a model alone, a file or module:function; or the plan of what --from-run names.",
        ),
    ],
    infra: Annotated[
        Path | None, typer.Option("--infra", "-i", metavar="INFRA", help="The infrastructure; needed for APP.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the profiles of APP; grows.")
    ] = PROFILES,
    store: StoreFolder = STORE,
    budget: Annotated[
        float, typer.Option("--budget", metavar="SECONDS", min=0.01, help="Seconds for each measurement.")
    ] = 0.4,
    confirm: Annotated[
        float,
        typer.Option(
            "--confirm", metavar="SECONDS", min=0.0, help="For models with split: allowed: measuring parts of them."
        ),
    ] = 180.0,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="COMPONENT", help="May be given again.")] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="OLD", help="For a model: compare with this version of it.")
    ] = None,
    from_run: Annotated[
        list[Path] | None,
        typer.Option("--from-run", metavar="RUN|DIR", help="For a plan: add what `planner run` measured of it."),
    ] = None,
    max_spend: Annotated[
        float,
        typer.Option(
            "--max-spend",
            metavar="MONEY",
            min=0.0,
            help="What calls of hosted APIs may cost at most, in the currency of INFRA; more is refused, unspent.",
        ),
    ] = 1.0,
    estimate: Annotated[
        bool | None,
        typer.Option(
            "--estimate/--no-estimate",
            help="What cannot be measured here: for APP (default: no) its other hardware, for MODEL the catalogue.",
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="For APP: also what was disturbed by others while it was measured.")
    ] = False,
    tracker: Annotated[
        str | None,
        typer.Option("--tracker", metavar="HOST:PORT", help="Measure on the devices that this RPC tracker lends too."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="KEY=TARGET[:CORES]",
            help="For MODEL with --tracker: which, such as pi=cortex-a72:4. May be given again.",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Tracker and devices may be other machines, without encryption.")
    ] = False,
    fmt: FormatOption = Format.table,
) -> None:
    """Compile and measure every component for every hardware class, and run the reference pipeline on the data.

    Resumable: what is measured already is left out, but with --again where others used the machine meanwhile. A model
    with split: allowed is measured in the parts that the solver would choose, as long as --confirm allows. With a model
    alone: what it costs on this machine, by backend and threads, on random inputs, and estimates for the hardware of
    the catalogue. With a plan and --from-run: service times that runs of it measured become profiles. With --tracker,
    on devices by TVM's RPC as well: of APP, hardware with device: {rpc: KEY, target: TARGET}.

    Example: planner profile app.yaml --infra infra.yaml -o profiles

    Example: planner profile app.yaml --infra infra.yaml --tracker 127.0.0.1:9190

    Example: planner profile model.onnx --tracker 127.0.0.1:9190 --device pi=cortex-a72:4

    Example: planner profile app.yaml --infra infra.yaml --estimate

    Example: planner profile model.onnx --against previous.onnx

    Example: planner profile train:make_forest

    Example: planner profile plan.yaml --from-run run.json -o profiles
    """
    if insecure and tracker is None:
        raise InputError(Issue("--insecure is for --tracker alone", Place(str(subject))))
    if device and (tracker is None or not names_a_model(subject)):
        hint = "of an application, infra.yaml says it: device: {rpc: KEY, target: TARGET}"
        raise InputError(Issue("--device is for a model alone, with --tracker", Place(str(subject)), hint))
    if from_run:
        _refuse_but_output(context, subject)
        _from_runs(subject, from_run, output, fmt)
    elif names_a_model(subject):
        _refuse_for_a_model(context, subject)
        lent = _lent(tracker, device or [], insecure)
        old = None if against is None else str(against)
        _model(str(subject), old, store, budget, estimate is not False, lent, fmt)
    elif against is not None:
        raise InputError(Issue("--against is for a model alone", Place(str(subject))))
    elif subject.suffix in (".yaml", ".yml"):
        if infra is None:
            raise InputError(
                Issue("--infra is missing", Place(str(subject)), "which hardware is it to be profiled for?")
            )
        limits = (budget, confirm, max_spend)
        lender = _tracker(tracker, insecure)
        _application(subject, infra, output, store, limits, tuple(only or ()), bool(estimate), again, lender, fmt)
    else:
        raise InputError(Issue(f"expected an application (.yaml) or a model: {FORMS}", Place(str(subject))))


def _refuse_for_a_model(context: typer.Context, model: Path) -> None:
    """Options that speak of an application say nothing of a model alone. Raises InputError where one is given."""
    from typer._click.core import ParameterSource

    names = ("infra", "output", "confirm", "only", "again", "max_spend")
    options = {name: f"--{name.replace('_', '-')}" for name in names}
    given = [o for key, o in options.items() if context.get_parameter_source(key) is ParameterSource.COMMANDLINE]
    if given:
        hint = "it is measured on this machine, and only shown"
        raise InputError(Issue(f"{', '.join(given)}: only with an application, not with a model alone", None, hint))


def _refuse_but_output(context: typer.Context, plan: Path) -> None:
    """Nothing is measured. Raises InputError where an option that speaks of measuring is given."""
    from typer._click.core import ParameterSource

    names = ("infra", "store", "budget", "confirm", "only", "again", "against", "tracker", "max_spend")
    others = {name: f"--{name.replace('_', '-')}" for name in names}
    given = [o for key, o in others.items() if context.get_parameter_source(key) is ParameterSource.COMMANDLINE]
    if given:
        hint = "leave it out: what a run measured is added, and nothing measured now"
        raise InputError(Issue(f"{', '.join(given)}: not with --from-run", None, hint))
    if plan.suffix == ".onnx":
        raise InputError(Issue("expected the plan that ran, with --from-run", Place(str(plan))))


def _tracker(text: str | None, insecure: bool) -> Tracker | None:
    """The tracker, which answers. Raises InputError for what is no address, EnvironmentFailed where none answers."""
    from compiler.remote.tracker import tracker_at

    if text is None:
        return None
    tracker = tracker_at(text, insecure)
    tracker.devices()  # before hours of compiling and measuring
    return tracker


def _lent(text: str | None, devices: list[str], insecure: bool) -> Lent | None:
    """What --tracker and --device say. Raises InputError where they are wrong, or no device is named, and as
    `_tracker` does."""
    from compiler.remote.place import remote_class
    from planner.cli.profiling.lent import Lent

    tracker = _tracker(text, insecure)
    if tracker is None:
        return None
    form = "--device KEY=TARGET[:CORES], such as pi=cortex-a72:4"
    if not devices:
        have = ", ".join(f"{key} ({count})" for key, count in sorted(tracker.devices().items())) or "no device"
        raise InputError(Issue(f"the tracker at {tracker} has {have}: which, and what is compiled for it?", None, form))
    places = []
    for given in devices:
        key, _, rest = given.partition("=")
        target, _, cores = rest.partition(":")
        if not key or not target or not (cores or "1").isdecimal() or not 1 <= int(cores or "1") <= 64:
            raise InputError(Issue(f"--device: expected {form}, got {given!r}"))
        places.append(remote_class(key, int(cores or "1"), key, target))
    return Lent(tracker, tuple(places))


def _from_runs(plan: Path, runs: list[Path], folder: Path, fmt: Format) -> None:
    from planner.cli.ledger import Ledger
    from planner.cli.loading import refuse_nothing
    from planner.cli.replan.copy import OBSERVED_FILE
    from planner.cli.replan.observed import read_observed
    from planner.cli.replan.show import show_observed
    from planner.cli.replan.verb import observed_stages
    from planner.cli.results import ProfileResult
    from planner.observation import observations
    from specs.plan import read_plan
    from specs.profile import read_records, winners

    started = time.monotonic()
    read = read_plan(plan)
    refuse_nothing(read, plan)
    if not folder.is_dir():
        raise InputError(
            Issue("no profiles: this is not a folder", Place(str(folder)), "name those of the plan with -o")
        )
    found, left_out = read_observed(runs, read)
    records = read_records(folder)
    seen = observations(read, records, found)
    known = {record.digest for record in records}
    new = [o.promoted for o in seen if o.promoted is not None and o.promoted.digest not in known]
    ledger = Ledger(folder / OBSERVED_FILE)
    for record in new:
        ledger.append(record)
    problems = [f"{o.stage.name} at {o.stage.site}: {o.reason}" for o in seen if o.promoted is None]
    result = ProfileResult(
        folder=str(folder),
        measured=len(new),
        kept=sum(o.promoted is not None for o in seen) - len(new),
        records=tuple(winners([*records, *new]).values()),
        behaviours=0,
        hops=0,
        problems=(*(f"{file}: {why}" for file, why in left_out.items()), *problems),
        seconds=time.monotonic() - started,
    )

    def show(out: Console) -> None:
        show_observed(observed_stages(seen), out)
        out.print(f"{len(new)} observed, {result.kept} known before; in {folder / OBSERVED_FILE}")

    emit(result.dump(), fmt, show)


def _application(
    app: Path,
    infra: Path,
    folder: Path,
    store: Path,
    limits: tuple[float, float, float],
    only: tuple[str, ...],
    estimate: bool,
    again: bool,
    tracker: Tracker | None,
    fmt: Format,
) -> None:
    """`limits` are seconds for each measurement and for parts of models to be measured, and money for calls."""
    from planner.cli.loading import load_checked
    from planner.cli.results import ProfileResult
    from specs.nearest import near

    started = time.monotonic()
    with Progress() as progress:
        loaded = load_checked(app, infra, models=True, store=store, step=progress.step)
        for model in loaded.models.values():
            for text in said_of(model.conversion):
                progress.say(f"{model.name}: {text}")
    assert loaded.infra is not None
    components = loaded.app.value.components
    unknown = [
        Issue(f"unknown component {name!r}", None, near(name, components)) for name in only if name not in components
    ]
    if unknown:
        raise InputError(*unknown)

    from compiler.measure import Budget
    from compiler.store import Store
    from planner.cli.profiling.again import Again
    from planner.cli.profiling.profiler import Profiler
    from planner.situation import standing
    from runtime.stages.secrets import take_secrets
    from specs.profile import read_records

    folder.mkdir(parents=True, exist_ok=True)
    with Progress() as progress:
        outcome = Profiler(
            app=loaded.app,
            infra=loaded.infra,
            signatures=loaded.signatures,
            models=loaded.models,
            folder=folder,
            store=Store(store),
            budget=Budget.of(limits[0]),
            confirming=limits[1],
            only=only,
            say=progress.say,
            step=progress.step,
            estimate=estimate,
            again=again,
            secrets=take_secrets(loaded.app),
            tracker=tracker,
            most_spend=limits[2],
        ).run()
    result = ProfileResult(
        folder=str(folder),
        measured=outcome.measured,
        kept=outcome.kept,
        estimated=outcome.estimated,
        records=tuple(standing(read_records(folder), loaded.infra.value)),
        behaviours=outcome.behaviours,
        hops=outcome.hops,
        problems=tuple(outcome.problems),
        conversions={f"{c}/{v}": m.conversion for (c, v), m in loaded.models.items() if m.conversion is not None},
        seconds=time.monotonic() - started,
    )
    emit(
        result.dump(),
        fmt,
        lambda out: _show_application(result, loaded.app, Again(loaded.app.value, tracker is not None), out),
    )


def _show_application(result: ProfileResult, app: Document[Application], again: Again, out: Console) -> None:
    from planner.situation import source_digests

    names: dict[str, list[str]] = {}
    for key, digest in source_digests(app).items():
        names.setdefault(digest, []).append(key)
    hardware = list(dict.fromkeys(r.hardware for r in result.records))
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    batched = any(r.batch > 1 for r in result.records if r.source in names)
    for r in result.records:
        if r.source in names:
            part = "" if r.segment == ".." else f" [{r.segment}]"
            text = " / ".join(_milliseconds(r.latency.quantiles.get(q)) for q in ("0.5", "0.99"))
            way = (", ".join(names[r.source]) + part, r.backend, str(r.threads), *([str(r.batch)] if batched else []))
            cells.setdefault(way, {})[r.hardware] = text
    rows = [[*key, *(found.get(h, "") for h in hardware)] for key, found in sorted(cells.items(), key=_by_count)]
    numbers = ["threads", *(["at once"] if batched else [])]
    columns = ["component", "backend", *numbers, *hardware]
    out.print(table(columns, rows, title="p50 / p99, ms", right=[*numbers, *hardware]))
    _show_buckets([r for r in result.records if r.buckets and r.source in names], names, hardware, out)
    if any(cell.endswith(DASH) for found in cells.values() for cell in found.values()):
        out.print(TOO_FEW)
    emulated = sorted({f"{r.hardware} (cpu {r.emulated_by.cpu:g})" for r in result.records if r.emulated_by})
    if emulated:
        out.print(f"emulated: this machine, slowed, stood for {', '.join(emulated)}")
    estimated = sorted({r.hardware for r in result.records if r.provenance == "estimated"})
    if estimated:
        out.print(f"estimated, in the middle of an interval: {', '.join(estimated)}; planner hub shows how wide it is")
    ours = [r for r in result.records if r.source in names]
    disturbed = [r for r in ours if again.is_for(r)]
    if disturbed:
        worst = max(disturbed, key=lambda r: max(r.others or 0.0, r.drift))
        named = f"{', '.join(names[worst.source])} with {worst.backend} on {worst.hardware}"
        anywhere = {name for name, component in app.value.components.items() if component.cut_anywhere}
        cut = any(r.segment != ".." and names[r.source][0].split("/")[0] in anywhere for r in disturbed)
        parts = ", parts of models where a plan would use them" if cut else ""
        out.print(
            f"{len(disturbed)} of {len(ours)} were disturbed, most of all {named}: {worst.disturbed}; "
            f"--again measures them again{parts}",
            soft_wrap=True,
        )
    counts = f"{result.measured} measured, {result.kept} known before"
    counts += f", {result.estimated} estimated" if estimated else ""
    counts += f", {counted(result.behaviours, 'behaviour')}, {counted(result.hops, 'hop')}"
    out.print(f"{counts}, {counted(len(result.problems), 'problem')}; {result.seconds:.0f} s; in {result.folder}")


def _show_buckets(records: list[Record], names: Mapping[str, list[str]], hardware: list[str], out: Console) -> None:
    """Of models with buckets, the times in each, and how many requests it has. `names` are by digest of a model."""
    cells: dict[tuple[str, str, str, str, str], dict[str, str]] = {}
    for r in records:
        for bucket in r.buckets or ():
            times = " / ".join(_milliseconds(bucket.latency.quantiles.get(q)) for q in ("0.5", "0.99"))
            share = f"{100 * bucket.share:.3g} %"
            way = (", ".join(names[r.source]), r.backend, str(r.threads), str(bucket.size), share)
            cells.setdefault(way, {})[r.hardware] = times
    if cells:
        rows = [[*way, *(found.get(h, "") for h in hardware)] for way, found in sorted(cells.items(), key=_by_bucket)]
        numbers = ["threads", "up to", "share", *hardware]
        out.print(table(["component", "backend", *numbers], rows, title="by bucket, p50 / p99, ms", right=numbers))


def _by_bucket(cell: tuple[tuple[str, str, str, str, str], object]) -> tuple[object, ...]:
    component, backend, threads, size, _ = cell[0]
    return component, backend, int(threads), int(size)


def _by_count(cell: tuple[tuple[str, ...], object]) -> tuple[object, ...]:
    """Ways to run a component in order: names as names, threads and batches as numbers."""
    component, backend, *counts = cell[0]
    return component, backend, *map(int, counts)


def _milliseconds(seconds: float | None) -> str:
    """A quantile, or a dash where there were too few runs for it."""
    return DASH if seconds is None else number(1000 * seconds)


def _model(
    model: str, against: str | None, store: Path, budget: float, estimate: bool, lent: Lent | None, fmt: Format
) -> None:
    from planner.cli.profiling.against import compare_profiles
    from planner.cli.profiling.catalogue import on_catalogue
    from planner.cli.profiling.model import profile_model

    with Progress() as progress:
        given = hand_in_alone(model, store, progress)
        before = hand_in_alone(against, store, progress) if against is not None else None
        if before is not None:
            from compiler.signature import read_signature

            read_signature(before.file)  # what is wrong with it is said before anything is measured
        result = profile_model(given, store, budget, progress.say, progress.step)
        if before is not None:
            old = profile_model(before, store, budget, progress.say, progress.step)
            result = result.model_copy(update={"against": compare_profiles(result, old)})
        if lent is not None:
            from planner.cli.profiling.lent import profile_lent

            rows, lacking = profile_lent(given, lent, store, budget, progress.say, progress.step)
            update = {"rows": (*result.rows, *rows), "lacking": (*result.lacking, *lacking)}
            result = result.model_copy(update=update)
        if estimate:
            result = result.model_copy(update={"estimates": on_catalogue(given)})
    emit(result.dump(), fmt, lambda out: _show_model(result, out))


def _show_model(result: ModelProfile, out: Console) -> None:
    lent = any(row.device for row in result.rows)
    rows = [
        [
            row.backend,
            *([row.device or "here"] if lent else []),
            str(row.threads),
            number(row.p50_ms),
            number(row.p99_ms) if row.p99_ms is not None else DASH,
            number(row.per_second),
            number(row.memory / 1e6),
            number(row.compile_seconds) if row.compile_seconds is not None else "cached",
        ]
        for row in result.rows
    ]
    numbers = ["threads", "p50 ms", "p99 ms", "per second", "memory MB", "compile s"]
    out.print(table(["backend", *(["on"] if lent else []), *numbers], rows, title=result.model, right=numbers))
    if any(row.p99_ms is None for row in result.rows):
        out.print(TOO_FEW)
    for row in result.rows:
        if row.disturbed:
            threads = counted(row.threads, "thread") + f" on {row.device}" * bool(row.device)
            out.print(f"{row.backend}, {threads}, was disturbed: {row.disturbed}; measure again when it is quiet")
    for lack in result.lacking:
        threads = counted(lack.threads, "thread") + f" on {lack.device}" * bool(lack.device)
        out.print(f"{lack.backend}, {threads}: {lack.reason}", soft_wrap=True)
    for backend, operators in dict.fromkeys((row.backend, row.fallback) for row in result.rows if row.fallback):
        out.print(f"{backend}: no fast schedule for {', '.join(operators)}: plain loops run there, which may be slow")
    for kind, values in (("inputs", result.inputs), ("outputs", result.outputs)):
        out.print(f"{kind}: {', '.join(f'{name} {text}' for name, text in values.items())}")
    out.print(f"measured on {result.host}, on random inputs of the right types")
    if lent:
        out.print("on lent devices: TVM alone, by their own clock; memory estimated; RPC runs no other backend")
    if result.estimates:
        _show_estimates(result, out)
    if result.against is not None:
        _show_comparison(result.against, out)


def _show_estimates(result: ModelProfile, out: Console) -> None:
    rows = [
        [
            row.name,
            row.kind,
            row.backend,
            str(row.threads),
            f"{number(row.p50_ms)} {plus_minus(row.low_ms / row.p50_ms, row.high_ms / row.p50_ms)}",
            number(row.cost_per_1000) if row.cost_per_1000 is not None else "",
            number(row.memory / 1e6) if row.fits else f"{number(row.memory / 1e6)}, too large",
        ]
        for row in fastest_of_kinds(result.estimates)
    ]
    columns = ["catalog/", "kind", "backend", "threads", "p50 ms", "USD/1,000", "memory MB"]
    right = ["threads", "p50 ms", "USD/1,000", "memory MB"]
    out.print(
        table(columns, rows, title="estimated, nobody measured it there: the fastest way on each CPU", right=right)
    )
    fitting = sum(row.fits for row in result.estimates)
    out.print(
        f"it fits on {fitting} of {len(result.estimates)}; the interval (± so much, or x LOW..HIGH of what is stated) "
        "holds 90 % of models, on other CPUs than this by judgement (docs/estimates.md)"
    )
    if more := len(result.estimates) - len(rows):
        out.print(f"shown are the {SHOWN_OF_KIND} fastest of each kind; --format json has the other {more}")


def fastest_of_kinds(estimates: Sequence[EstimateRow]) -> list[EstimateRow]:
    """The first `SHOWN_OF_KIND` of each kind, of those that it fits on and then of the others, in their order."""
    seen: Counter[str] = Counter()
    chosen: list[EstimateRow] = []
    for row in sorted(estimates, key=lambda row: not row.fits):
        seen[row.kind] += 1
        if seen[row.kind] <= SHOWN_OF_KIND:
            chosen.append(row)
    return [row for row in estimates if row in chosen]


def _show_comparison(found: ModelComparison, out: Console) -> None:
    rows = [
        [
            row.backend,
            str(row.threads),
            number(row.old_ms),
            number(row.new_ms),
            f"{row.ratio:.2f}",
            ("slower" if row.ratio > 1 else "faster") if row.beyond_spread else "within the spread",
        ]
        for row in found.times
    ]
    columns = ["backend", "threads", "old p50 ms", "new p50 ms", "new/old", ""]
    out.print(table(columns, rows, title=f"against {found.model}", right=columns[1:5]))
    ratio = found.new_bytes / found.old_bytes
    out.print(f"size: {number(found.old_bytes / 1e6)} -> {number(found.new_bytes / 1e6)} MB ({number(ratio)} times)")
    for change in found.interface:
        out.print(f"{change.kind} {change.name}: {change.old or 'new'} -> {change.new or 'gone'}")
    if not found.interface:
        out.print("interface: the same")
    elif not found.compatible:
        out.print("what calls the old one cannot call the new one")

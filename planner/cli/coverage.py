"""`planner coverage`: on which share of a fleet does each variant meet its constraint?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from planner.cli.options import PROFILES, STORE, AppFile, InfraFile, ProfilesFolder, StoreFolder
from planner.cli.output import Format, FormatOption, Progress, emit, table
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, Issue, NotKnown, Place

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.loading import Loaded
    from planner.hub.coverage import Facts, Refusal
    from specs.hub import CoverageGap, CoverageResult, CoverageRow

Answer = Literal["yes", "no", "unknown"]
_EPSILON = 1e-9


def coverage(
    app: AppFile,
    infra: InfraFile,
    profiles: ProfilesFolder = PROFILES,
    store: StoreFolder = STORE,
    least: Annotated[
        str | None,
        typer.Option("--min", metavar="SHARE", help="Such as 85%: exit 1 below it, 4 if not known."),
    ] = None,
    component: Annotated[
        list[str] | None, typer.Option("--component", metavar="COMPONENT", help="May be given again.")
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="VARIANT", help="--min then holds for each of these, not for the best one."),
    ] = None,
    compile_missing: Annotated[
        bool,
        typer.Option("--compile/--no-compile", help="Try to compile for classes nobody measured: can it run at all?"),
    ] = True,
    fmt: FormatOption = Format.table,
) -> int:
    """The share of each fleet of INFRA on which each variant meets its constraint, why not on the rest, what mends it.

    Certain: measured, or estimated with the whole interval inside the limit. Possible: not known to fail.

    Example: planner coverage app.yaml --infra infra.yaml --min 85%
    """
    from planner.cli.loading import load_checked
    from planner.hub.coverage import coverage as find
    from specs.hub import CoverageResult
    from specs.quantities import parse_share

    wanted = None
    if least is not None:
        try:
            wanted = parse_share(least)
        except ValueError as error:
            raise InputError(Issue(f"--min: {error}")) from error
    loaded = load_checked(app, infra, models=True, store=store)
    assert loaded.infra is not None
    if not loaded.infra.value.fleets:
        hint = "fleets: {NAME: [{hardware: CLASS, share: 60 %}, ...]}"
        raise InputError(Issue("the infrastructure describes no fleet", Place(str(infra)), hint))
    _known(loaded, component or [], variant or [])
    with Progress() as progress:
        refusal = _compiles(loaded, store, progress.step) if compile_missing else _not_asked
        rows = tuple(find(_facts(loaded, profiles, refusal), component or (), variant or ()))
    result = CoverageResult(application=loaded.app.value.name, min=wanted, answer=_answer(rows, wanted), rows=rows)
    emit(result.dump(), fmt, lambda out: _show(result, out))
    return {"yes": 0, "no": AnswerIsNo.exit_code, "unknown": NotKnown.exit_code}[result.answer]


def _known(loaded: Loaded, components: list[str], variants: list[str]) -> None:
    from specs.nearest import near

    models = {
        name: [v for v, real in spec.realisations.items() if real.is_model]
        for name, spec in loaded.app.value.components.items()
    }
    models = {name: found for name, found in models.items() if found}
    if not models:
        raise InputError(Issue("the application has no models", Place(loaded.app.file)))
    issues = [
        Issue(f"no component {n!r} that is a model", None, near(n, models)) for n in components if n not in models
    ]
    known = {v for name, found in models.items() if not components or name in components for v in found}
    issues += [Issue(f"unknown variant {n!r}", None, near(n, known)) for n in variants if n not in known]
    if issues:
        raise InputError(*issues)


def _facts(loaded: Loaded, profiles: Path, refusal: Refusal) -> Facts:
    from planner.hub.coverage import Facts
    from planner.hub.rows import fresh
    from planner.inputs.mixes import mixes_of
    from planner.situation import source_digests, standing
    from specs.behaviour import Behaviour
    from specs.mixture import remixed
    from specs.profile import BEHAVIOUR_FILE, Record, read_jsonl, read_records

    assert loaded.infra is not None
    app, infra = loaded.app.value, loaded.infra.value
    digests = source_digests(loaded.app)
    names: dict[str, list[str]] = {}
    for name, digest in digests.items():
        names.setdefault(digest, []).append(name)
    file = profiles / BEHAVIOUR_FILE
    behaviours = fresh(read_jsonl(file, Behaviour), digests) if file.exists() else []
    mixes = mixes_of(app, behaviours)
    records: dict[tuple[str, str], list[Record]] = {}
    for record in standing(read_records(profiles), infra) if profiles.is_dir() else ():
        for name in names.get(record.source, ()) if record.segment == ".." and record.batch == 1 else ():
            component = name.split("/")[0]
            allowed, mix = app.components[component].backends, mixes.get(component, {})
            if list(mix) != list(record.shares):
                continue  # measured in other buckets
            if allowed is None or record.backend in allowed:
                records.setdefault((name, record.hardware), []).append(remixed(record, mix))
    return Facts(app, infra, records, behaviours, refusal)


def _not_asked(component: str, variant: str, hardware: str) -> str | None:
    return None


def _compiles(loaded: Loaded, store: Path, step: Callable[[str], None]) -> Refusal:
    """Compiles a variant for the target of a class in the catalogue: TVM cannot run there what it cannot compile."""
    from functools import cache

    from compiler.build import build
    from compiler.job import job
    from compiler.store import Store
    from compiler.targets import find_target
    from planner.cli.profiling.targets import buckets_of
    from specs.catalogue import entry_of

    assert loaded.infra is not None
    hardware_classes = loaded.infra.value.hardware

    @cache
    def refusal(component: str, variant: str, hardware: str) -> str | None:
        entry = entry_of(hardware_classes[hardware])
        spec = loaded.app.value.components[component]
        model = loaded.models.get((component, variant))
        if entry is None or model is None or (spec.backends is not None and "tvm" not in spec.backends):
            return None
        step(f"compiling {component}/{variant} for {hardware} ({entry.target})")
        try:
            build(job(model, "tvm", target=find_target(entry.target).tvm, buckets=buckets_of(spec)), Store(store))
        except InputError as error:
            return f"{error.issues[0].message} (on {hardware}, {entry.target})"
        except (EnvironmentFailed, NotKnown):
            return None  # a tool that is missing here says nothing of the device
        return None

    return refusal


def _answer(rows: tuple[CoverageRow, ...], wanted: float | None) -> Answer:
    """Whether every component reaches it on every fleet, by its best variant where there is a row for that."""
    if wanted is None:
        return "yes"
    best = {(r.fleet, r.component) for r in rows if not r.variant}
    judged = [r for r in rows if not r.variant or (r.fleet, r.component) not in best]
    if any(r.possible < wanted - _EPSILON for r in judged):
        return "no"
    return "yes" if all(r.certain >= wanted - _EPSILON for r in judged) else "unknown"


def _show(result: CoverageResult, out: Console) -> None:
    rows = [
        [
            row.fleet,
            row.component,
            row.variant or "(best of all)",
            f"{row.constraint} {row.limit_ms:g} ms" if row.limit_ms is not None else "",
            f"{100 * row.certain:.1f} %",
            f"{100 * row.possible:.1f} %",
        ]
        for row in result.rows
    ]
    columns = ["fleet", "component", "variant", "limit", "certain", "possible"]
    out.print(table(columns, rows, title=result.application, right=["certain", "possible"]))
    for text in _gaps(result.rows):
        out.print(text)
    if result.min is not None:
        out.print(f"at least {100 * result.min:g} %: {result.answer}")


def _gaps(rows: Sequence[CoverageRow]) -> Iterator[str]:
    """What fails where, why, and what mends it; classes of which the same is said stand together."""
    told: set[tuple[str, str, str, str]] = set()
    for row in rows:
        alike: dict[tuple[str, str, str], list[CoverageGap]] = {}
        for gap in row.gaps:
            mark = (row.fleet, row.component, gap.hardware, gap.detail)
            if row.variant or mark not in told:
                alike.setdefault((gap.verdict, f"{gap.reason}: {gap.detail}", gap.change), []).append(gap)
            told.add(mark)
        for (verdict, why, change), gaps in alike.items():
            share = 100 * sum(gap.share for gap in gaps)
            name = f"{row.component}/{row.variant}" if row.variant else f"{row.component} (best of all)"
            where = f"{', '.join(gap.hardware for gap in gaps)} ({share:.1f} % of {row.fleet})"
            yield f"{name} on {where}: {'no' if verdict == 'no' else 'perhaps'}"
            yield f"  {why}"
            yield f"  -> {change}"

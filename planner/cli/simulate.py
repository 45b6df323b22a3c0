"""`planner simulate`: a plan is played, request by request, under load, bursts, recorded traces and faults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from planner.cli.ends import ends
from planner.cli.options import PROFILES, AppFile, InfraFile, Multiplier, PlanFile, ProfilesFolder, Seed
from planner.cli.output import Format, FormatOption, Progress, emit, number, table
from planner.cli.run import parse_members, share_text
from specs.errors import AnswerIsNo, InputError, Issue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from planner.simulation.arrivals import Arrivals
    from planner.situation import Situation
    from specs.application import Trace
    from specs.plan import Percentiles
    from specs.simulation_result import SimulationResult

QUEUE_LIMIT: Final = 256
"""What may wait at a queue of the runtime."""


def simulate(
    plan: PlanFile,
    app: AppFile,
    infra: InfraFile,
    profiles: ProfilesFolder = PROFILES,
    requests: Annotated[
        int, typer.Option("--requests", "-n", metavar="N", min=1, help="How many, on average.")
    ] = 200_000,
    duration: Annotated[
        str, typer.Option("--duration", metavar="TIME", help="Such as 3h, instead of --requests.")
    ] = "",
    members: Annotated[
        list[str] | None,
        typer.Option("--members", "-m", metavar="SITE=N", help="A slice: how many of a class of sites take part."),
    ] = None,
    multiplier: Multiplier = 1.0,
    arrivals: Annotated[
        str,
        typer.Option("--arrivals", metavar="HOW", help="poisson, constant or burst:FACTOR,SECONDS; else as declared."),
    ] = "",
    trace: Annotated[
        list[str] | None,
        typer.Option("--trace", metavar="SOURCE=FILE", help="Recorded arrivals: CSV or JSON lines with a `time`."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="WHAT", help="'site bases down 10s..40s', 'link lte slow 0.1 5s..'."),
    ] = None,
    queue_limit: Annotated[
        int, typer.Option("--queue-limit", metavar="N", min=0, help="How many may wait at a queue; 0 for any number.")
    ] = QUEUE_LIMIT,
    seed: Seed = 1,
    fmt: FormatOption = Format.table,
) -> None:
    """Play a plan request by request: its full rates, or a slice; steady, in bursts or as recorded; with faults.

    Queues, batches, links, joins and gates are those of the runtime. Exit code 1 where a latency limit is missed or a
    request is refused or fails, unless a fault was asked for.

    Example: planner simulate plan.yaml app.yaml --infra infra.yaml --fault 'link lte down 60s..70s'
    """
    chosen = parse_members(members or [])

    import time

    from planner.cli.loading import load_planned
    from planner.placement.demand import Demand
    from planner.placement.layout import plan_layout
    from planner.placement.slicing import default_slice
    from planner.simulation import Conditions, Simulation
    from planner.simulation.faults import parse_fault
    from planner.simulation.outcome import result_of
    from planner.simulation.play import WARM_UP

    read, situation = load_planned(plan, app, infra, profiles)
    layout = plan_layout(situation, read)
    sliced = bool(chosen) or multiplier != 1.0
    part = default_slice(situation, read, chosen, multiplier, requests, seed) if sliced else None
    how = arrivals_of(situation, arrivals, trace or [])
    faults = {text: parse_fault(text, situation.infra.value) for text in fault or []}
    under = Conditions(
        arrivals=how,
        faults=tuple(faults.values()),
        queue_limit=queue_limit or None,
        deadline=situation.app.value.deadline,
        warm_up=0.0 if faults or trace else WARM_UP,
    )
    demand = Demand(situation, part)
    simulation = Simulation(layout, demand, seed, under)
    seconds = _seconds(duration, requests / simulation.rate, how)
    with Progress() as progress:
        progress.step("playing (compiled once on a machine, which takes a while)")
        started = time.perf_counter()
        played = simulation.play(seconds, lambda share: progress.step(f"{share:.0%} of {seconds:,.0f} s played"))
        elapsed = time.perf_counter() - started
    words = {source: _words(situation, source, arrivals, trace or []) for source in situation.app.value.sources}
    result = result_of(
        read, layout, demand, played, arrivals=words, faults=faults, seed=seed, elapsed=elapsed
    )  # fmt: skip
    emit(result.dump(), fmt, lambda out: _show(result, out))
    missed = [] if faults else shortcomings(result)
    if missed:
        raise AnswerIsNo("; ".join(missed))


def arrivals_of(situation: Situation, text: str, traces: list[str]) -> Mapping[str, Arrivals]:
    """How requests of each source come, where it is not as declared. Raises InputError for anything else."""
    from planner.simulation.arrivals import Bursts, Constant, Poisson, Recorded
    from specs.quantities import TIME, parse_quantity
    from specs.recorded import read_trace

    sources = situation.app.value.sources
    steady: dict[str, Arrivals] = {}
    kind, _, rest = text.partition(":")
    if kind in ("poisson", "constant") and not rest:
        steady = dict.fromkeys(sources, Poisson() if kind == "poisson" else Constant())
    elif kind == "burst":
        factor, _, length = rest.partition(",")
        try:
            seconds = parse_quantity(length if not _is_number(length) else f"{length} s", TIME, "10s")
            steady = dict.fromkeys(sources, Bursts(float(factor), seconds))
        except ValueError as error:
            message = f"expected burst:FACTOR,SECONDS, got {text!r}: {error}"
            raise InputError(Issue(message, None, "--arrivals burst:5,10s")) from error
    elif text:
        raise InputError(Issue(f"expected poisson, constant or burst:FACTOR,SECONDS, got {text!r}"))
    recorded: dict[str, tuple[tuple[float, str, int], ...]] = {}
    for item in traces:
        source, _, file = item.partition("=")
        if source not in sources or not file:
            known = ", ".join(sources)
            raise InputError(Issue(f"expected SOURCE=FILE with a source of {known}, got {item!r}"))
        recorded[source] = read_trace(Path(file), {f.site: f.members for f in situation.flows if f.source == source})
    if recorded:
        first = min(rows[0][0] for rows in recorded.values())
        moved = {s: tuple((t - first, site, m) for t, site, m in rows) for s, rows in recorded.items()}
        for source in recorded:
            steady[source] = Recorded(moved, situation.flows, Poisson())
    return steady


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _words(situation: Situation, source: str, arrivals: str, traces: list[str]) -> str:
    given = [item for item in traces if item.startswith(f"{source}=")]
    declared = situation.app.value.sources[source].arrivals
    return f"trace {given[0].partition('=')[2]}" if given else arrivals or _declared(declared)


def _declared(how: str | Trace) -> str:
    return how if isinstance(how, str) else f"trace {how.trace}"


def _seconds(duration: str, otherwise: float, how: Mapping[str, Arrivals]) -> float:
    """As asked, or as long as the traces last, or what the requests take."""
    from planner.simulation.arrivals import Recorded
    from specs.quantities import TIME, parse_quantity

    if duration:
        try:
            seconds = parse_quantity(duration, TIME, "3h")
        except ValueError as error:
            raise InputError(Issue(f"--duration: {error}")) from error
        if seconds <= 0:
            raise InputError(Issue("--duration: expected more than 0 seconds"))
        return seconds
    lasting = [rows[-1][0] for r in how.values() if isinstance(r, Recorded) for rows in r.sources.values()]
    return max(max(lasting), 1e-6) if lasting else otherwise


def shortcomings(result: SimulationResult) -> list[str]:
    """What was missed, in words: requests without an answer, and limits beyond what chance explains."""
    r = result.requests
    counts = {"refused": r.refused, "failed": r.failed, "lost": r.lost}
    if sum(s.n for s in result.shares) >= r.sent:  # shares say how many of all requests may end so
        counts = {"lost": r.lost}
    found = [f"{count:,} of {r.sent:,} requests {what}" for what, count in counts.items() if count]
    found += [share_text(s) for s in result.shares if s.verdict == "missed"]
    for path in result.paths:
        for name, limit in path.limit_ms.items():
            value: float = getattr(path.simulated, f"{name}_ms")
            low, _ = path.interval_ms.get(name, (value, value))
            if low > limit:
                way = f"{ends(path, result.paths)} over {path.over}"
                found.append(f"{name} of {way} is {number(value)} ms, limit {number(limit)} ms")
    return found


def _show(result: SimulationResult, out: Console) -> None:
    columns = ["", "site", "n", "p50", "p95", "p99", "mean"]

    def figures(p: Percentiles) -> list[str]:
        return [number(x) for x in (p.p50_ms, p.p95_ms, p.p99_ms, p.mean_ms)]

    rows: list[list[str]] = []
    for path in result.paths:
        rows.append(
            [f"{ends(path, result.paths)} ({path.over})", "end to end", f"{path.n:,}", *figures(path.simulated)]
        )
        between = [path.interval_ms.get(q) for q in ("p50", "p95", "p99")]
        if any(between):
            half = [f"±{number((b[1] - b[0]) / 2)}" if b else "" for b in between]
            rows.append(["  at 95 %", "", "", *half, ""])
        if path.predicted is not None:
            rows.append(["  predicted", "", "", *figures(path.predicted)])
    for s in result.stages:
        if s.n:
            rows.append([s.name, s.site, f"{s.n:,}", *figures(s.service)])
            if s.wait.p99_ms >= 0.05:
                rows.append(["  waiting", "", "", *figures(s.wait)])
    out.print(table(columns, rows, title="simulated, ms", right=columns[2:]))
    busy = [[x.name, f"{x.load:.1%}", f"{x.busiest:.1%}"] for x in (*result.devices, *result.links)]
    out.print(table(["busy", "on average", "the busiest"], busy, right=["on average", "the busiest"]))
    if result.periods:
        names = ["from s", "to s", "faults", "sent", "answered", "late", "refused", "failed", "p50 ms", "p99 ms"]
        lines = [
            [number(p.since), number(p.until), "; ".join(p.faults) or "none"]
            + [f"{x:,}" for x in (p.sent, p.answered, p.late, p.refused, p.failed)]
            + [number(x) if x is not None else "" for x in (p.p50_ms, p.p99_ms)]
            for p in result.periods
        ]
        out.print(table(names, lines, right=[n for n in names if n != "faults"]))
    r = result.requests
    out.print(
        f"requests: {r.sent:,} sent, {r.answered:,} answered, {r.refused:,} refused, {r.failed:,} failed, {r.lost:,} "
        f"lost; {number(result.throughput)} a second, {number(result.goodput)} within their limits"
    )
    for share in result.shares:
        out.print(share_text(share))
    how = ", ".join(f"{source} {words}" for source, words in result.arrivals.items())
    out.print(f"{number(result.seconds)} s of {how}; played in {result.elapsed:.1f} s; plan {result.plan[:16]}")

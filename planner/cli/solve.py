"""`planner solve`: what runs where."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from planner.cli.conflicts import no_plan, show_conflicts
from planner.cli.ends import ends
from planner.cli.options import PROFILES, ProfilesFolder, Seed, SetOption, TimeLimit
from planner.cli.output import Format, FormatOption, Progress, emit, number, table
from specs.errors import AnswerIsNo, InputError, Issue, NotKnown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from planner.baseline import Restricted
    from planner.situation import Situation
    from planner.solver.stop import Progress as Standing
    from specs.plan import Assignment, Plan, Refinement

RATE_UNIT: Final = "/s"
MEMORY_UNIT: Final = "MB"
"""Of all constraints, those on throughput, and those on memory, alone are in these."""
WORTH_TELLING: Final = 0.01
"""Share of right answers that other variants must be better by to be named."""
QUIET_SECONDS: Final = 0.5
"""Shorter searches show no progress."""


def solve(
    app: Annotated[Path | None, typer.Argument(metavar="APP", help="The application (app.yaml).")] = None,
    infra: Annotated[
        Path | None, typer.Option("--infra", "-i", metavar="INFRA", help="The infrastructure (infra.yaml).")
    ] = None,
    profiles: ProfilesFolder = PROFILES,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The plan.")] = Path("plan.yaml"),
    problem: Annotated[
        Path | None, typer.Option("--problem", metavar="FILE", help="Solve the numbers alone, as --save-problem wrote.")
    ] = None,
    save_problem: Annotated[
        Path | None, typer.Option("--save-problem", metavar="FILE", help="Write the numbers that the solver sees.")
    ] = None,
    time_limit: TimeLimit = 60.0,
    gap: Annotated[
        float, typer.Option("--gap", metavar="SHARE", min=0.0, max=1.0, help="Stop at this relative gap to the bound.")
    ] = 0.0,
    refine: Annotated[
        bool, typer.Option("--refine", help="Hold the limits against a simulation, and solve again until they agree.")
    ] = False,
    sets: SetOption = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", metavar="NAME", help="auto, pair, cond (exact); greedy, heft, min-cut, all-edge, all-cloud."
        ),
    ] = "auto",
    seed: Seed = 0,
    fmt: FormatOption = Format.table,
) -> None:
    """Choose site, hardware, variant, backend, threads and replicas of every component, with a proof.

    Exit code 1 where no plan keeps all constraints: those in conflict are named. 4 where time ran out before an answer.
    130 on Ctrl-C: the best plan so far, if any, is written all the same.

    Example: planner solve app.yaml --infra infra.yaml --profiles profiles -o plan.yaml
    """
    if problem is not None:
        if app is not None or infra is not None or save_problem is not None or sets:
            raise InputError(
                Issue("--problem stands alone: it already holds the numbers", None, "leave APP, --infra and --set out")
            )
        _solve_problem(problem, time_limit, gap, seed, strategy, fmt)
        return
    if refine and strategy != "auto":
        hint = "leave --strategy out: what is refined is always solved with a proof"
        raise InputError(Issue("--refine and --strategy do not go together", None, hint))
    if app is None or infra is None:
        raise InputError(
            Issue("expected APP and --infra, or --problem", None, "planner solve app.yaml --infra infra.yaml")
        )

    from planner import solve as find_plan
    from planner.cli.files import check_output
    from planner.cli.loading import load_situation_checked
    from planner.cli.moves import moves, plan_that_stood
    from specs.changes import parse_changes
    from specs.plan import write_plan

    changes = parse_changes(sets or [])
    check_output(output, app, infra)
    if save_problem is not None:
        check_output(save_problem, app, infra, output)
    situation = load_situation_checked(app, infra, profiles, changes)
    if save_problem is not None:
        from planner.formulation import formulate
        from planner.problem.file import write_problem

        write_problem(formulate(situation), save_problem)
        with Progress() as progress:
            progress.say(f"wrote {save_problem}")
    try:
        with Progress() as progress:
            if refine:
                from planner import refine as find_refined

                plan = find_refined(situation, time_limit=time_limit, gap=gap, seed=seed, tell=progress.step)
            else:
                tell = _standing(progress, _first_objective(situation))
                plan = find_plan(situation, time_limit=time_limit, gap=gap, seed=seed, strategy=strategy, tell=tell)
    except KeyboardInterrupt as interruption:
        found = getattr(interruption, "plan", None)
        if found is not None:
            write_plan(found, output)
            emit(found.dump(), fmt, lambda out: show_plan(found, out, output))
        raise
    if plan.status == "infeasible":
        from planner.answers.relaxations import with_relaxations

        plan = with_relaxations(situation, plan, time_limit=max(1.0, time_limit - plan.seconds), seed=seed)
    before = plan_that_stood(output)
    write_plan(plan, output)
    beside = _without(situation, plan, time_limit, seed) if fmt == Format.table else []

    def show(out: Console) -> None:
        show_plan(plan, out, output)
        for line in [*_unlimited(situation, plan), *_remembering(situation, plan), *_calling(situation, plan)]:
            out.print(line, soft_wrap=True)
        for line in beside:
            out.print(line)
        if before is not None and (moved := moves(before, plan)):
            out.print(f"against the plan that stood in {output}:")
            for line in moved:
                out.print(f"  {line}")

    emit(plan.dump(), fmt, show)
    if plan.status == "infeasible":
        raise no_plan(plan)
    if plan.status == "unknown" and strategy not in ("auto", "pair", "cond"):
        raise NotKnown(
            f"the strategy {strategy} found no plan, which proves nothing; --strategy auto says if there is one"
        )
    if plan.status == "unknown":
        raise NotKnown(
            f"neither a plan nor a proof that there is none within {time_limit:g} s; allow more --time-limit"
        )


def _unlimited(situation: Situation, plan: Plan) -> list[str]:
    """A line for each data set on which other variants are right far more often, where nothing asks for that."""
    spec = situation.app.value
    if "accuracy" in spec.objective:
        return []
    from specs.application import AccuracyConstraint

    limited = {c.on for c in spec.constraints.values() if isinstance(c, AccuracyConstraint)}
    least: dict[str, float] = {}
    for data, value in (item for b in plan.behaviour for item in b.accuracy.items() if item[0] not in limited):
        least[data] = min(value, least.get(data, value))
    found: list[str] = []
    for data, value in least.items():
        best = max((a.value for b in situation.choices for a in b.accuracy if a.data == data), default=value)
        if best - value >= WORTH_TELLING:
            found.append(
                f"nothing limits the accuracy on {data}: with other variants it could be up to {best:.4f} "
                f"(constraints: {{NAME: {{accuracy: '>= {math.floor(100 * best) / 100:g}', on: {data}}}}})"
            )
    return found


def _remembering(situation: Situation, plan: Plan) -> list[str]:
    """A line for each component that keeps state."""
    components = situation.app.value.components
    sizes = [(a, components[a.component].state_size) for a in plan.assignments]
    return [
        f"{a.component} keeps state at {a.site}: one replica at each member, up to {size / 1e3:,.0f} kB"
        for a, size in sizes
        if size is not None
    ]


def _calling(situation: Situation, plan: Plan) -> list[str]:
    """A line for each hosted API: what is sent where, and what that costs."""
    paid = {item.name: item.per_month for item in plan.cost.items} if plan.cost else {}
    currency = situation.infra.value.currency
    found: list[str] = []
    for name in dict.fromkeys(a.component for a in plan.assignments):
        api = situation.app.value.components[name].api
        if api is not None:
            month = paid.get(f"calls {name}", 0.0)
            found.append(f"{name} calls {api.endpoint}: {api.price:g} {currency} a call, {month:,.2f} {currency}/month")
    return found


def _replicas(a: Assignment) -> str:
    return f"{a.replicas} + {a.standby} idle" if a.standby else str(a.replicas)


def _not_known_well(refined: Refinement) -> Iterator[str]:
    """Percentiles of which the simulation says less than a prediction is held to."""
    from planner.simulation.precision import TOLERANCE, uncertainty  # numba, which other plans do not need

    for path in refined.paths:
        for name, share in uncertainty(path.interval_ms).items():
            if share > TOLERANCE[name] / 2:
                how = f"to {share:.1%} only" if share < math.inf else "not at all: too few requests go there"
                yield f"{ends(path, refined.paths)} over {path.over}: {name} is known {how}"


def show_plan(plan: Plan, out: Console, file: Path) -> None:
    """The plan for people: what runs where, then latency, cost and the proof."""
    if plan.assignments:
        times = {s.name: s for s in plan.stages if s.kind == "stage"}
        batched = any(a.batch > 1 for a in plan.assignments)
        ways = ["threads", *(["at once"] if batched else []), "replicas"]
        columns = ["component", "site", "hardware", "variant", "backend", *ways, "p50 ms", "p99 ms"]
        rows = []
        for a in plan.assignments:
            name = a.stage_name
            stage = times.get(name)
            spent = [
                number(s) if s is not None else ""
                for s in (
                    stage.service.p50_ms + stage.wait.p50_ms if stage else None,
                    stage.service.p99_ms + stage.wait.p99_ms if stage else None,
                )
            ]
            counts = [str(a.threads), *([str(a.batch)] if batched else []), _replicas(a)]
            rows.append([name, a.site, a.hardware, a.variant, a.backend, *counts, *spent])
        out.print(table(columns, rows, right=columns[5:]))
    standing_by = sum(a.standby for a in plan.assignments)
    if standing_by:
        stand = "replica stands" if standing_by == 1 else "replicas stand"
        out.print(f"idle: {standing_by} loaded {stand} by; devices, memory and cost below include it")
    for path in plan.paths:
        p = path.predicted
        limits = ", ".join(f"{k} <= {number(v)} ms" for k, v in path.limit_ms.items())
        text = f"{ends(path, plan.paths)} over {path.over}: p50 {number(p.p50_ms)}, p95 {number(p.p95_ms)}"
        out.print(f"{text}, p99 {number(p.p99_ms)} ms predicted" + (f" (limit {limits})" if limits else ""))
    if plan.refined is not None:
        by = plan.refined
        for r in by.limits:
            text = (
                f"{r.name}: {number(r.simulated_ms)} ms simulated ({number(r.low_ms)} to {number(r.high_ms)} at 95 %)"
            )
            out.print(
                f"{text}, limit {number(r.limit_ms)} ms; refined in {by.rounds} rounds of {by.requests:,} requests"
            )
        if by.missed_at is not None:
            out.print(f"of {by.missed_at:,} requests a limit is missed: called feasible only")
        for line in _not_known_well(by):
            out.print(line)
    if plan.cost is not None:
        cost = plan.cost
        out.print(
            f"cost: {cost.per_month:,.2f} {cost.currency}/month, {number(cost.per_1000)} {cost.currency}/1,000 requests"
        )
    if plan.energy is not None:
        known = {(item.site, item.pool) for item in plan.energy.items}
        others = [f"{d.site}.{d.pool}" for d in plan.devices if (d.site, d.pool) not in known]
        without = f", without {', '.join(others)}, of which no power is known" if others else ""
        out.print(f"energy: {number(plan.energy.per_month)} kWh/month{without}")
    for c in plan.constraints:
        if c.unit == MEMORY_UNIT:
            out.print(f"memory: {number(c.value)} {c.unit} at most (limit {c.name} <= {number(c.limit)} {c.unit})")
    if plan.carries is not None:
        multiple, queue = plan.carries.multiple, plan.carries.queue
        out.print(f"carries {number(multiple)} times the peak of all sources; then {queue} is 90 % busy")
    for c in plan.constraints:
        if c.unit == RATE_UNIT:
            out.print(f"throughput: {number(c.value)}/s of one member ({c.name} asks for {number(c.limit)}/s)")
    for behaviour in plan.behaviour:
        for data, value in behaviour.accuracy.items():
            out.print(f"accuracy on {data}: {value:.4f} ({behaviour.source})")
    binding = [c for c in plan.constraints if c.binding]
    if binding:
        out.print("binding (without it alone, the first objective would be better):")
    for c in binding:
        spare = "" if c.unit == "sites" else f", kept with {number(c.slack)} {c.unit} to spare"
        out.print(f"  {c.name} ({c.file}:{c.line}){spare}")
    show_conflicts(plan, out)
    emulated = sorted({a.hardware for a in plan.assignments if a.provenance == "emulated"})
    if emulated:
        out.print(f"emulated: this machine, slowed, stood for {', '.join(emulated)}")
    estimated = sorted({a.hardware for a in plan.assignments if a.provenance == "estimated"})
    if estimated:
        hint = "the upper ends of their 90 % intervals count; measure there before it is relied on"
        out.print(f"estimated: nobody ran it on {', '.join(estimated)}; {hint}")
    declared = sorted({a.component for a in plan.assignments if a.provenance == "declared"})
    if declared:
        out.print(f"declared: nobody measured {', '.join(declared)}; the times are the application's own")
    for change in plan.inputs.changes:
        out.print(f"what if: {change}")
    proof = f", gap {100 * plan.gap:.2f} %" if plan.gap is not None else ""
    out.print(f"status: {plan.status}{proof}, {plan.seconds:.2f} s; plan {plan.digest[:16]} in {file}")


def _without(situation: Situation, plan: Plan, time_limit: float, seed: int) -> list[str]:
    """What codecs do in the plan, and the best plans without a codec and without a cut, each in a line; nothing where
    the plan has none."""
    if all(a.segment.is_whole for a in plan.assignments):
        return []
    from planner.baseline import undivided, unencoded

    encoded = [cut for cut in plan.cuts if cut.codec != "none"]
    said = [f"cut of {c.component} at {', '.join(c.tensors)}: {c.bytes:,.0f} bytes by {c.codec}" for c in encoded]
    agreeing = {data: share for b in plan.behaviour for data, share in (b.agreement or {}).items()}
    said += [f"of the answers on {d}, {share:.1%} are as without a codec" for d, share in agreeing.items()]
    others = {"without a codec": unencoded} if encoded else {}
    for what, best in (others | {"without a cut": undivided}).items():
        found = best(situation, time_limit=time_limit, seed=seed, corrected=plan.corrected)
        said.append(_beside(what, found, "predicted by sums, not simulated" if plan.refined else "predicted"))
    return said


def _beside(what: str, found: Restricted | None, known: str) -> str:
    """`known` says how the latency is."""
    if found is None:
        return f"{what}: no plan"
    other = found.plan
    slowest = max((p.predicted.p99_ms for p in other.paths), default=0.0)
    money = f"{other.cost.per_month:,.2f} {other.cost.currency}/month, " if other.cost is not None else ""
    kept = "" if found.longer == 1.0 else f"no plan keeps the limits; with {found.longer:g} times as long ones "
    return f"{what}: {kept}{money}p99 {number(slowest)} ms {known}"


def _standing(progress: Progress, said: Callable[[int], str]) -> Callable[[Standing], None]:
    """Shows how far the search is, once it has taken a moment; `said` puts values of the first objective into words."""

    def tell(now: Standing) -> None:
        if now.seconds >= QUIET_SECONDS and now.objective is not None:
            gap = "" if now.gap is None else f", gap {100 * now.gap:.2f} %"
            progress.step(f"{now.seconds:.1f} s: best {said(now.objective)}, bound {said(now.bound or 0)}{gap}")

    return tell


def _first_objective(situation: Situation) -> Callable[[int], str]:
    """Values of the first objective in words, with the currency where it is money."""
    from planner.cli.solution import amount

    first = situation.app.value.objective[0]
    kind = first if isinstance(first, str) else "latency"
    money = f" {situation.infra.value.currency}" if kind == "cost" else ""
    return lambda value: amount(kind, value) + money


def _solve_problem(file: Path, time_limit: float, gap: float, seed: int, strategy: str, fmt: Format) -> None:
    """Solve a Problem file and write the Solution to stdout."""
    from dataclasses import asdict
    from functools import partial

    from planner.cli.solution import amount, show_solution
    from planner.problem.file import SOLUTION_FORMAT, read_problem
    from planner.solver import solve_problem

    problem = read_problem(file)
    with Progress() as progress:
        tell = _standing(progress, partial(amount, problem.objectives[0].kind))
        solution = solve_problem(problem, time_limit, gap, seed, strategy=strategy, tell=tell)
    value = {"schema": SOLUTION_FORMAT, **asdict(solution)}
    emit(value, fmt, lambda out: show_solution(problem, solution, out))
    if solution.interrupted:
        raise KeyboardInterrupt
    if solution.status == "infeasible":
        raise AnswerIsNo(f"no solution: {file} is infeasible")
    if solution.status == "unknown":
        raise NotKnown(f"no answer within {time_limit:g} s; allow more --time-limit")

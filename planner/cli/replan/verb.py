"""`planner replan`: the plan for what was observed, and what differs from the one that ran."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.options import PROFILES, AppFile, InfraFile, PlanFile, ProfilesFolder, Seed, SetOption, TimeLimit
from planner.cli.output import Format, FormatOption, Progress, emit
from specs.errors import AnswerIsNo, InputError, Issue, NotKnown, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.answers.replan import Replanned
    from planner.observation import Observation
    from planner.situation import Situation
    from specs.plan import Percentiles, Plan
    from specs.profile import Record
    from specs.replan import ObservedStage


def replan(
    plan: PlanFile,
    app: AppFile,
    infra: InfraFile,
    observed: Annotated[
        list[Path] | None,
        typer.Option("--observed", metavar="RUN|DIR", help="Results of `planner run`; may be given again."),
    ] = None,
    profiles: ProfilesFolder = PROFILES,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The new plan; without it nothing is written.")
    ] = None,
    profiles_out: Annotated[
        Path | None,
        typer.Option("--profiles-out", metavar="DIR", help="The profiles that it rests on (default: FILE.profiles)."),
    ] = None,
    sets: SetOption = None,
    time_limit: TimeLimit = 60.0,
    seed: Seed = 0,
    fmt: FormatOption = Format.table,
) -> None:
    """Solve again for what runs of a plan observed, and for what the files say now; show what differs.

    Observed service times count instead of the profiles of what ran. They go into a copy of the profiles, which the new
    plan rests on: the originals stay as they are. A move to what was not observed is made only where it would be right
    too if that were off by as much as what ran. Exit code 1 where no plan keeps all constraints.

    Example: planner replan plan.yaml app.yaml --infra infra.yaml --observed run.json -o new.yaml
    """
    if profiles_out is not None and output is None:
        raise InputError(Issue("--profiles-out says nothing without -o: nothing is written"))

    from planner.cli.diff.plans import compare_plans, side_of
    from planner.cli.files import check_output
    from planner.cli.loading import load_checked, refuse_nothing
    from planner.cli.replan.copy import check_copy, write_copy
    from planner.cli.replan.observed import read_observed
    from planner.cli.replan.show import show
    from planner.observation import observations
    from specs.changes import parse_changes
    from specs.plan import read_plan, write_plan
    from specs.profile import read_records
    from specs.replan import ReplanResult

    copy = profiles_out or (output and output.with_name(f"{output.stem}.profiles"))
    old = read_plan(plan)
    refuse_nothing(old, plan)
    if output is not None and copy is not None:
        check_output(output, app, infra, plan, *(f for f in observed or () if f.is_file()))
        if observed:
            check_copy(copy, profiles)
    loaded = load_checked(app, infra, models=False, changes=parse_changes(sets or []))
    assert loaded.infra is not None
    if loaded.app.value.name != old.application:
        message = f"the plan is of the application {old.application!r}, not of {loaded.app.value.name!r}"
        raise InputError(Issue(message, loaded.app.place("name")))
    runs, left_out = read_observed(observed or [], old)

    from planner.cli.replan.facts import facts_with

    records = read_records(profiles) if profiles.is_dir() else []
    seen = observations(old, records, runs)
    promoted = [o.promoted for o in seen if o.promoted is not None]
    if runs and not promoted and profiles.is_dir():  # else it is told below that there are none
        why = "; ".join(dict.fromkeys(f"{o.stage.name} at {o.stage.site}: {o.reason}" for o in seen))
        place = Place(str((observed or [Path()])[0]))
        hint = "name the profiles that the plan rests on with --profiles" if not any(o.record for o in seen) else ""
        raise InputError(Issue(f"nothing that was observed can count: {why}", place, hint))
    situation = facts_with(loaded.app, loaded.infra, profiles, promoted)
    found, interruption = _search(situation, old, [*records, *promoted], time_limit, seed)
    new = found.plan
    if new.status == "infeasible":
        from planner.answers.relaxations import with_relaxations

        new = with_relaxations(situation, new, time_limit=max(1.0, time_limit - new.seconds), seed=seed)
    copied = copy if promoted else None  # else the new plan rests on the originals
    if output is not None:
        if copied is not None:
            write_copy(copied, profiles, promoted)
        write_plan(new, output)
    result = ReplanResult(
        old=side_of(str(plan), old),
        new=side_of(str(output) if output else "new", new),
        observed=observed_stages(seen),
        left_out=left_out,
        difference=compare_plans(old, new),
        not_made=compare_plans(new, found.tempting).placements if found.tempting else (),
        certain=found.certain,
        plan_file=str(output or ""),
        profiles=str(copied or profiles) if output else "",
    )
    emit(result.dump(), fmt, lambda out: show(result, out, by_sums=old.refined is not None))
    if interruption is not None:
        raise interruption
    if new.status == "infeasible":
        names = ", ".join(f"{c.name} ({c.file}:{c.line})" for c in new.conflict)
        raise AnswerIsNo(f"for what was observed, no plan keeps all constraints; in conflict: {names}")
    if new.status == "unknown":
        raise NotKnown(
            f"neither a plan nor a proof that there is none within {time_limit:g} s; allow more --time-limit"
        )


def _search(
    situation: Situation, old: Plan, records: Sequence[Record], time_limit: float, seed: int
) -> tuple[Replanned, KeyboardInterrupt | None]:
    """What is found; on Ctrl-C the best so far, if there is one, and the interruption."""
    from planner.answers.replan import Replanned
    from planner.answers.replan import replan as solve_again

    with Progress() as progress:
        progress.step("solving for what was observed")
        try:
            return solve_again(situation, old, records, time_limit=time_limit, seed=seed), None
        except KeyboardInterrupt as interruption:
            best = getattr(interruption, "plan", None)
            if best is None:
                raise
            return Replanned(best), interruption


def observed_stages(seen: Sequence[Observation]) -> tuple[ObservedStage, ...]:
    """`seen` as values for programs."""
    from specs.replan import ObservedStage

    found = []
    for o in seen:
        mean = o.record.latency.mean if o.record else 0.0
        found.append(
            ObservedStage(
                name=o.stage.name,
                site=o.stage.site,
                run=o.run,
                n=o.stage.n,
                profiled=_percentiles(o.record) if o.record else None,
                measured=o.stage.service_measured,
                ratio=o.stage.service_measured.mean_ms / (1e3 * mean) if mean > 0 and o.stage.n else None,
                promoted=o.promoted is not None,
                reason=o.reason,
            )
        )
    return tuple(found)


def _percentiles(record: Record) -> Percentiles:
    """Of a profile, between the quantiles that it keeps where it has none of just that probability."""
    import numpy as np

    from specs.plan import Percentiles

    points = record.latency.points()
    p, x = [a for a, _ in points], [1e3 * b for _, b in points]
    p50, p95, p99 = (float(v) for v in np.interp([0.5, 0.95, 0.99], p, x))
    return Percentiles(p50_ms=p50, p95_ms=p95, p99_ms=p99, mean_ms=1e3 * record.latency.mean)

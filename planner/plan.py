"""From a Solution to the Plan: the answer in the user's words, with predictions and proof."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from threading import Thread
from typing import Final

from planner.draft import Draft, in_ms, inputs_of
from planner.formulation import Formulation, formulation
from planner.limits import with_limits
from planner.path_limits import path_limits
from planner.problem import Option, Step
from planner.proof.conflict import minimal_conflict, no_option
from planner.situation import Situation
from planner.solver import Solution, solve_problem
from planner.solver.evaluate import evaluate
from planner.solver.solution import relative_gap
from planner.solver.stop import Progress, silent
from specs.errors import NotKnown
from specs.plan import Conflict, Plan

ROUNDS: Final = 8
"""How often limits are tightened before giving up."""
LOOSENED: Final = (1.0, 1.1, 1.3, 1.6)
"""Where no plan keeps the limits by the solver's tables, they are tried so many times longer: the tables are on the
safe side (patterns and paths share what may be late), and what counts is the prediction of the whole path."""
PROOF: Final = 12
"""How many placements that the tables forbid are looked at: each takes about a tenth of a second."""
BRIEF: Final = 2
"""As `PROOF`, in answers that solve many times: what they say of a price is never too low for it."""
MARGIN: Final = 0.003
"""A missed limit is tightened by what it was missed by and by this share more, which doubles with each round."""
EASED: Final = 4
"""How often a tightened limit is halved back towards the last that was too long."""
NEAR: Final = 1.03
"""It stays where the plan is this near to a limit, or the limit this near to the last that was too long."""
NO_LIMITS: Final[Mapping[str, float]] = {}
Restrict = Callable[[Formulation], Formulation]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while searching; `plan` is the best so far, which keeps all constraints."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("interrupted")
        self.plan = plan


def solve(
    situation: Situation,
    *,
    time_limit: float = 60.0,
    gap: float = 0.0,
    seed: int = 0,
    restrict: Restrict = lambda given: given,
    corrected: Mapping[str, float] = NO_LIMITS,
    start: Mapping[str, float] = NO_LIMITS,
    given: Formulation | None = None,
    proofs: bool = True,
    looks: int = 0,
    loosened: bool = True,
    strategy: str = "auto",
    tell: Callable[[Progress], None] = silent,
) -> Plan:
    """The Plan for `situation`: optimal, or the best within `time_limit` seconds or the relative `gap`.

    What counts is the predicted percentile. Where it misses a limit that the solver's table took as kept, that limit is
    tightened and the problem solved again. What the tables then call the best, or impossible, is looked at by
    prediction (proof.py): a better placement that keeps its limits takes its place. Where that stays open, optimal
    means for the tables, and where they leave no plan, longer limits are tried in the same way. `Plan.tightened` says
    which limits the solver was given (ms).
    `restrict` may take options away first. `corrected` are limits in seconds, by name such as ``answer.p99``, that
    predictions must keep instead of the user's own; `start` gives limits that the solver begins with. `given` is what
    `formulation(situation)` makes, if it is known. Without `proofs`, what binds is read from the slack, and where there
    is no plan no conflict is sought: for answers that solve many times. `looks` is how many placements that the tables
    forbid are looked at, unless 0: `PROOF`, or `BRIEF` without `proofs`. Unless `loosened`, longer limits are not tried
    where the tables leave no plan. `strategy` and `tell` are as in
    `solve_problem`.

    Raises InputError for what is not supported, AnswerIsNo where some component cannot run at all, and NotKnown where
    limits stay missed; `Interrupted` with the best plan so far on Ctrl-C.
    """
    clock = _Clock(time.perf_counter(), time_limit, gap, seed, strategy, tell)
    wanted = limits_asked(situation) | dict(corrected)
    base = restrict(given or formulation(situation))
    if wanted:
        _beside_the_search("planner.proof.best")
    found = _tighten(situation, base, dict(corrected) | dict(start), wanted, clock)
    if wanted and not (isinstance(found, Draft) and found.searched == "feasible"):
        found = _settled(situation, base, found, wanted, clock, looks or (PROOF if proofs else BRIEF))
    if loosened and isinstance(found, _Nothing) and found.open and not found.missed:
        tried = (_loosened(situation, base, longer, wanted, clock) for longer in LOOSENED)
        found = next((draft for draft in tried if isinstance(draft, Draft)), found)
    if isinstance(found, _Nothing) and found.missed:
        raise NotKnown(found.missed)
    if isinstance(found, Draft):
        return found.plan(clock.started, time_limit if proofs else 0.0, seed)
    return _no_plan(situation, found, clock, proofs)


def _beside_the_search(module: str) -> None:
    """Import `module`, which takes a while: the interpreter is free while the solver, which is not Python, searches."""
    if module not in sys.modules:
        Thread(target=import_module, args=(module,)).start()


@dataclass(frozen=True, slots=True)
class _Clock:
    """When the search began, how it is bounded, and how it is done."""

    started: float
    time_limit: float
    gap: float
    seed: int
    strategy: str
    tell: Callable[[Progress], None]

    @property
    def left(self) -> float:
        return self.time_limit - (time.perf_counter() - self.started)


@dataclass(frozen=True, slots=True)
class _Nothing:
    """What the solver said where it found no choice, and the limits (seconds) that it was given.

    `missed` says which limits stayed missed, however tightened. `open`: a placement may keep them all the same.
    """

    given: Formulation
    solution: Solution
    limits: Mapping[str, float]
    missed: str = ""
    open: bool = False


def _settled(
    situation: Situation,
    base: Formulation,
    found: Draft | _Nothing,
    wanted: Mapping[str, float],
    clock: _Clock,
    rounds: int,
) -> Draft | _Nothing:
    """What is best by prediction, or a proof that there is nothing; `found` by the tables where neither is known."""
    from planner.proof.best import settle  # numpy, as predictions need

    first = found if isinstance(found, Draft) else None
    try:
        settled = settle(situation, base, wanted, first, clock, rounds)
    except KeyboardInterrupt:
        if first is None:
            raise
        raise Interrupted(first.plan(clock.started, 0.0, clock.seed)) from None
    if settled.best is not None:
        return settled.best
    assert isinstance(found, _Nothing)
    if settled.proven:
        given = settled.bounding if found.solution.status == "unknown" else found.given
        return _Nothing(given, Solution("infeasible"), found.limits)
    return replace(found, open=found.solution.status == "infeasible")


def _loosened(
    situation: Situation, base: Formulation, longer: float, wanted: Mapping[str, float], clock: _Clock
) -> Draft | _Nothing:
    """As `_tighten`, from limits that are `longer` times those `wanted`."""
    return _tighten(situation, base, {name: longer * limit for name, limit in wanted.items()}, wanted, clock)


def _tighten(
    situation: Situation, base: Formulation, start: Mapping[str, float], wanted: Mapping[str, float], clock: _Clock
) -> Draft | _Nothing:
    """Solve with the path limits of `start` (else the user's), tightened where the prediction misses those `wanted`."""
    limits = dict(start)
    too_long = dict(limits)
    missed: dict[str, float] = {}
    draft: Draft | None = None
    first: Solution | None = None
    for number in range(ROUNDS):
        given = with_limits(situation, base, limits)
        if draft is None or not evaluate(given.problem, draft.choice).holds():  # else it would be the answer again
            found = _best_by_tables(situation, given, limits, wanted, clock)
            if isinstance(found, _Nothing):
                return found
            first = first or found.solution
            draft, missed = found, found.missed(wanted)
            if not missed and not number:
                return draft
            if not missed:
                draft = _eased(situation, base, draft, too_long, wanted, clock)
                return draft.claiming(_beside(first, draft.solution), None)
        too_long = dict(limits)
        for name, factor in missed.items():
            limits[name] = limits.get(name, wanted[name]) / factor * (1 - MARGIN * 2**number)
    worst = ", ".join(f"{name} by {100 * (factor - 1):.1f} %" for name, factor in missed.items())
    return _Nothing(
        base, Solution("unknown"), limits, f"predictions still miss {worst} after tightening {ROUNDS} times"
    )


def _beside(first: Solution, solution: Solution) -> Solution:
    """`solution`, of tightened limits, with what is known from the limits before: `first` is theirs."""
    better = next((k for k, (a, b) in enumerate(zip(first.bounds, solution.objectives, strict=True)) if a < b), None)
    if better is None:
        return solution
    bounds = (*first.bounds[: better + 1], *[0] * (len(first.bounds) - better - 1))
    return replace(solution, status="feasible", bounds=bounds, gap=relative_gap(solution.objectives, bounds))


def _eased(
    situation: Situation,
    base: Formulation,
    best: Draft,
    too_long: Mapping[str, float],
    wanted: Mapping[str, float],
    clock: _Clock,
) -> Draft:
    """The best draft that keeps the limits `wanted`, of limits between those of `best` and those `too_long`.

    Tightening goes in steps that grow, so that it may go much too far.
    """
    short, long = dict(best.limits), {n: too_long.get(n, wanted[n]) for n in best.limits}
    nearly = {n: limit / NEAR for n, limit in wanted.items()}
    for _ in range(EASED):
        if clock.left <= 0 or best.missed(nearly) or all(long[n] <= NEAR * short[n] for n in short):
            break
        between = {n: math.sqrt(short[n] * long[n]) for n in short}
        try:
            found = _best_by_tables(situation, with_limits(situation, base, between), between, wanted, clock)
        except KeyboardInterrupt:
            raise Interrupted(best.plan(clock.started, 0.0, clock.seed)) from None
        if isinstance(found, Draft) and not found.missed(wanted):
            best, short = min(best, found, key=lambda draft: draft.solution.objectives), between
        else:
            long = between
    return best


def _best_by_tables(
    situation: Situation, given: Formulation, limits: Mapping[str, float], wanted: Mapping[str, float], clock: _Clock
) -> Draft | _Nothing:
    """What the solver finds. Raises Interrupted on Ctrl-C with what keeps the limits `wanted`, if it does."""
    solution = solve_problem(given.problem, clock.left, clock.gap, clock.seed, strategy=clock.strategy, tell=clock.tell)
    if solution.choice is None:
        if solution.interrupted:
            raise KeyboardInterrupt
        return _Nothing(given, solution, dict(limits))
    draft = Draft(situation, given, solution, dict(limits))
    if solution.interrupted:
        raise KeyboardInterrupt if draft.missed(wanted) else Interrupted(draft.plan(clock.started, 0.0, clock.seed))
    return draft


def limits_asked(situation: Situation) -> dict[str, float]:
    """Seconds, by the name of the limit."""
    return {limit.name: limit.seconds for limit in path_limits(situation.app.value)}


def _no_plan(situation: Situation, nothing: _Nothing, clock: _Clock, proofs: bool) -> Plan:
    problem = nothing.given.problem
    conflict: tuple[Conflict, ...] = ()
    if proofs and nothing.solution.status == "infeasible":
        found = minimal_conflict(problem, max(1.0, clock.left), clock.seed)
        if found is None:
            raise no_option(situation, problem)
        named = [problem.constraints[i] for i in found]
        conflict = tuple(Conflict(name=c.name, file=c.file, line=c.line) for c in named)
    return Plan(
        application=situation.app.value.name,
        status=nothing.solution.status,
        seconds=time.perf_counter() - clock.started,
        tightened=in_ms(nothing.limits),
        conflict=conflict,
        inputs=inputs_of(situation, None),
    )


def with_options(given: Formulation, keep: Callable[[Step, Option], bool]) -> Formulation:
    """`given` with the options that `keep` leaves."""
    scenarios = tuple(
        replace(
            s, steps=tuple(replace(step, options=tuple(o for o in step.options if keep(step, o))) for step in s.steps)
        )
        for s in given.problem.scenarios
    )
    return replace(given, problem=replace(given.problem, scenarios=scenarios))

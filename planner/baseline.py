"""Plans that put everything on one tier, or cut no model: what the plan is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from planner.formulation import Formulation
from planner.plan import NO_LIMITS, limits_asked, solve, with_options
from planner.situation import Situation
from specs.errors import AnswerIsNo, NotKnown
from specs.plan import Plan

LONGER: Final = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Where no plan keeps the time limits, these times as long are tried."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The best plan with all components on `tier`. `plan` is None where they cannot run there at all, for `reason`."""

    tier: str
    plan: Plan | None
    reason: str = ""


def baselines(situation: Situation, *, time_limit: float = 30.0, seed: int = 0) -> tuple[Baseline, ...]:
    """One for each tier, as declared. Of an infeasible one, the plan's conflict names what cannot hold together."""
    infra = situation.infra.value
    found: list[Baseline] = []
    for tier in dict.fromkeys(site.tier for site in infra.sites.values()):
        sites = frozenset(i for i, site in enumerate(infra.sites.values()) if site.tier == tier)

        def only(given: Formulation, sites: frozenset[int] = sites) -> Formulation:
            return with_options(given, lambda _, option: option.site in sites)

        try:
            found.append(Baseline(tier, solve(situation, time_limit=time_limit, seed=seed, restrict=only)))
        except AnswerIsNo as error:
            found.append(Baseline(tier, None, str(error)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Restricted:
    """The best plan that cuts no model, or encodes nothing, under limits of time `longer` times the user's."""

    plan: Plan
    longer: float


def undivided(
    situation: Situation, *, time_limit: float = 30.0, seed: int = 0, corrected: Mapping[str, float] = NO_LIMITS
) -> Restricted | None:
    """None where there is no plan without a cut, however long it may take (up to `LONGER`). `corrected` are limits as
    in `solve`."""
    return _best(situation, _whole, time_limit, seed, corrected)


def unencoded(
    situation: Situation, *, time_limit: float = 30.0, seed: int = 0, corrected: Mapping[str, float] = NO_LIMITS
) -> Restricted | None:
    """As `undivided`, the best plan whose cuts nothing encodes."""
    return _best(situation, without_codecs, time_limit, seed, corrected)


def _best(
    situation: Situation,
    restrict: Callable[[Formulation], Formulation],
    time_limit: float,
    seed: int,
    corrected: Mapping[str, float],
) -> Restricted | None:
    limits = limits_asked(situation) | dict(corrected)
    for longer in LONGER if limits else LONGER[:1]:
        wanted = corrected if longer == 1.0 else {name: longer * limit for name, limit in limits.items()}
        try:
            found = solve(
                situation, time_limit=time_limit, seed=seed, restrict=restrict, corrected=wanted, proofs=False
            )
        except (AnswerIsNo, NotKnown):
            return None
        if found.assignments:
            return Restricted(found, longer)
    return None


def without_codecs(given: Formulation) -> Formulation:
    """`given` without options where a codec encodes something."""
    scenarios = [
        replace(s, steps=tuple(replace(step, options=()) for step in s.steps)) if p.behaviour.encoded else s
        for s, p in zip(given.problem.scenarios, given.scenarios, strict=True)
    ]
    return replace(given, problem=replace(given.problem, scenarios=tuple(scenarios)))


def _whole(given: Formulation) -> Formulation:
    """`given` with options for whole components only."""
    return with_options(given, lambda step, option: (option.first, option.last) == (0, step.tasks - 1))

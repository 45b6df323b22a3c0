"""Plans that put everything on one tier: what the plan is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from planner.formulation import Formulation
from planner.plan import solve, without_options
from planner.situation import Situation
from specs.errors import AnswerIsNo
from specs.plan import Plan


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
            return without_options(given, sites)

        try:
            found.append(Baseline(tier, solve(situation, time_limit=time_limit, seed=seed, restrict=only)))
        except AnswerIsNo as error:
            found.append(Baseline(tier, None, str(error)))
    return tuple(found)

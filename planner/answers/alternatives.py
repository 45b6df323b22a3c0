"""What runs where when a site is gone: the plans without each site, for failover.

The site's devices are gone; its links carry on. A plan without a site keeps all constraints of the application.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from planner.plan import solve
from planner.situation import Situation
from specs.errors import AnswerIsNo, NotKnown
from specs.plan import Plan


def alternatives(
    situation: Situation, plan: Plan, time_limit: float, seed: int = 0
) -> Iterator[tuple[str, Plan | None]]:
    """For each site that `plan` uses, in order, the best plan without it; None where none keeps all constraints, or
    none was found within `time_limit` seconds.
    """
    for site in dict.fromkeys(a.site for a in plan.assignments):
        try:
            found = solve(without_site(situation, site), time_limit=time_limit, seed=seed, proofs=False)
        except (AnswerIsNo, NotKnown):
            yield site, None
        else:
            yield site, found if found.status in ("optimal", "feasible") else None


def without_site(situation: Situation, site: str) -> Situation:
    """`situation` in which nothing can run at `site`. Its documents keep their digests, for it is the same plan's."""
    infra = situation.infra.value
    spec = infra.sites[site]
    pools = {name: pool.model_copy(update={"devices": (0, 0)}) for name, pool in spec.pools.items()}
    sites = {**infra.sites, site: spec.model_copy(update={"pools": pools})}
    return replace(situation, infra=replace(situation.infra, value=infra.model_copy(update={"sites": sites})))

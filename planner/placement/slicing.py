"""The slice that a run executes: which members take part, how much each asks, and what stands for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from planner.placement.demand import Demand, full_rate
from planner.placement.layout import plan_layout
from planner.situation import Situation
from specs.errors import InputError, Issue
from specs.plan import Plan
from specs.run_result import Slice


def default_slice(
    situation: Situation,
    plan: Plan,
    members: Mapping[str, int] | None = None,
    multiplier: float = 1.0,
    requests: int = 300,
    seed: int = 1,
) -> Slice:
    """`members` of each class take part (1 where it is not said), each asking `multiplier` times its peak.

    `background` at a site is the requests a second that one chosen member of it lacks to reach its full peak:
    max(0, full - what the chosen members send through it). Raises InputError for a class that is not there, for more
    members than there are, and for a plan that places nothing.
    """
    infra = situation.infra
    given = dict(members or {})
    for site, count in given.items():
        if site not in infra.value.sites:
            raise InputError(Issue(f"unknown site {site!r} in the slice; there are {', '.join(infra.value.sites)}"))
        if not 1 <= count <= infra.value.members(site):
            raise InputError(
                Issue(f"the slice asks for {count} members of {site}, which has {infra.value.members(site)}")
            )
    layout = plan_layout(situation, plan)
    used = {stage.assignment.site for stage in layout.stages} | {
        site for flow in situation.flows for site in (flow.site, *flow.ends)
    }
    used |= {
        site for of in layout.flows for leg in of.legs for p in leg.route for site in infra.value.links[p.link].between
    }
    chosen = {site: given.get(site, 1) for site in infra.value.sites if site in used or site in given}
    part = Slice(members=chosen, multiplier=multiplier, requests=requests, seed=seed)
    demand = Demand(situation, part)
    background: dict[str, float] = {}
    for site in chosen:
        flows = [f for f in situation.flows if situation.network.settled(f.site, site)]
        full = sum(full_rate(situation, f, site) for f in flows)
        left_out = full - sum(demand.chosen_rate(f, site) for f in flows)
        if left_out > 1e-12:
            background[site] = left_out
    return Slice(members=chosen, multiplier=multiplier, background=background, requests=requests, seed=seed)

"""How many requests a second reach one member of a site: at the full peak, or in a slice."""

from __future__ import annotations

from dataclasses import dataclass

from planner.inputs.flows import Flow
from planner.situation import Situation
from specs.errors import InputError, Issue
from specs.run_result import Slice


@dataclass(frozen=True)
class Demand:
    """Rates are of the flow's whole requests; what share of them runs a stage is the pipeline's matter.

    In a slice, the first members of each class take part and each asks `multiplier` times its peak; what the slice says
    of background at a site is divided among flows as their left-out requests are.
    """

    situation: Situation
    part: Slice | None = None

    def at(self, flow: Flow, site: str) -> float:
        """Requests a second of `flow` at one member of `site` (the first, which is the busiest one of a slice)."""
        full = full_rate(self.situation, flow, site)
        if self.part is None:
            return full
        own = self.chosen_rate(flow, site)
        background = self.part.background.get(site, 0.0)
        left_out = {f.name: max(0.0, self._full(f, site) - self.chosen_rate(f, site)) for f in self._through(site)}
        total = sum(left_out.values())
        if background <= 0:
            return own
        return own + background * (left_out[flow.name] / total if total > 0 else 1 / len(left_out))

    def asking(self, flow: Flow) -> int:
        """How many members of the flow's class send requests of their own."""
        return flow.members if self.part is None else self.part.members.get(flow.site, 1)

    def total(self, flow: Flow) -> float:
        """Requests a second of all members that send requests of their own."""
        return flow.peak * self.asking(flow) * (1.0 if self.part is None else self.part.multiplier)

    def chosen_rate(self, flow: Flow, site: str) -> float:
        """What the chosen members of the slice send through one member of `site`."""
        assert self.part is not None
        taking_part = self.part.members.get(flow.site, 1)
        infra = self.situation.infra.value
        if not 0 <= taking_part <= flow.members:
            raise InputError(
                Issue(f"the slice asks for {taking_part} members of {flow.site}, which has {flow.members}")
            )
        each = max(1, flow.members // infra.members(site))
        return flow.peak * self.part.multiplier * min(taking_part, each)

    def _full(self, flow: Flow, site: str) -> float:
        return full_rate(self.situation, flow, site)

    def _through(self, site: str) -> list[Flow]:
        return [f for f in self.situation.flows if self.situation.network.settled(f.site, site)]


def full_rate(situation: Situation, flow: Flow, site: str) -> float:
    """Requests a second of `flow` at one member of `site` at the peak."""
    return flow.peak * flow.members / situation.infra.value.members(site)

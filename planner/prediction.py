"""What the planner says of a slice, before it runs."""

from __future__ import annotations

from planner.demand import Demand
from planner.latency import Latency
from planner.layout import plan_layout
from planner.situation import Situation
from specs.plan import Plan
from specs.run_result import Prediction, Slice


def predict(situation: Situation, plan: Plan, part: Slice) -> Prediction:
    """Latency by path and by stage when `plan` serves the slice `part`, under the same discipline as in solving.

    Raises InputError, naming the stage or link, where the slice overloads a queue, and for a plan that places nothing.
    """
    latency = Latency(plan_layout(situation, plan), Demand(situation, part))
    return Prediction(plan=plan.digest, slice=part, paths=latency.paths(), stages=latency.stages())

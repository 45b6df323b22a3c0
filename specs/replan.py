"""The answer of `planner replan`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.base import Spec
from specs.diff import PlacementChange, PlanDifference, Side
from specs.plan import Percentiles
from specs.quantities import Number


class ObservedStage(Spec):
    """A stage of the old plan as a run measured its service, beside its profile; `ratio` is of the means.

    `promoted`: it counts instead of the profile. Where it does not, `reason` says why.
    """

    name: str
    site: str
    run: str
    n: int
    profiled: Percentiles | None = None
    measured: Percentiles
    ratio: Number | None = None
    promoted: bool
    reason: str = ""


class ReplanResult(Spec):
    """`planner replan`: what was observed, the plan for it, and what differs from the old plan.

    `not_made` are moves, against the new plan, that the records alone ask for, but only because what they move to was
    not observed. Not `certain`: were what did not run off by as much as what did, nothing would keep all constraints.
    `left_out` says of files why they told nothing. `plan_file` and `profiles` are what was written.
    """

    schema_: Literal["tierplan.replan/v1"] = Field(alias="schema", default="tierplan.replan/v1")
    old: Side
    new: Side
    observed: tuple[ObservedStage, ...] = ()
    left_out: dict[str, str] = Field(default_factory=dict)
    difference: PlanDifference
    not_made: tuple[PlacementChange, ...] = ()
    certain: bool = True
    plan_file: str = ""
    profiles: str = ""

"""The critical path: of each path constraint, the way through stages and transfers that takes longest on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.placement.layout import FlowLayout, Stage, plan_layout
from planner.placement.pipeline import relevant
from planner.situation import Situation
from specs.plan import Plan, StagePrediction

Key = tuple[str, str, str]
"""Kind, name and site of a stage or transfer: another flow's transfer of the same name may go elsewhere."""


@dataclass(frozen=True, slots=True)
class PathPart:
    """A stage or transfer on the critical path of `constraint`: mean wait and service (ms), and its part of the sum."""

    constraint: str
    flow: str
    name: str
    kind: str
    site: str
    wait_ms: float
    service_ms: float
    part: float


def critical_path(situation: Situation, plan: Plan) -> tuple[PathPart, ...]:
    """In order, for every flow and path constraint. Joins count as their slower branch on average."""
    layout = plan_layout(situation, plan)
    times: dict[Key, StagePrediction] = {(s.kind, s.name, s.site): s for s in plan.stages}
    found: list[PathPart] = []
    for of in layout.flows:
        for name, constraint in relevant(situation, of.flow).items():
            ways = [
                _parts(of, way, times, layout.stages)
                for shape in of.pipeline.requests(constraint)
                for way in of.pipeline.paths(shape, constraint.to)
            ]
            longest = max(ways, key=lambda parts: sum(map(_mean, parts)), default=[])
            total = sum(map(_mean, longest)) or 1.0
            found += [
                PathPart(
                    name, of.flow.name, s.name, s.kind, s.site, s.wait.mean_ms, s.service.mean_ms, _mean(s) / total
                )
                for s in longest
            ]
    return tuple(found)


def _mean(stage: StagePrediction) -> float:
    return stage.wait.mean_ms + stage.service.mean_ms


def _parts(
    of: FlowLayout, way: tuple[int, ...], times: Mapping[Key, StagePrediction], stages: Sequence[Stage]
) -> list[StagePrediction]:
    """What a request passes on `way` (messages of the pipeline), each stage once; no transfer within one site."""
    legs = {(leg.message.producer, leg.message.consumer): leg for leg in of.legs}
    found: list[StagePrediction] = []
    for index in way:
        message = of.pipeline.messages[index]
        leg = legs.get((message.producer, message.consumer))
        if leg is None:
            continue  # inside one stage
        names: list[Key] = [("transfer", leg.name, f"{leg.start} -> {leg.end}")]
        if leg.consumer >= 0:
            stage = stages[leg.consumer]
            names.append(("stage", stage.name, stage.assignment.site))
        found += [times[name] for name in names if name in times]
    return found

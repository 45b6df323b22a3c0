"""Limits on paths, as tables of tails, and latency objectives, as weighted means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.formulation.meeting import Meeting
from planner.formulation.names import ConstraintTable
from planner.path_limits import path_limits
from planner.placement.pipeline import Shape
from planner.prediction.tail import tail_rows
from planner.problem import PPB, Limit, LimitShape, MeanShape, Path
from planner.situation import Situation
from specs.application import LatencyObjective, PathConstraint
from specs.errors import InputError, Issue


def limits_of(
    situation: Situation, constraints: ConstraintTable, meeting: Meeting, replaced: Mapping[str, float]
) -> tuple[Limit, ...]:
    """The limits that requests of a pipeline must keep; `replaced` gives seconds by name where the user's do not
    count."""
    pipeline = meeting.pipeline
    found: list[Limit] = []
    for limit in path_limits(situation.app.value):
        if limit.path.from_ == pipeline.flow.source:
            shapes = pipeline.ways(limit.path)
            paths = [_paths(meeting, s, limit.path.to) for s in shapes]
            tables = tables_of(shapes, paths, limit.quantile, replaced.get(limit.name, limit.seconds))
            found.append(Limit(constraints.index[limit.name], round((1 - limit.quantile) * PPB), tables))
    return tuple(found)


def tables_of(
    shapes: Sequence[Shape], paths: Sequence[tuple[Path, ...]], q: float, seconds: float
) -> tuple[LimitShape, ...]:
    """For each branch pattern its paths, and what they may take so that the quantile `q` of all keeps a limit."""
    alone = len(shapes) == 1 and len(paths[0]) == 1
    rows = (tail_rows(int(seconds * 1e6 + 1e-6), 1 - q, s.probability, alone) for s in shapes)
    return tuple(LimitShape(p, r) for p, r in zip(paths, rows, strict=True))


def means_of(situation: Situation, meeting: Meeting) -> tuple[tuple[MeanShape, ...], ...]:
    """For each latency objective, a pipeline's part of it. Weights are parts per million of all requests of the
    objective, over flows and branch patterns. Raises InputError where an objective names no path."""
    app = situation.app
    found: list[tuple[MeanShape, ...]] = []
    for term in app.value.objective:
        if isinstance(term, LatencyObjective):
            constraint = app.value.constraints.get(term.latency)
            if not isinstance(constraint, PathConstraint):
                message = f"objective latency: {term.latency!r} is not a path constraint"
                raise InputError(Issue(message, app.place("objective")))
            found.append(_mean_shapes(situation, meeting, constraint))
    return tuple(found)


def _mean_shapes(situation: Situation, meeting: Meeting, constraint: PathConstraint) -> tuple[MeanShape, ...]:
    pipeline, flow = meeting.pipeline, meeting.pipeline.flow
    if constraint.from_ != flow.source:
        return ()
    # Each member of a source asks at the same rate, so that members weigh; a mean rate may be 0.
    part = flow.members / sum(f.members for f in situation.flows if f.source == flow.source)
    return tuple(
        MeanShape(round(part * s.probability * 1e6), _paths(meeting, s, constraint.to))
        for s in pipeline.ways(constraint)
    )


def _paths(meeting: Meeting, shape: Shape, to: str) -> tuple[Path, ...]:
    pipeline, order = meeting.pipeline, meeting.pipeline.flow.components
    found: list[Path] = []
    for way in pipeline.paths(shape, to):
        names = dict.fromkeys(pipeline.messages[i].consumer.name for i in way)
        passed = [n for n in names if n in order]
        found.append(Path(tuple(order.index(n) for n in passed), way, meeting.beside(shape, passed)))
    return tuple(found)

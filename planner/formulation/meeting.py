"""Branches of one request that one executor may serve: it serves them one after the other.

An executor is busy with each of a request's stages once. So a way through stages is longer by at most the stages beside
it (neither before nor behind one of its own) on executors that serve its own; a stage's wait is counted with it, since
what is served in one go makes others wait longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.formulation.pools import PoolTable
from planner.formulation.stations import StationKey
from planner.placement.pipeline import Pipeline, Shape
from planner.problem import Beside, Step


@dataclass(frozen=True)
class Meeting:
    """Of one pipeline: `shared` are pairs of components (in both orders) with options in one `time` pool."""

    pipeline: Pipeline
    shared: frozenset[tuple[str, str]]

    def beside(self, shape: Shape, way: Sequence[str]) -> tuple[Beside, ...]:
        """What may lengthen the way through the components `way` of requests of `shape`."""
        if not self.shared:
            return ()
        order = self.pipeline.flow.components
        before = _before(self.pipeline, shape)
        found: list[Beside] = []
        for name in (c for c in order if c in shape.runs and c not in way):
            of = [w for w in way if (w, name) in self.shared and w not in before[name] and name not in before[w]]
            if of:
                found.append(Beside(order.index(name), tuple(sorted(order.index(w) for w in of))))
        return tuple(found)


def meeting_of(pipeline: Pipeline, steps: Sequence[Step], keys: Sequence[StationKey], pools: PoolTable) -> Meeting:
    """`steps` are those of the pipeline, whose stations stand for `keys`."""
    where = {step.name: set(_executors(step, keys, pools)) for step in steps}
    pairs = ((a, b) for a in where for b in where if a != b and where[a] & where[b])
    return Meeting(pipeline, frozenset(pairs))


def _executors(step: Step, keys: Sequence[StationKey], pools: PoolTable) -> Iterable[tuple[str, str]]:
    for key in (keys[option.station] for option in step.options):
        if pools.at(key.site, key.pool).sharing == "time":
            yield key.site, key.pool


def _before(pipeline: Pipeline, shape: Shape) -> dict[str, set[str]]:
    """By component that runs, those that it waits for, at once or by way of others."""
    live = [pipeline.messages[i] for i in pipeline.live(shape)]
    found: dict[str, set[str]] = {}
    for name in (c for c in pipeline.situation.graph.order if c in shape.runs):
        into = {m.producer.name for m in live if m.consumer.name == name} & set(found)
        found[name] = into.union(*(found[p] for p in into))
    return found

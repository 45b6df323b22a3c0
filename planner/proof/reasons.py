"""Why a placement misses a limit, so that all placements can be ruled out of which the same is true.

If the stages of some uses and the messages between them already take too long, although nothing waits and all else
takes no time, then so does every placement with uses at the same sites that are no faster. Of a path of independent
times that holds exactly; a request is no sooner than any of its paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from planner.draft import Draft
from planner.formulation import Formulation
from planner.path_limits import path_limits
from planner.placement.layout import FlowLayout, Leg
from planner.placement.pipeline import Shape
from planner.prediction.distribution import Grid, Reals, Transform, from_quantiles
from planner.prediction.latency import Latency
from planner.proof.no_goods import NoGood, Use
from planner.situation import Situation
from planner.solver import Choice

CLEAR: Final = 1.003
"""Only a limit that is missed by this factor counts: grids are so coarse that less is not certain."""
STEPS: Final = 1024
"""Of a limit on the grid. Sums that are longer than the grid count as short, which is on the safe side."""


@dataclass(frozen=True)
class Reasons:
    """Reasons for placements of `given`, with the limits `wanted` (seconds, by name)."""

    situation: Situation
    given: Formulation
    wanted: Mapping[str, float]

    def no_goods(self, draft: Draft) -> list[NoGood]:
        """A no-good for each flow of `draft` that misses a limit for such a reason."""
        flows = enumerate(draft.layout.flows)
        times = (_Times(self.given, draft.latency, of, draft.choice, f) for f, of in flows)
        return [no_good for each in times if (no_good := self._no_good(each))]

    def exactly(self, choice: Choice, missed: Mapping[str, float]) -> NoGood:
        """The no-good that rules out the options of `choice`, all together, for missing those limits."""
        uses = (
            (s, i, o)
            for s, of in zip(choice.scenarios, choice.options, strict=True)
            for i, picked in enumerate(of)
            for o in picked
        )
        worst = max(missed, key=lambda name: missed[name])
        return NoGood(self._index(worst), tuple(frozenset([use]) for use in uses))

    def _no_good(self, times: _Times) -> NoGood | None:
        """As few uses of a flow as miss a limit together, each with as many like it as do."""
        ways = {use: use for use in times.stages}
        name = self._missed(times, ways)
        if name is None:
            return None
        for use in reversed(times.stages):
            fewer = {other: way for other, way in ways.items() if other != use}
            if fewer and (still := self._missed(times, fewer)):
                ways, name = fewer, still
        for use in ways:
            for way in sorted(self._alike(use), key=lambda way: (self._values(way).mean(), way)):
                if self._is_no_faster(use, way) and (still := self._missed(times, ways | {use: way})):
                    ways, name = ways | {use: way}, still
                    break
        return NoGood(self._index(name), tuple(self._no_faster(way) for way in ways.values()))

    def _missed(self, times: _Times, ways: Mapping[Use, Use]) -> str | None:
        """The first limit that is clearly missed by those uses, run in those ways, and the messages between them."""
        of = times.of
        for each in path_limits(self.situation.app.value):
            if each.path.from_ == of.flow.source:
                limit = self.wanted[each.name] * CLEAR
                shapes = of.pipeline.requests(each.path)
                late = sum(s.probability * times.late(s, each.path.to, ways, limit, self._values) for s in shapes)
                if late > (1 - each.quantile) * CLEAR:
                    return each.name
        return None

    def _index(self, name: str) -> int:
        return next(i for i, c in enumerate(self.given.problem.constraints) if c.name == name)

    # Ways to run a stage at one site

    def _no_faster(self, use: Use) -> frozenset[Use]:
        return frozenset(other for other in self._alike(use) if self._is_no_faster(other, use))

    def _alike(self, use: Use) -> Iterator[Use]:
        """The uses for the same tasks at the same site."""
        s, i, o = use
        options = self.given.problem.scenarios[s].steps[i].options
        place = (options[o].site, options[o].first, options[o].last)
        return ((s, i, k) for k, each in enumerate(options) if (each.site, each.first, each.last) == place)

    def _is_no_faster(self, one: Use, other: Use) -> bool:
        """In every quantile."""
        return bool(np.all(self._values(one) >= self._values(other) - 1e-12))

    def _values(self, use: Use) -> Reals:
        s, i, o = use
        station = self.given.problem.scenarios[s].steps[i].options[o].station
        if station not in self._known:
            latency = self.given.stations[station].record.service
            self._known[station] = from_quantiles(latency.points(), latency.mean)
        return self._known[station]

    @cached_property
    def _known(self) -> dict[int, Reals]:
        return {}


@dataclass(frozen=True)
class _Times:
    """The times of one flow's stages and messages where nothing waits, as transforms by limit."""

    given: Formulation
    latency: Latency
    of: FlowLayout
    choice: Choice
    flow: int
    known: dict[tuple[float, Leg | Use, tuple[tuple[str, int], ...]], Transform] = field(default_factory=dict)

    @cached_property
    def stages(self) -> dict[Use, int]:
        """The stage of each use, in the order of components and of their segments."""
        s = self.choice.scenarios[self.flow]
        steps = self.given.problem.scenarios[s].steps
        uses = [
            (s, i, o)
            for i, picked in enumerate(self.choice.options[self.flow])
            for o in sorted(picked, key=lambda o: steps[i].options[o].first)
        ]
        return dict(zip(uses, self.of.stages, strict=True))

    def late(
        self, shape: Shape, to: str, ways: Mapping[Use, Use], limit: float, service: Callable[[Use], Reals]
    ) -> float:
        """At least so likely is a request of `shape` later than `limit` at `to`."""
        grid = Grid(limit / STEPS, 4 * STEPS)
        stages = {self.stages[use]: way for use, way in ways.items()}

        def transform(part: Leg | Use) -> Transform:
            key = (grid.step, part, shape.items if isinstance(part, Leg) else ())  # stacks have a request's own items
            if key not in self.known:
                timings = self.latency.timings
                values = timings.leg(self.of, part, shape).parts if isinstance(part, Leg) else (service(part),)
                self.known[key] = _sum(grid, values)
            return self.known[key]

        return max((_late(grid, map(transform, parts)) for parts in self._passed(shape, to, stages)), default=0.0)

    def _passed(self, shape: Shape, to: str, given: Mapping[int, Use]) -> set[frozenset[Leg | Use]]:
        """What a request passes on each way to `to`: of the given stages, and of the messages between them.

        A stage with items takes one service at least, one without takes no time.
        """
        components = [stage.assignment.component for stage in self.latency.layout.stages]
        stages = {stage: use for stage, use in given.items() if shape.times(components[stage])}
        legs = {leg.message: leg for leg in self.of.legs}
        ends = {-1, -2, *given}
        found: set[frozenset[Leg | Use]] = set()
        for way in self.of.pipeline.paths(shape, to):
            passed = [legs[m] for m in (self.of.pipeline.messages[i] for i in way) if m in legs]
            between = {leg for leg in passed if leg.route and {leg.producer, leg.consumer} <= ends}
            found.add(frozenset(between) | {stages[leg.consumer] for leg in passed if leg.consumer in stages})
        return found


def _sum(grid: Grid, values: Iterable[Reals]) -> Transform:
    total = np.ones(grid.size + 1, dtype=np.complex128)
    for each in values:
        total = total * grid.transform(np.minimum(each, grid.step * (STEPS + 2)))
    return total


def _late(grid: Grid, times: Iterable[Transform]) -> float:
    """How likely the sum of the times is longer than `STEPS`."""
    total = np.ones(grid.size + 1, dtype=np.complex128)
    for each in times:
        total = total * each
    return float(1 - np.fft.irfft(total, 2 * grid.size)[: STEPS + 1].sum())

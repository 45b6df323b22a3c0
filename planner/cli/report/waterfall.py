"""The latency waterfall: when stages and transfers begin and end, as predicted and, with a run, as measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specs.plan import Plan, StagePrediction
from specs.run_result import RunResult

ARROW = " -> "
"""Between the two ends in a transfer's name."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Milliseconds: where a stage begins at the mean, its mean wait and service."""

    start: float
    wait: float
    service: float

    @property
    def end(self) -> float:
        return self.start + self.wait + self.service


@dataclass(frozen=True, slots=True)
class Row:
    stage: StagePrediction
    predicted: Bar
    measured: Bar | None


@dataclass(frozen=True, slots=True)
class Waterfall:
    """`scale` is the milliseconds that the whole width stands for; `ticks` are round numbers of them."""

    rows: tuple[Row, ...]
    scale: float
    ticks: tuple[float, ...]


def draw_waterfall(plan: Plan, run: RunResult | None, edges: Sequence[tuple[str, str]] = ()) -> Waterfall:
    """Rows by when they begin, as for a request that takes every stage; means, since only means add up.

    `edges` are (producer, consumer) by stage name: a stage begins when the last value that it needs is there. Without
    them rows follow one another.
    """
    happened_in = run.stages if run else ()
    seen: dict[_Key, tuple[float, float]] = {
        (s.kind, s.name, s.site): (s.wait_measured.mean_ms, s.service_measured.mean_ms) for s in happened_in if s.n
    }
    planned: dict[_Key, tuple[float, float]] = {_key(s): (s.wait.mean_ms, s.service.mean_ms) for s in plan.stages}
    # With a run, what was predicted for exactly its slice stands beside what it measured.
    planned |= {
        (s.kind, s.name, s.site): (s.wait_predicted.mean_ms, s.service_predicted.mean_ms)
        for s in happened_in
        if (s.kind, s.name, s.site) in planned
    }
    predicted = _schedule(plan.stages, planned, edges)
    happened = _schedule([s for s in plan.stages if _key(s) in seen], seen, edges)
    # In the order in which they begin; sorting is stable, so that equals stay in the plan's order.
    ordered = sorted(plan.stages, key=lambda s: (predicted[_key(s)].start, predicted[_key(s)].end))
    rows = tuple(Row(s, predicted[_key(s)], happened.get(_key(s))) for s in ordered)
    scale = 1.02 * max([1e-6, *(bar.end for bar in (*predicted.values(), *happened.values()))])
    return Waterfall(rows, scale, _ticks(scale))


_Key = tuple[str, str, str]


def _key(stage: StagePrediction) -> _Key:
    return stage.kind, stage.name, stage.site


def _schedule(
    stages: Sequence[StagePrediction], times: Mapping[_Key, tuple[float, float]], edges: Sequence[tuple[str, str]]
) -> dict[_Key, Bar]:
    """When each of `stages` begins and ends, given (wait, service) of each."""
    by_name: dict[str, list[_Key]] = {}
    for stage in stages:
        by_name.setdefault(stage.name, []).append(_key(stage))
    producers: dict[str, list[str]] = {}
    for producer, consumer in edges:
        producers.setdefault(consumer, []).append(producer)
    ends: dict[str, float] = {}

    def end(name: str) -> float:
        """When `name` is done; a source is at once. The application is a DAG, so this ends."""
        if name not in ends:
            longest = max((sum(times[key]) for key in by_name.get(name, [])), default=0.0)
            ends[name] = start(name) + longest
        return ends[name]

    def start(name: str) -> float:
        before, arrow, _ = name.partition(ARROW)
        if arrow:
            return end(before)
        needed = (f"{p}{ARROW}{name}" if f"{p}{ARROW}{name}" in by_name else p for p in producers.get(name, []))
        return max((end(need) for need in needed), default=0.0)

    bars: dict[_Key, Bar] = {}
    last = 0.0
    for stage in stages:
        bars[_key(stage)] = bar = Bar(start(stage.name) if edges else last, *times[_key(stage)])
        last = bar.end
    return bars


def _ticks(scale: float) -> tuple[float, ...]:
    step = 10.0**-6
    while scale / step > 8:
        for factor in (2.0, 2.5, 2.0):
            if scale / step > 8:
                step *= factor
    return tuple(i * step for i in range(int(scale / step) + 1))

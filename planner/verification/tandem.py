"""Servers that get only what leaves one other: many such rows are played side by side, step by step.

A server at which all requests come straight from one other hardly makes them wait if it is not slower. Each step lets
one request into every row; what is kept comes late enough to find queues as they are for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import networkx
import numpy as np
from numpy.typing import NDArray

from planner.verification.capacity import HIGHEST_LOAD
from planner.verification.meeting import awaited
from planner.verification.reading import Pattern, Reading

Sample = NDArray[np.float64]
ROWS: Final = 4_000
KEPT: Final = 100
"""Steps of which the waits are kept."""
APART: Final = 0.2
"""So far apart, times 1 / (1 - load)^2: waits of requests that follow one another are alike."""
PATIENCE: Final = 30
"""Steps before, times 1 / (1 - load)^2."""
FEW: Final = 1_000
"""Of a pattern with fewer requests played it is not said how their waits go together."""


@dataclass(frozen=True)
class Coming:
    """Requests of one pattern: how many come a second, and what each queue does: by stage equally likely times."""

    flow: str
    way: Pattern
    rate: float
    times: Mapping[str, Mapping[int, Sample]]

    def mean(self, queue: str) -> float:
        return sum(float(times.mean()) for times in self.times.get(queue, {}).values())


@dataclass(frozen=True)
class PlayedRow:
    """Request by request, waits by queue and times by stage (not a number: not there), and which pattern it has."""

    feeders: Mapping[str, str | None]
    coming: Sequence[Coming]
    waits: Mapping[str, Sample]
    took: Mapping[int, Sample]
    patterns: NDArray[np.int64]

    def all_at(self, queue: str) -> Sample:
        waits = self.waits[queue]
        return waits[~np.isnan(waits)]

    def of(self, flow: str, way: Pattern) -> dict[int, Sample]:
        """Of requests of one pattern, by stage the time with the wait before it, those of one request at one index;
        nothing of hardly any request."""
        number = next(i for i, c in enumerate(self.coming) if (c.flow, c.way) == (flow, way))
        mine = self.patterns == number
        found: dict[int, Sample] = {}
        for queue, stages in self.coming[number].times.items() if mine.sum() >= FEW else ():
            for place, stage in enumerate(stages):
                found[stage] = self.took[stage][mine] + (self.waits[queue][mine] if place == 0 else 0.0)
        return found


def play_row(feeders: Mapping[str, str | None], coming: Sequence[Coming], random: np.random.Generator) -> PlayedRow:
    """`feeders` has each queue after the one that feeds it. Waits of one that is too busy for a plan are too short."""
    rates = np.array([c.rate for c in coming])
    busiest = max(sum(c.rate * c.mean(queue) for c in coming) for queue in feeders)
    slowly = 1 / (1 - min(busiest, HIGHEST_LOAD)) ** 2  # busier ones are refused anyway
    before = int(PATIENCE * slowly)
    apart = 1 + int(APART * slowly)
    tables = {queue: _tables(queue, coming) for queue in feeders}
    clock = np.zeros(ROWS)
    free = {q: np.zeros(ROWS) for q in feeders}
    waits: dict[str, list[Sample]] = {q: [] for q in feeders}
    took: dict[int, list[Sample]] = {stage: [] for table in tables.values() for stage in table}
    patterns: list[NDArray[np.int64]] = []
    for step in range(before + KEPT * apart):
        kept = step >= before and (step - before) % apart == 0
        clock = clock + random.exponential(1 / rates.sum(), ROWS)
        pattern = random.choice(len(rates), ROWS, p=rates / rates.sum())
        done: dict[str | None, Sample] = {None: clock}
        for queue, feeder in feeders.items():
            begun = np.maximum(done[feeder], free[queue])
            done[queue] = begun
            for stage, table in tables[queue].items():
                time = table[pattern, random.integers(table.shape[1], size=ROWS)]
                done[queue] = done[queue] + np.nan_to_num(time)
                if kept:
                    took[stage].append(time)
            there = np.isin(pattern, [i for i, c in enumerate(coming) if queue in c.times])
            done[queue] = np.where(there, done[queue], np.nan)
            free[queue] = np.where(there, done[queue], free[queue])
            if kept:
                waits[queue].append(np.where(there, begun - done[feeder], np.nan))
        if kept:
            patterns.append(pattern)
    waited = {q: np.concatenate(w) for q, w in waits.items()}
    served = {stage: np.concatenate(t) for stage, t in took.items()}
    return PlayedRow(feeders, coming, waited, served, np.concatenate(patterns))


def _tables(queue: str, coming: Sequence[Coming]) -> dict[int, Sample]:
    """By stage that a queue serves, a row of equally likely times for each pattern; not a number where it has none."""
    stages = {stage: len(times) for c in coming for stage, times in c.times.get(queue, {}).items()}
    return {
        stage: np.array([c.times.get(queue, {}).get(stage, np.full(size, np.nan)) for c in coming])
        for stage, size in stages.items()
    }


def feeders_of(reading: Reading, met: frozenset[str]) -> dict[str, str | None]:
    """Of each queue of one server the only one from which requests come to it, on the spot; else None.

    Without queues on which branches of a request meet, `met`, or to which it returns.
    """
    sources: dict[str, set[str | None]] = {}
    left_out = set(met)
    for flow in reading.flows:
        for way in reading.patterns(flow):
            visits = reading.visits(flow, way)
            queues = [reading.queue_of(visit[0]) for visit in visits]
            left_out |= {q for q in queues if queues.count(q) > 1 or not _single(reading, q)}
            graph: Any = networkx.DiGraph()
            for m in awaited(reading, flow, way):
                graph.add_edge(m.producer, m.consumer, near=m.start == m.end)
            for visit, queue in zip(visits, queues, strict=True):
                before = _made_ready_by(graph, visit[0])
                ended = [q for v, q in zip(visits, queues, strict=True) if v[-1] == before]
                sources.setdefault(queue, set()).add(ended[0] if ended else None)
    found: dict[str, str | None] = {}
    todo = {q: (s.copy().pop() if len(s) == 1 else None) for q, s in sources.items() if q not in left_out}
    while todo:
        ready = [q for q, feeder in todo.items() if feeder not in todo]
        for queue in ready:
            feeder = todo.pop(queue)
            found[queue] = feeder if feeder in found else None
    return found


def _single(reading: Reading, queue: str) -> bool:
    return reading.servers(queue) == 1 and reading.batch(queue).batch == 1 and reading.devices(queue) == 1


def _made_ready_by(graph: Any, stage: int) -> int | str | None:
    """The stage whose end makes another ready, since all else that it takes was there before; None: there is none."""
    into = list(graph.predecessors(stage))
    last: list[int | str] = [p for p in into if not any(p in networkx.ancestors(graph, other) for other in into)]
    if len(last) != 1 or not all(graph.edges[p, stage]["near"] for p in into):
        return None
    return last[0]

"""From what was played to figures: percentiles of paths and stages, and how sure they are."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Final, Literal

import numpy as np

from planner.placement.layout import FlowLayout, Layout
from planner.placement.pipeline import paths_asked
from planner.prediction.distribution import Reals
from planner.simulation.play import Played, Simulated
from specs.application import PathConstraint
from specs.plan import Percentiles

Kind = Literal["stage", "transfer"]

BATCHES: Final = 20
STUDENT: Final = 2.093
"""Of Student's distribution with 19 degrees of freedom: a two-sided interval of 95 %."""


def percentiles(seconds: Reals) -> Percentiles:
    """In milliseconds; all zero where there is nothing."""
    if not len(seconds):
        return Percentiles(p50_ms=0, p95_ms=0, p99_ms=0, mean_ms=0)
    ms = seconds * 1e3
    p50, p95, p99 = (float(q) for q in np.quantile(ms, (0.5, 0.95, 0.99)))
    return Percentiles(p50_ms=p50, p95_ms=p95, p99_ms=p99, mean_ms=float(ms.mean()))


def half_width(seconds: Reals, level: float) -> float | None:
    """Half of the 95 % confidence interval of a quantile, by batch means: waits that follow one another are alike.

    None where a batch would hold fewer than ten times above the quantile.
    """
    if len(seconds) * min(level, 1 - level) < 10 * BATCHES:
        return None
    found = [float(np.quantile(part, level)) for part in np.array_split(seconds, BATCHES)]
    return STUDENT * float(np.std(found, ddof=1)) / sqrt(BATCHES)


def asked(layout: Layout, of: FlowLayout) -> Iterator[tuple[PathConstraint, list[int]]]:
    """Each path asked of the flow that some request takes, and each sink that none speaks of.

    With the numbers of the branch patterns whose requests it is about.
    """
    for constraint in paths_asked(layout.situation, of.flow):
        runs = [shape.runs for shape in of.pipeline.requests(constraint)]
        if runs:
            yield constraint, [i for i, shape in enumerate(of.pipeline.shapes) if shape.runs in runs]


def stage_times(layout: Layout, played: Played) -> Iterator[tuple[Kind, str, str, Reals, Reals]]:
    """(kind, name, site, waits, services) of every stage, and of every message that crosses sites.

    Messages that flows name alike are taken of the first flow.
    """
    for index, stage in enumerate(layout.stages):
        mine = [played.flows[of.flow.name] for of in layout.flows if index in of.stages]
        yield "stage", stage.name, stage.assignment.site, *_times(mine, index)
    ways: dict[tuple[str, str], Simulated] = {}
    for of in layout.flows:
        for leg in of.legs:
            if leg.route:
                ways.setdefault((leg.name, f"{leg.start} -> {leg.end}"), played.flows[of.flow.name])
    for (name, where), flow in ways.items():
        yield "transfer", name, where, *_times([flow], name)


def _times(played: list[Simulated], what: int | str) -> tuple[Reals, Reals]:
    waits = [p.waits[what] for p in played if what in p.waits]
    services = [p.services[what] for p in played if what in p.services]
    return np.concatenate([*waits, np.zeros(0)]), np.concatenate([*services, np.zeros(0)])

"""Throughputs: how many times the peak of a flow its queues must carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from planner.formulation.numbers import sayable
from planner.problem import MILLION, Throughput
from planner.situation import Situation
from specs.application import ThroughputConstraint

WITHOUT_END: Final = 10**15
"""Parts per million of the peak, asked where throughput is an objective: replicas are there up to a pool's room."""


def throughputs_of(situation: Situation, index: Mapping[str, int]) -> tuple[Throughput, ...]:
    """Each throughput that is asked for; `index` is of constraints by name.

    Raises InputError where it is more times the peak than a Problem can say.
    """
    app = situation.app
    found: list[Throughput] = []
    for name, c in app.value.constraints.items():
        if isinstance(c, ThroughputConstraint):
            source = app.value.source_of(c)
            flows = tuple(f for f, flow in enumerate(situation.flows) if flow.source == source)
            times = max(1.0, c.throughput / app.value.sources[source].rate.peak)
            scale = sayable(times * MILLION * (1 - 1e-12), f"throughput {name}", app.place("constraints", name))
            found.append(Throughput(index[name], flows, scale))
    return tuple(found)


def most_asked(situation: Situation, throughputs: Sequence[Throughput]) -> int:
    """The most times the peak (parts per million) that any queue is asked to carry."""
    if "throughput" in situation.app.value.objective:
        return WITHOUT_END
    return max((each.scale for each in throughputs), default=MILLION)

"""Throughputs: how many times the peak of a flow its queues must carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

from planner.problem import LIMIT, MILLION, Throughput
from planner.situation import Situation
from specs.application import ThroughputConstraint
from specs.errors import InputError, Issue

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
            if times * MILLION > LIMIT:
                message = f"{name} asks for {c.throughput:.6g}/s, which is {times:.3g} times the peak of {source!r}"
                hint = f"ask for less: at most {LIMIT / MILLION:.3g} times the peak can be planned with"
                raise InputError(Issue(message, app.place("constraints", name, "throughput"), hint))
            found.append(Throughput(index[name], flows, ceil(times * MILLION * (1 - 1e-12))))
    return tuple(found)


def most_asked(situation: Situation, throughputs: Sequence[Throughput]) -> int:
    """The most times the peak (parts per million) that any queue is asked to carry."""
    if "throughput" in situation.app.value.objective:
        return WITHOUT_END
    return max((each.scale for each in throughputs), default=MILLION)

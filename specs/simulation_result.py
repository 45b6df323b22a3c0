"""What a simulation of a plan found: the figures that a run measures, and how sure they are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.base import Spec
from specs.plan import Percentiles
from specs.quantities import Number
from specs.run_result import MeasuredShare, Requests, Slice


class SimulatedPath(Spec):
    """Of the `n` answered requests that a path speaks of.

    `predicted` is by sums of distributions, for Poisson arrivals; there is none where a queue has no end. Of a refined
    plan at its full rates it is what the plan says. `interval_ms` holds the 95 % confidence interval of a percentile,
    where there are requests enough to tell.
    """

    flow: str
    from_: str = Field(alias="from")
    to: str
    over: str
    n: int
    predicted: Percentiles | None = None
    simulated: Percentiles
    interval_ms: dict[str, tuple[Number, Number]] = Field(default_factory=dict)
    limit_ms: dict[str, Number] = Field(default_factory=dict)


class SimulatedStage(Spec):
    """One stage, or one message between sites, of the `n` requests that took it."""

    name: str
    kind: Literal["stage", "transfer"]
    site: str
    n: int
    wait: Percentiles
    service: Percentiles


class SimulatedLoad(Spec):
    """The share of the time in which it is busy: on average, and the busiest of its members."""

    name: str
    load: Number
    busiest: Number


class Period(Spec):
    """Requests that start between two changes of what is down or slow. `late` are those over their longest limit."""

    since: Number
    until: Number
    faults: tuple[str, ...]
    sent: int
    answered: int
    late: int
    refused: int
    failed: int
    p50_ms: Number | None = None
    p99_ms: Number | None = None


class SimulationResult(Spec):
    """`planner simulate`: `seconds` is how long requests came; the first `warm_up` of them are not counted.

    `throughput` is answers a second, `goodput` those that keep the longest limit of each path of their flow.
    """

    schema_: Literal["tierplan.simulation/v1"] = Field(alias="schema", default="tierplan.simulation/v1")
    plan: str
    slice: Slice | None = None
    arrivals: dict[str, str]
    seed: int
    seconds: Number
    warm_up: Number
    requests: Requests
    throughput: Number
    goodput: Number
    shares: tuple[MeasuredShare, ...] = ()
    paths: tuple[SimulatedPath, ...]
    stages: tuple[SimulatedStage, ...]
    devices: tuple[SimulatedLoad, ...]
    links: tuple[SimulatedLoad, ...]
    periods: tuple[Period, ...] = ()
    elapsed: Number

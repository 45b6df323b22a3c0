"""The Plan: the solver's answer in the user's words, and all that a run needs of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from specs.artefact import Segment
from specs.base import Spec
from specs.digest import digest_value
from specs.errors import InputError, Issue, Place
from specs.kinds import another_kind
from specs.output_file import write_whole
from specs.profile import Provenance
from specs.quantities import Money, Number
from specs.refusal import refusal
from specs.yamlfile import read_yaml, yaml_text

Status = Literal["optimal", "feasible", "infeasible", "unknown"]


Many = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""A count of what is there; a plan is data and may be hostile."""


class Assignment(Spec):
    """A component (or the segments `first`..`last` of its model) runs so, for the members of these flows.

    Beside the `replicas` that serve, `standby` more are loaded and idle; in a pool that shares time, each device has
    one that serves and so many idle ones. `artefact` is the content address ("" for a function); `record` the digest of
    the profile record it rests on.
    """

    component: str
    segment: Segment
    flows: tuple[str, ...]
    members: Many
    site: str
    pool: str
    hardware: str
    variant: str
    backend: str
    threads: Many
    batch: Many = 1
    batch_wait_ms: Annotated[Number, Field(ge=0)] = 0.0
    replicas: Many
    artefact: str
    record: str
    provenance: Provenance
    standby: Many = 0

    @property
    def stage_name(self) -> str:
        """How predictions and measurements call it: the component, and which segment where its model is cut."""
        return self.component if self.segment.is_whole else f"{self.component}[{self.segment}]"


class CutOnWire(Spec):
    """A place where a model is cut between two sites. `tensors` are the model's; `bytes` are those of what `codec`
    makes of them."""

    component: str
    tensors: tuple[str, ...]
    codec: str = "none"
    bytes: Number


class DevicesBought(Spec):
    """At each member of a site: how many devices of a pool, and how busy they are at the peak (0 to 1)."""

    site: str
    pool: str
    hardware: str
    sharing: Literal["cores", "time"]
    bought: Many
    load: Number


class LinkLoad(Spec):
    """One direction of a link, at each of its instances, at the peak."""

    name: str
    direction: Literal["up", "down"]
    load: Number
    bytes_per_s: Number


class Hop(Spec):
    link: str
    direction: Literal["up", "down"]


class Route(Spec):
    """The links that a message takes between two sites, for requests that enter at one of the `origins`.

    Which sites a request can pass depends on where it entered: elsewhere it would have no member that is its own.
    """

    from_: str = Field(alias="from")
    to: str
    origins: tuple[str, ...] = Field(min_length=1)
    hops: tuple[Hop, ...]


class Percentiles(Spec):
    """Milliseconds."""

    p50_ms: Number
    p95_ms: Number
    p99_ms: Number
    mean_ms: Number


PathKey = tuple[str, str, str, str]


class OfPath(Spec):
    """What is said of one flow's way from a source to a sink, over the requests named."""

    flow: str
    from_: str = Field(alias="from")
    to: str
    over: str

    @property
    def key(self) -> PathKey:
        """What tells paths apart: flow, source, sink, and over which requests."""
        return self.flow, self.from_, self.to, self.over


class PathPrediction(OfPath):
    """The time from a source to a sink over the requests named: what is predicted, and the limits asked for."""

    predicted: Percentiles
    limit_ms: dict[str, Number] = Field(default_factory=dict)


class StagePrediction(Spec):
    """One stage's wait and service, or one edge's transfer, in milliseconds; `share` of requests that take it.

    Of a stage that runs per item, the wait is until a request's first item is served, the service that of one item, and
    the share how many items a request has on average.
    """

    name: str
    kind: Literal["stage", "transfer"]
    site: str
    wait: Percentiles
    service: Percentiles
    share: Number


class CostItem(Spec):
    name: str
    per_month: Money


class Cost(Spec):
    """Money in the infrastructure's currency. `per_1000` requests, at the mean rate."""

    currency: str
    per_hour: Money
    per_month: Money
    per_1000: Money
    items: tuple[CostItem, ...]


class EnergyItem(Spec):
    """kWh a month of the devices of a pool: what they take when idle, and beyond that."""

    site: str
    pool: str
    idle: Number
    busy: Number


class Energy(Spec):
    """Electricity, in kWh a month, of all devices in use whose power is known."""

    per_month: Number
    items: tuple[EnergyItem, ...]


class Carried(Spec):
    """The most that the placement carries: `multiple` times all peaks at once, and then `queue` is 90 % busy."""

    multiple: Annotated[Number, Field(ge=0)]
    queue: str


class ConstraintCheck(Spec):
    """A user's constraint under the plan, in the constraint's own unit. `slack` >= 0 holds."""

    name: str
    file: str
    line: int
    unit: str
    value: Number
    limit: Number
    slack: Number
    binding: bool


class Conflict(Spec):
    """A member of a set of constraints that cannot hold together."""

    name: str
    file: str
    line: int


class RelaxedLimit(Spec):
    """A constraint's limit, and the smallest change of it, to a multiple of `step`, that helps.

    `set` is the change as `planner solve --set` takes it. Without numbers where only the sites allowed can change:
    `set` then allows more of them, or leaves the constraint out.
    """

    name: str
    file: str
    line: int
    unit: str
    limit: Number | None = None
    relaxed: Number | None = None
    step: Number | None = None
    set: str


class Relaxation(Spec):
    """Changes that together make a plan exist, none of which can be one step smaller; and what that plan costs.

    `share` is the sum of the changes, each relative to its limit; the `cheapest` relaxation is the one with the fewest
    changes and then the smallest share.
    """

    changes: tuple[RelaxedLimit, ...]
    share: Number | None = None
    per_month: Number | None = None
    currency: str | None = None
    cheapest: bool = False


class PlannedBehaviour(Spec):
    """The branch patterns and accuracy that the plan rests on; `encoded` and `agreement` as in `specs.behaviour`."""

    variants: dict[str, str]
    encoded: dict[str, tuple[str, ...]] | None = None
    patterns: dict[str, Number]
    accuracy: dict[str, Number]
    agreement: dict[str, Number] | None = None
    source: Literal["measured", "declared"]


class Inputs(Spec):
    """Digests of exactly what the plan was made from: spec files, models, functions, profile records, behaviour.

    `changes` are what-ifs (`planner solve --set`) that count in the digests of the spec files.
    """

    app: str
    infra: str
    sources: dict[str, str]
    records: tuple[str, ...]
    behaviour: tuple[str, ...]
    changes: tuple[str, ...] = ()


class RefinedLimit(Spec):
    """A path limit that was held against a simulation, in milliseconds; the largest of its flows.

    Of a share that must be answered: of the time in which that share of the requests is, whose limit is the deadline.

    `predicted_ms` had to keep `corrected_ms` instead of the limit. From `low_ms` to `high_ms` is the 95 % confidence
    interval of `simulated_ms`.
    """

    name: str
    limit_ms: Number
    corrected_ms: Annotated[Number, Field(gt=0)]
    predicted_ms: Number
    simulated_ms: Number
    low_ms: Number
    high_ms: Number


class RefinedPath(OfPath):
    """What the prediction of a path was corrected from, and how well its correction is known.

    `sums` is the prediction that the simulation corrected. `interval_ms` has the 95 % confidence intervals of the
    simulated percentiles, by name; one that too few requests reach has none, and stays as sums predict it.
    """

    sums: Percentiles
    interval_ms: dict[str, tuple[Number, Number]]


class Refinement(Spec):
    """The plan was solved and simulated `rounds` times, the last time with `requests` requests.

    `paths` are those of the plan, whose predictions are then what was simulated, where that is known to an interval.
    Where a longer simulation, of `missed_at` requests, said that a limit is missed, the plan is called feasible.
    """

    rounds: Annotated[int, Field(ge=1)]
    requests: Annotated[int, Field(ge=1)]
    missed_at: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0)]
    limits: tuple[RefinedLimit, ...]
    paths: tuple[RefinedPath, ...]


class Plan(Spec):
    """What runs where, what is predicted of it, and how far it is proven. `planner schema plan` lists the fields."""

    schema_: Literal["tierplan.plan/v1"] = Field(alias="schema", default="tierplan.plan/v1")
    application: str
    status: Status
    objective: list[Number] = Field(default_factory=list)
    bound: list[Number] = Field(default_factory=list)
    gap: Annotated[Number, Field(ge=0)] | None = None
    seconds: Annotated[Number, Field(ge=0)]
    tightened: dict[str, Number] = Field(default_factory=dict)
    assignments: tuple[Assignment, ...] = ()
    cuts: tuple[CutOnWire, ...] = ()
    devices: tuple[DevicesBought, ...] = ()
    links: tuple[LinkLoad, ...] = ()
    routes: tuple[Route, ...] = ()
    paths: tuple[PathPrediction, ...] = ()
    stages: tuple[StagePrediction, ...] = ()
    cost: Cost | None = None
    energy: Energy | None = None
    carries: Carried | None = None
    constraints: tuple[ConstraintCheck, ...] = ()
    behaviour: tuple[PlannedBehaviour, ...] = ()
    conflict: tuple[Conflict, ...] = ()
    refined: Refinement | None = None
    further_conflicts: tuple[tuple[Conflict, ...], ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    inputs: Inputs

    @property
    def summed_paths(self) -> tuple[PathPrediction, ...]:
        """`paths` as sums of distributions predict them, before a simulation corrected that."""
        if self.refined is None:
            return self.paths
        by = {p.key: p.sums for p in self.refined.paths}
        return tuple(p.model_copy(update={"predicted": by.get(p.key, p.predicted)}) for p in self.paths)

    @property
    def by_sums(self) -> Plan:
        """This plan as sums of distributions predict it: what one that nobody refined is comparable with."""
        if self.refined is None:
            return self
        by = {r.name: r.predicted_ms for r in self.refined.limits}
        checks = tuple(
            c.model_copy(update={"value": by[c.name], "slack": c.limit - by[c.name]})
            if c.unit == "ms" and c.name in by
            else c
            for c in self.constraints
        )
        return self.model_copy(update={"paths": self.summed_paths, "constraints": checks, "refined": None})

    @property
    def corrected(self) -> dict[str, float]:
        """Seconds, by the name of the limit: what predictions by sums had to keep instead of the user's limits. Nothing
        where no simulation corrected them."""
        return {r.name: r.corrected_ms / 1e3 for r in self.refined.limits} if self.refined else {}

    @property
    def digest(self) -> str:
        """Of the decision and what it rests on; how long solving took does not count."""
        return digest_value({k: v for k, v in self.dump().items() if k != "seconds"})


def comparable(old: Plan, new: Plan) -> tuple[Plan, Plan]:
    """Both as they were simulated if both were, else both by sums."""
    both = old.refined is not None and new.refined is not None
    return (old, new) if both else (old.by_sums, new.by_sums)


def write_plan(plan: Plan, file: str | Path) -> None:
    """Write `plan` as YAML, replacing `file` in one step."""
    write_whole(file, yaml_text(plan.dump()))


def read_plan(file: str | Path) -> Plan:
    """Read a plan. Raises InputError where it is missing or not a plan."""
    try:
        read = read_yaml(file)
    except InputError as error:
        if Path(file).exists():
            raise
        raise InputError(*(replace(i, hint="a plan is made by `planner solve`") for i in error.issues)) from error
    try:
        return Plan.model_validate_json(json.dumps(read.value))
    except ValidationError as error:
        other = another_kind(read.value, "plan", read.place("schema"))
        issues = [Issue(f"not a plan: {refusal(e)}", read.place(*e["loc"])) for e in error.errors()[:5]]
        raise InputError(*([other] if other else issues)) from error
    except ValueError as error:
        raise InputError(Issue(f"not a plan: {error}", Place(str(file)))) from error

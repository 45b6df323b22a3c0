"""The hub's table: every way that a model is known to run, with what it costs; and the answer on a fleet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.base import Spec
from specs.catalogue import Kind
from specs.profile import Provenance
from specs.quantities import Number


class HubRow(Spec):
    """A model (or a part of one) on one class of hardware, run one way.

    `model` is COMPONENT/VARIANT where the application is known, else the start of the model's digest. Milliseconds,
    requests a second of one replica that is never idle, money, bytes. `provenance` is empty for an artefact that was
    compiled and not measured, and its times are missing, as `p99_ms` is where there were too few runs. `accuracy` is
    that of the whole application with the best variants of the other components. `interval` is of an estimate: with
    90 %, the truth lies between these multiples of its times.
    """

    model: str
    segment: str
    hardware: str = ""
    target: str = ""
    backend: str
    threads: int
    batch: int = 1
    p50_ms: Number | None = None
    p99_ms: Number | None = None
    per_second: Number | None = None
    cost_per_1000: Number | None = None
    bytes: int | None = None
    memory: Number | None = None
    accuracy: Number | None = None
    provenance: Provenance | Literal[""] = ""
    interval: tuple[Number, Number] | None = None
    fallback: tuple[str, ...] = ()


class HubResult(Spec):
    """`planner hub`: models x hardware."""

    schema_: Literal["tierplan.hub/v1"] = Field(alias="schema", default="tierplan.hub/v1")
    profiles: str
    store: str
    currency: str
    rows: tuple[HubRow, ...]


class CatalogueRow(Spec):
    """An entry of the catalogue, by the name that `use:` takes after `catalog/`.

    Bytes, watts, money; `hourly` is what it costs an hour, rented or bought. `source` is short for `source_name`.
    """

    name: str
    kind: Kind
    title: str
    cores: int
    memory: Number
    target: str
    gpu: str = ""
    gpu_title: str = ""
    idle_watts: Number | None = None
    busy_watts: Number | None = None
    buy: Number | None = None
    hourly: Number | None = None
    source: str
    source_name: str
    as_of: str


class CatalogueResult(Spec):
    """`planner hub --catalog`: hardware, instances and prices, as of their months."""

    schema_: Literal["tierplan.catalogue-list/v1"] = Field(alias="schema", default="tierplan.catalogue-list/v1")
    currency: str
    rows: tuple[CatalogueRow, ...]


class GcResult(Spec):
    """`planner hub gc`: artefacts, and models converted or quantized, that nothing speaks of any more."""

    schema_: Literal["tierplan.hub-gc/v1"] = Field(alias="schema", default="tierplan.hub-gc/v1")
    store: str
    kept: int
    removed: tuple[str, ...]
    bytes: int
    dry_run: bool


class ArchiveResult(Spec):
    """`planner hub export` and `import`: what the archive holds, and its own sha256. `tuned` are records of tuning."""

    schema_: Literal["tierplan.hub-archive/v1"] = Field(alias="schema", default="tierplan.hub-archive/v1")
    archive: str
    sha256: str
    artefacts: int
    records: int
    tuned: int = 0
    bytes: int
    new_artefacts: int = 0
    new_records: int = 0
    new_tuned: int = 0


class CoverageGap(Spec):
    """A part of a fleet on which a variant does not, or may not, meet its constraint: why, and the cheapest change."""

    hardware: str
    share: Number
    verdict: Literal["no", "possible"]
    reason: Literal["memory", "operator", "latency", "accuracy", "not measured"]
    detail: str
    change: str


class CoverageRow(Spec):
    """A variant on a fleet: on `certain` of it the constraint holds, on `possible` it holds or is not known to fail.

    `variant` is empty for the component as a whole: on each device the variant that fits it best.
    """

    fleet: str
    component: str
    variant: str
    constraint: str
    limit_ms: Number | None
    certain: Number
    possible: Number
    gaps: tuple[CoverageGap, ...] = ()


class CoverageResult(Spec):
    """`planner coverage`: the share of each fleet on which each variant meets its constraint."""

    schema_: Literal["tierplan.coverage/v1"] = Field(alias="schema", default="tierplan.coverage/v1")
    application: str
    min: Number | None = None
    answer: Literal["yes", "no", "unknown"]
    rows: tuple[CoverageRow, ...]

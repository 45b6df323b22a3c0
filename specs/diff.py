"""What differs between two plans, or two bundles: the answer of `planner diff`, and part of that of `planner replan`.

Of whatever is listed, `old` is missing where it is new, and `new` where it is gone. What is alike is not listed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.artefact import Segment
from specs.base import Spec
from specs.plan import Many, Percentiles, Status
from specs.profile import Provenance
from specs.quantities import Money, Number


class Placement(Spec):
    """How a component, or a segment of its model, runs for a flow."""

    site: str
    pool: str
    hardware: str
    variant: str
    backend: str
    threads: Many
    batch: Many
    batch_wait_ms: Number
    replicas: Many
    standby: Many
    members: Many
    artefact: str
    provenance: Provenance


class PlacementChange(Spec):
    """`differ` names the fields that do; `moved`: to another site."""

    component: str
    segment: Segment
    flow: str
    moved: bool
    differ: tuple[str, ...] = ()
    old: Placement | None = None
    new: Placement | None = None


class Devices(Spec):
    """Bought at each member of a site, and how busy they are at the peak (0 to 1)."""

    hardware: str
    bought: Many
    load: Number


class DevicesChange(Spec):
    site: str
    pool: str
    old: Devices | None = None
    new: Devices | None = None


class FigureChange(Spec):
    """A figure by name; `unit` as for people."""

    name: str
    unit: str = ""
    old: Number | None = None
    new: Number | None = None


class MoneyChange(Spec):
    """A month of a cost item, in the plan's currency."""

    name: str
    old: Money | None = None
    new: Money | None = None


class CostChange(Spec):
    """`items` are those that differ."""

    currency: str
    per_month: MoneyChange
    per_1000: MoneyChange
    items: tuple[MoneyChange, ...] = ()


class PathChange(Spec):
    """What is predicted from a source to a sink, and the limits asked for."""

    flow: str
    from_: str = Field(alias="from")
    to: str
    over: str
    old: Percentiles | None = None
    new: Percentiles | None = None
    old_limit_ms: dict[str, Number] = Field(default_factory=dict)
    new_limit_ms: dict[str, Number] = Field(default_factory=dict)


class Kept(Spec):
    """A constraint under a plan, in its own unit. `slack` >= 0 holds."""

    value: Number
    limit: Number
    slack: Number
    binding: bool


class ConstraintChange(Spec):
    name: str
    unit: str
    old: Kept | None = None
    new: Kept | None = None


class InputChange(Spec):
    """A digest of what the plans rest on. A record is named by the stages that rest on it."""

    kind: Literal["app", "infra", "source", "record", "behaviour", "what-if"]
    name: str
    old: str | None = None
    new: str | None = None


class ArtefactChange(Spec):
    """What serves a stage of a bundle: the content address of its artefact, or the function."""

    component: str
    segment: Segment
    variant: str
    backend: str
    threads: Many
    old: str | None = None
    new: str | None = None


class FileChange(Spec):
    """A file of a bundle: its sha256 before and now. `bytes` is its size now; 0 where it is gone."""

    name: str
    old: str | None = None
    new: str | None = None
    bytes: int = 0


class BundleDifference(Spec):
    """`ship_bytes` are those of files whose content the old bundle does not hold, whatever their name."""

    artefacts: tuple[ArtefactChange, ...]
    files: tuple[FileChange, ...]
    ship_bytes: int
    total_bytes: int


class Side(Spec):
    """One of the two: the file as it was named, and the plan in it."""

    file: str
    plan: str
    application: str
    status: Status
    conflict: tuple[str, ...] = ()


class PlanDifference(Spec):
    """`same`: equal but for how long solving took."""

    same: bool
    placements: tuple[PlacementChange, ...] = ()
    devices: tuple[DevicesChange, ...] = ()
    links: tuple[FigureChange, ...] = ()
    cost: CostChange | None = None
    energy: FigureChange | None = None
    paths: tuple[PathChange, ...] = ()
    accuracy: tuple[FigureChange, ...] = ()
    constraints: tuple[ConstraintChange, ...] = ()
    inputs: tuple[InputChange, ...] = ()


class DiffResult(Spec):
    """`planner diff`: what differs between two plans, or between two bundles and their plans."""

    schema_: Literal["tierplan.diff/v1"] = Field(alias="schema", default="tierplan.diff/v1")
    old: Side
    new: Side
    difference: PlanDifference
    bundle: BundleDifference | None = None

    @property
    def same(self) -> bool:
        """Whether there is nothing that differs."""
        return self.difference.same and (self.bundle is None or not self.bundle.files)

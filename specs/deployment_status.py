"""What `planner status` says of a deployment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.base import Spec
from specs.plan import Percentiles
from specs.quantities import Number


class QueueStatus(Spec):
    """`busy_s` are the seconds that the queue's servers have worked, all together, since the start."""

    queue: str
    waiting: int
    servers: int
    busy_s: Number


class MemberStatus(Spec):
    """`state` is dead where no process runs or answers. `stages` are those placed at the member."""

    member: str
    state: Literal["ready", "starting", "dead"]
    http: str = ""
    grpc: str = ""
    models: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    queues: tuple[QueueStatus, ...] = ()


class PathStatus(Spec):
    """Over the latest `n` answered requests at the member with the flow's door; in milliseconds."""

    flow: str
    member: str
    n: int
    measured: Percentiles
    predicted: Percentiles | None = None
    limit_ms: dict[str, Number] = Field(default_factory=dict)


class StageStatus(Spec):
    """As `PathStatus`, of one stage at one member, or of a transfer to it."""

    name: str
    kind: Literal["stage", "transfer"]
    member: str
    n: int
    wait_measured: Percentiles
    service_measured: Percentiles
    wait_predicted: Percentiles | None = None
    service_predicted: Percentiles | None = None


class DeploymentStatus(Spec):
    """`state` is serving where every member is ready; down where none is."""

    schema_: Literal["tierplan.status/v1"] = Field(alias="schema", default="tierplan.status/v1")
    name: str
    state: Literal["serving", "degraded", "down"]
    plan: str
    bundle: str
    address: str
    requests: dict[str, int]
    members: tuple[MemberStatus, ...]
    paths: tuple[PathStatus, ...]
    stages: tuple[StageStatus, ...]

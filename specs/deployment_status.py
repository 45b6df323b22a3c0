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


ProcessState = Literal["ready", "starting", "dead"]


class StateStatus(Spec):
    """What a component remembers at a member. The last checkpoint has `size` bytes and is `age_s` seconds old;
    `changed` says whether anything did since, `problem` why the latest could not be written. `in_force` is false while
    the state is with the release from which the deployment moves.
    """

    component: str
    in_force: bool
    size: int
    age_s: Number
    changed: bool
    problem: str = ""


class MemberStatus(Spec):
    """`state` is dead where no process runs or answers. `stages` are those placed at the member.

    `standby` is the state of the process that stands by for the member, "" where the plan has none there. `pid` and
    `standby_pid` are of their processes on the member's machine, 0 where none answers. Requests that enter
    at the member go by the plan `without` that site, which is gone or slow for it; "" while all is as planned. `slow`
    says by what a process of the member serves slower than planned, and what is done about it; "" where none does.
    `problem` says of a member that is not ready why it cannot be asked, and what to do; "" where that is not known.
    """

    member: str
    state: ProcessState
    standby: Literal["", "ready", "starting", "dead"] = ""
    pid: int = 0
    standby_pid: int = 0
    without: str = ""
    slow: str = ""
    problem: str = ""
    http: str = ""
    grpc: str = ""
    models: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    queues: tuple[QueueStatus, ...] = ()
    remembers: tuple[StateStatus, ...] = ()


class PathStatus(Spec):
    """Over the latest `n` answered requests at the member with the flow's door; in milliseconds.

    `rate` is in requests a second, over the last ten.
    """

    flow: str
    member: str
    n: int
    rate: Number = 0.0
    measured: Percentiles
    predicted: Percentiles | None = None
    limit_ms: dict[str, Number] = Field(default_factory=dict)


class StageStatus(Spec):
    """As `PathStatus`, of one stage at one member, or of a transfer to it."""

    name: str
    kind: Literal["stage", "transfer"]
    member: str
    n: int
    rate: Number = 0.0
    wait_measured: Percentiles
    service_measured: Percentiles
    wait_predicted: Percentiles | None = None
    service_predicted: Percentiles | None = None


class MovingStatus(Spec):
    """A move that is not finished, between plans by digest. Of the `processes` that the new one takes, so many have
    `loaded` it, and so many go by it already (`moved`), which begins once all have loaded it.
    """

    from_: str = Field(alias="from")
    to: str
    processes: int
    loaded: int
    moved: int


class DriftStatus(Spec):
    """What has left the plan: `statistic` of `what` of `name`, for requests that entered at a member.

    `measured` and `predicted` are in milliseconds, or requests a second where `what` is rate. `cause` is told of a
    latency.
    """

    what: Literal["rate", "latency", "wait", "service", "transfer"]
    name: str
    member: str
    statistic: Literal["mean", "p50", "p95", "p99"]
    measured: Number
    predicted: Number
    cause: str = ""


class DeploymentStatus(Spec):
    """`state` is serving where every member is ready; down where none is. `plan` is the one in force."""

    schema_: Literal["tierplan.status/v1"] = Field(alias="schema", default="tierplan.status/v1")
    name: str
    state: Literal["serving", "degraded", "down"]
    plan: str
    bundle: str
    address: str
    moving: MovingStatus | None = None
    requests: dict[str, int]
    members: tuple[MemberStatus, ...]
    paths: tuple[PathStatus, ...]
    stages: tuple[StageStatus, ...]
    drift: tuple[DriftStatus, ...] = ()

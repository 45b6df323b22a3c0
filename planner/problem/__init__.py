"""The Problem: the numbers alone, as integers. No YAML, no models.

Units: microseconds (us) and their squares for times, nanoseconds (ns) where waits are tested, parts per billion (ppb)
for utilisations, probabilities and shares, kB (1,000 bytes, rounded up) for memory, micro-units of the currency a month
(ucur) for money, and mWh a month for energy. docs/solver.md gives the meaning of each table, docs/problem-format.md the
file format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PPB: Final = 1_000_000_000
MILLION: Final = 1_000_000
LIMIT: Final = 10**15
"""No number of a Problem is larger."""
REPLICA_LOAD: Final = 900_000_000
"""What a replica may carry (ppb) at the rates that throughputs ask for, as `Server.max_load` says of servers."""

ConstraintKind = Literal[
    "path",
    "share",
    "budget",
    "energy",
    "memory",
    "accuracy",
    "throughput",
    "residency",
    "pin",
    "capability",
    "affinity",
    "separation",
    "devices",
    "rate",
]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What can be named in a conflict: a constraint of the user's, or a capacity. Relaxing it means it is not there."""

    kind: ConstraintKind
    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class WaitLevel:
    """A server promises this mean wait (us) and variance (us^2) if what visits it passes the test."""

    wait_us: int
    wait_var: int


@dataclass(frozen=True, slots=True)
class Server:
    """The executors of a `time` pool, one direction of a link, or a rate that several links share.

    `levels` rise; the first is no wait at all. Level k may be chosen if the sum over all visits of work_ns +
    ceil(1000 wait_us[k] load_ppb / 1e9) is at most 1000 wait_us[k], and the sum of load_ppb at most `max_load`. Of the
    executors of a pool, which `pools` names (at most one), each of n devices has one, to which an equal part of the
    visits comes: what the sums may be is n times that.
    """

    name: str
    constraint: int
    max_load: int
    levels: tuple[WaitLevel, ...]
    pools: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Visit:
    """What one option or transfer asks of a server: rate E[S^2] / 2 in ns, and rate E[S] in ppb, both at the peak."""

    server: int
    work_ns: int
    load_ppb: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Devices of one kind at each member of a site. `price` and `energy` are of one device at every member together.

    In a `time` pool all devices that are bought run all stations in use. Energy is 0 throughout where no limit
    and no objective asks for it.
    """

    name: str
    sharing: Literal["cores", "time"]
    constraint: int
    cores: int
    memory_kb: int
    minimum: int
    maximum: int
    price: int
    energy: int = 0


@dataclass(frozen=True, slots=True)
class StationLevel:
    """With `replicas`, idle ones on standby included, loads up to `load_ppb` (1e9 is one Erlang) wait this long."""

    replicas: int
    load_ppb: int
    wait_us: int
    wait_var: int


@dataclass(frozen=True, slots=True)
class Station:
    """Replicas of one segment, variant, backend and threads in one pool, with one queue.

    In a `cores` pool, `levels` says how long it waits with how many replicas. In a `time` pool there is a replica on
    each device, and no level: the pool's server says it, and `memory_kb` is of the standbys too. Of the replicas of
    a level, `standby` are idle.
    """

    name: str
    pool: int
    threads: int
    memory_kb: int
    levels: tuple[StationLevel, ...]
    standby: int = 0

    def carries(self, replicas: int) -> int:
        """Load (ppb) at the rates that throughputs ask for, of so many replicas of a level."""
        return REPLICA_LOAD * max(1, replicas - self.standby)


@dataclass(frozen=True, slots=True)
class Option:
    """Runs tasks `first` to `last` of a step at `site`. `barred` names the constraints that rule it out."""

    station: int
    site: int
    first: int
    last: int
    mean_us: int
    var_us2: int
    load_ppb: int
    visits: tuple[Visit, ...]
    cost: int
    barred: tuple[int, ...]
    energy: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A component: `tasks` segments in a row, each to be covered by exactly one option; neighbouring options are in
    different pools.
    """

    name: str
    tasks: int
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class End:
    """Where a message leaves or arrives: a task of a step, or (`step` = -1) the fixed `site` of a source or sink."""

    step: int
    task: int
    site: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Taking an edge's message from site `start` to another, `end`. The time leaves out the waits at `visits`."""

    start: int
    end: int
    mean_us: int
    var_us2: int
    visits: tuple[Visit, ...]
    cost: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A message. Within one site it is free. Between different sites it needs one of `transfers` or, where `hops` are
    given instead, takes the hops on its way, and `apart_us` (variance `apart_us2`) once beside.

    A hop is a transfer between neighbours; the neighbours form a tree (or several), so that there is one way.
    """

    name: str
    producer: End
    consumer: End
    transfers: tuple[Transfer, ...]
    hops: tuple[Transfer, ...] = ()
    apart_us: int = 0
    apart_us2: int = 0


@dataclass(frozen=True, slots=True)
class Beside:
    """`step` runs beside the steps `of` of a path. What of it is in a `time` pool with one of them counts as if it were
    on the path, with its wait: one executor serves both, one after the other. Not where the pool's constraint is
    relaxed.
    """

    step: int
    of: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """A way through steps and edges, by their indices in the scenario."""

    steps: tuple[int, ...]
    edges: tuple[int, ...]
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True, slots=True)
class TailRow:
    """A path whose mean and variance are at most these is over the limit in at most `excess_ppb` of all requests."""

    mean_us: int
    var_us2: int
    excess_ppb: int


@dataclass(frozen=True, slots=True)
class LimitShape:
    """One branch pattern of a limit: its paths, each of which takes one row."""

    paths: tuple[Path, ...]
    rows: tuple[TailRow, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """The rows taken by all paths of all shapes may exceed `allowed_ppb` of the requests in sum (union bound)."""

    constraint: int
    allowed_ppb: int
    shapes: tuple[LimitShape, ...]


@dataclass(frozen=True, slots=True)
class MeanShape:
    """A branch pattern's part in a latency objective: `weight` (parts per million) times its slowest path's mean."""

    weight: int
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One combination of variants of a flow. Each flow takes exactly one. `means` has an entry for each objective.

    `wrong` is the share of all requests that are this flow's and answered wrong, in ppb: 0 where no objective asks.
    """

    name: str
    flow: int
    barred: tuple[int, ...]
    steps: tuple[Step, ...]
    edges: tuple[Edge, ...]
    limits: tuple[Limit, ...]
    means: tuple[tuple[MeanShape, ...], ...]
    wrong: int = 0


@dataclass(frozen=True, slots=True)
class Objective:
    """Lexicographic, in order, each the less the better. A latency is in us times parts per million; accuracy is the
    share of requests answered wrong, in ppb; throughput is how full the fullest queue is at the peak, in ppb of what it
    may carry: each visit's (option's) load by `Server.max_load` (by the serving replicas' `REPLICA_LOAD`), rounded up,
    summed.

    A makespan (us) is when one request that meets no other is done, each device running one step at a time
    (planner/solver/scheduling/); only cost and energy go with it.
    """

    kind: Literal["cost", "energy", "accuracy", "throughput", "latency", "makespan"]
    name: str


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit of the sum of all cost, of all energy, or of the memory of all replicas in some pools."""

    constraint: int
    limit: int
    of: Literal["cost", "energy", "memory"] = "cost"
    pools: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Throughput:
    """Queues must carry `scale` (parts per million, at least 1e6) times the loads of `flows`.

    All throughputs hold at once: a load counts with the largest scale of its flow, rounded up. Of a server whose
    constraint is not relaxed the sum is at most `max_load`, of a station at most `REPLICA_LOAD` for each replica that
    serves; only queues count to which a flow with a scale above 1e6 comes. A visit without work stands for no load.
    """

    constraint: int
    flows: tuple[int, ...]
    scale: int


@dataclass(frozen=True, slots=True)
class Problem:
    """See the module. Indices count from 0 within each tuple. `members` is by flow."""

    name: str
    constraints: tuple[Constraint, ...]
    sites: tuple[str, ...]
    flows: tuple[str, ...]
    members: tuple[int, ...]
    pools: tuple[Pool, ...]
    servers: tuple[Server, ...]
    stations: tuple[Station, ...]
    scenarios: tuple[Scenario, ...]
    budgets: tuple[Budget, ...]
    objectives: tuple[Objective, ...]
    throughputs: tuple[Throughput, ...] = ()


def at_scale(load_ppb: int, scale: int) -> int:
    """`load_ppb` times `scale` (parts per million), rounded up."""
    return -(-load_ppb * scale // MILLION)


def visit_ns(visit: Visit, wait_us: int) -> int:
    """What a visit adds to the test of a level, in ns (see `Server`)."""
    return visit.work_ns - (-1000 * wait_us * visit.load_ppb // PPB)

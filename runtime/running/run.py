"""Runs a slice of a bundle's plan and measures it beside what was predicted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from runtime.bundle import Bundle
from runtime.emulate.process import NotAllowed
from runtime.hosting.background import RECORDED, background_loads, recorded_inputs
from runtime.hosting.host import HostOptions
from runtime.hosting.hosts import Hosts, StageInputs
from runtime.hosting.in_process import InProcessHosts
from runtime.hosting.opening import open_references
from runtime.hosting.request import Departure, Entry
from runtime.hosting.shaping import METHOD as SHAPED
from runtime.hosting.shaping import NONE, REAL
from runtime.machine import machine_id
from runtime.reference.items import Item
from runtime.reference.pipeline import Outcome
from runtime.running.arrivals import departures
from runtime.running.measured import accuracies, count, measured_path, measured_stage, shares
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.topology import Topology, topology
from specs.clusters import Cluster
from specs.deadline import deadline_of
from specs.digest import digest_value
from specs.errors import EnvironmentFailed, InputError, Issue
from specs.recorded import Recording
from specs.run_result import Prediction, RunResult, Slice

WARM_UP_ROUNDS: Final = 3
WARM_UP_REQUESTS: Final = 8
LEAD: Final = 0.4
"""Seconds from the order to start until the first request is due, so that all members have the order by then."""
POLL: Final = 0.2
QUEUE_LIMIT: Final = 256
PARTIAL_LIMIT: Final = 4096

Network = Literal["emulated", "shaped", "auto"]
Phase = Literal["starting", "warming up", "running", "finished"]


@dataclass(frozen=True, slots=True)
class Method:
    """How links and processors are made to be as the infrastructure says, in one word and in a sentence."""

    network: Literal["emulated", "shaped", "none"]
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: measured requests by status; the `method` once it is known, and for how many seconds, `lasts`,
    requests will be sent, before the first one is.
    """

    phase: Phase
    requests: int
    counts: Mapping[str, int] = field(default_factory=dict)
    method: Method | None = None
    lasts: float | None = None


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Where:
    """What the hosts of a run are, and on which cluster or clusters; on nodes started here where neither is given."""

    on: Literal["ray", "process"]
    address: str | None
    clusters: Mapping[str, Cluster]


@dataclass(frozen=True, slots=True)
class Execution:
    """A run: its result, and the clients' log that it was made from. An `interrupted` one has ended requests only.

    `started` is how many seconds it took until all hosts were open. `round_trips` are the shortest, in seconds, between
    members whose clocks differ, of whose transfers no one-way time is known.
    """

    result: RunResult
    log: tuple[Entry, ...]
    interrupted: bool = False
    started: float = 0.0
    round_trips: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        """Why requests were not answered."""
        return Counter(f"{e.status}: {e.reason}" for e in self.log if e.status != "answered")


def execute(
    bundle: Bundle,
    part: Slice,
    items: Sequence[Item],
    prediction: Prediction,
    *,
    address: str | None = None,
    clusters: Mapping[str, Cluster] | None = None,
    on: Literal["ray", "process"] = "ray",
    shape: bool = True,
    network: Network = "shaped",
    deadline: float | None = None,
    queue_limit: int = QUEUE_LIMIT,
    secrets: Secrets = NO_SECRETS,
    recordings: Mapping[str, Recording] | None = None,
    on_progress: OnProgress | None = None,
) -> Execution:
    """Run `part` and keep the clients' log.

    `prediction` was made, and saved, before: it stands beside what is measured and feeds nothing. Hosts are Ray
    actors on nodes started here, or on the cluster whose head is at `address` (HOST:PORT) and whose nodes carry the
    labels ``site=MEMBER``, or on several such `clusters`; or, with ``on="process"``, threads of this process.
    `shape` slows links and processors as the infrastructure says: links inside the application or, where the
    `network` is emulated, below it (with "auto" where this machine allows it; the result says which, and why).
    `deadline` (seconds) bounds each request: by default ten times the longest limit of the prediction's paths, or
    30 s. `secrets` go to the functions that name them; `recordings` are the traces of sources whose requests come
    so. Whatever happens, nothing that was started is left running.

    Raises InputError where plan, slice, items and prediction do not fit together, EnvironmentFailed where nodes do not
    start or a site has none, and KeyboardInterrupt where nothing had been answered when it came; later, an interruption
    ends the run with what was measured so far.
    """
    began = time.monotonic()
    tell = on_progress or (lambda progress: None)
    top = topology(bundle.plan, bundle.app.value, bundle.infra.value, part)
    _check(bundle, part, prediction, items, top)
    plan_of = departures(top.flows, part.requests, _counts(items, top), part.seed, recordings, part.multiplier)
    orders = _by_number(plan_of, items)
    limit = deadline if deadline is not None else _deadline(prediction)
    options = HostOptions(queue_limit, PARTIAL_LIMIT, part.seed, machine_id(), shape)
    hosts, method = _hosts(bundle, top, options, Where(on, address, clusters or {}), network, secrets)
    lasts = max(departure.offset for member in plan_of.values() for departure in member)
    tell(Progress("starting", part.requests, method=method, lasts=lasts))
    try:
        outcomes = _reference(bundle, top, orders, items, secrets)  # while the nodes start
        if hosts.open():
            method = Method("none", REAL)
            tell(Progress("starting", part.requests, method=method))
        opened = time.monotonic() - began
        tell(Progress("warming up", part.requests))
        _warm_up(hosts, bundle, top, outcomes)
        _give_items(hosts, orders, items)
        by_flow = _by_flow(top, outcomes)
        rates = {site: rate for site, rate in part.background.items() if rate > 0}
        hosts.start_background(background_loads(top, bundle.app.value, bundle.infra.value, rates, by_flow), part.seed)
        _warm_up_requests(hosts, orders, limit)
        hosts.start_load(orders, LEAD, limit)
        started = time.monotonic() + LEAD
        interrupted = _wait(hosts, part, orders, started, limit, tell)
        logs = hosts.logs()
        gone = hosts.gone()
        trips = hosts.round_trips()
    finally:
        hosts.close()
    log = tuple(e for entries in logs.values() for e in entries if e.measured)
    if interrupted:
        log = tuple(e for e in log if e.status != "pending")
        if not any(e.status == "answered" for e in log):
            raise KeyboardInterrupt
    sent = len(log) + (0 if interrupted else _sent_by_the_dead(orders, gone, logs))
    tell(Progress("finished", part.requests, dict(Counter(e.status for e in log))))
    result = _result(bundle, part, prediction, top, log, outcomes, items, sent, method, time.monotonic() - began)
    return Execution(result, log, interrupted, opened, trips)


def _check(bundle: Bundle, part: Slice, prediction: Prediction, items: Sequence[Item], top: Topology) -> None:
    if prediction.plan != bundle.plan.digest:
        raise InputError(Issue(f"the prediction is of plan {prediction.plan}, not of {bundle.plan.digest}"))
    if prediction.slice != part:
        raise InputError(Issue("the prediction is of another slice than the one to run"))
    if part.requests < 1:
        raise InputError(Issue(f"expected at least one request, got {part.requests}"))
    for flow in top.flows:
        if not any(item.source == flow.source for item in items):
            raise InputError(Issue(f"there is no item for source {flow.source}"))
    predicted = {(s.kind, s.name, s.site) for s in prediction.stages}
    for kind, name, site in (
        *(("stage", stage.name, stage.site) for stage in top.stages),
        *(("transfer", edge.name, edge.way) for edge in top.edges if edge.hops),
    ):
        if (kind, name, site) not in predicted:
            raise InputError(Issue(f"the prediction says nothing of {kind} {name!r} at {site}"))


def _counts(items: Sequence[Item], top: Topology) -> dict[str, int]:
    return {flow.source: sum(item.source == flow.source for item in items) for flow in top.flows}


def _by_number(orders: Mapping[str, list[Departure]], items: Sequence[Item]) -> dict[str, list[Departure]]:
    """Departures whose items are numbered among all `items` instead of among their source's."""
    numbers: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        numbers.setdefault(item.source, []).append(number)
    return {
        member: [
            Departure(d.offset, d.request, d.flow, numbers[d.flow.partition("@")[0]][d.item], d.measured) for d in mine
        ]
        for member, mine in orders.items()
    }


def _deadline(prediction: Prediction) -> float:
    return deadline_of(ms / 1e3 for path in prediction.paths for ms in path.limit_ms.values())


def _hosts(
    bundle: Bundle,
    top: Topology,
    options: HostOptions,
    where: Where,
    network: Network,
    secrets: Secrets,
) -> tuple[Hosts, Method]:
    given = where.address is not None or bool(where.clusters)
    if given and where.on == "process":
        raise InputError(Issue("a run in this process has no address"))
    if where.address is not None and where.clusters:
        raise InputError(Issue("there is one cluster or several", None, "an address or clusters, not both"))
    if network == "emulated" and (given or where.on == "process" or not options.shape):
        raise InputError(Issue("only nodes that are started here can have an emulated network"))
    shaped = Method("shaped", SHAPED) if options.shape else Method("none", NONE)
    if where.on == "process":
        return InProcessHosts(bundle, top, options, secrets), shaped
    tiers = {str(member): bundle.infra.value.sites[member.site].tier for member in top.hosts}
    if network != "shaped" and not given and options.shape:
        from runtime.cluster.emulated import METHOD, EmulatedHosts  # heavy

        try:
            return EmulatedHosts(bundle, top, options, tiers, secrets), Method("emulated", METHOD)
        except NotAllowed as error:
            if network == "emulated":
                raise
            shaped = Method("shaped", f"{SHAPED}; no emulated network: {error}")
    from runtime.cluster.hosts import RayHosts  # heavy

    hosts = RayHosts(bundle.folder, top, options, tiers, where.address, secrets=secrets, clusters=where.clusters)
    return hosts, shaped


def _reference(
    bundle: Bundle, top: Topology, orders: Mapping[str, list[Departure]], items: Sequence[Item], secrets: Secrets
) -> dict[tuple[str, int], Outcome]:
    """What the reference pipeline says, by flow and item, of every item that is sent."""
    references = open_references(bundle, top, secrets)
    used = dict.fromkeys((d.flow, d.item) for mine in orders.values() for d in mine)
    return {(flow, number): references[flow].run(items[number]) for flow, number in used}


def _by_flow(top: Topology, outcomes: Mapping[tuple[str, int], Outcome]) -> dict[str, list[Outcome]]:
    return {flow.name: [o for (name, _), o in outcomes.items() if name == flow.name] for flow in top.flows}


def _warm_up(hosts: Hosts, bundle: Bundle, top: Topology, outcomes: Mapping[tuple[str, int], Outcome]) -> None:
    inputs: dict[str, dict[str, StageInputs]] = {}
    every = list(outcomes.values())
    for member in top.hosts:
        for stage in top.stages_at(member.site):
            recorded = recorded_inputs(stage, bundle.app.value, every, min(RECORDED, WARM_UP_ROUNDS))
            if recorded:
                inputs.setdefault(str(member), {})[stage.id] = recorded
    hosts.warm_up(inputs, WARM_UP_ROUNDS)


def _give_items(hosts: Hosts, orders: Mapping[str, list[Departure]], items: Sequence[Item]) -> None:
    hosts.give_items({member: {d.item: items[d.item] for d in mine} for member, mine in orders.items()})


def _warm_up_requests(hosts: Hosts, orders: Mapping[str, list[Departure]], deadline: float) -> None:
    """A few requests from each member, one after another, that nobody counts: connections, caches, threads."""
    spacing = min(0.1, deadline / WARM_UP_REQUESTS)
    warm = {
        member: [
            Departure(spacing * turn, f"warm-up/{member}/{turn}", d.flow, d.item, False)
            for turn, d in enumerate(mine[:WARM_UP_REQUESTS])
        ]
        for member, mine in orders.items()
    }
    hosts.start_load(warm, 0.0, deadline)
    give_up = time.monotonic() + WARM_UP_REQUESTS * spacing + deadline
    expected = sum(map(len, warm.values()))
    while time.monotonic() < give_up:
        done = sum(e.status != "pending" for entries in hosts.logs().values() for e in entries)
        if done >= expected:
            return
        time.sleep(POLL)


def _wait(
    hosts: Hosts,
    part: Slice,
    orders: Mapping[str, list[Departure]],
    started: float,
    deadline: float,
    tell: OnProgress,
) -> bool:
    """Until every request has ended, or the last one's deadline and the word of it are past. True if interrupted."""
    try:
        _until_ended(hosts, part, orders, started, deadline, tell)
    except KeyboardInterrupt:
        return True
    return False


def _until_ended(
    hosts: Hosts,
    part: Slice,
    orders: Mapping[str, list[Departure]],
    started: float,
    deadline: float,
    tell: OnProgress,
) -> None:
    last = max(mine[-1].offset for mine in orders.values())
    give_up = started + last + 1.5 * deadline + 3.0
    while time.monotonic() < give_up:
        counts = hosts.progress()
        tell(Progress("running", part.requests, counts))
        lost = sum(len(orders.get(member, ())) for member in hosts.gone())
        ended = sum(n for status, n in counts.items() if status != "pending")
        if ended + lost >= part.requests:
            return
        if not counts and hosts.gone():
            reasons = "; ".join(f"{m}: {why}" for m, why in hosts.gone().items())
            raise EnvironmentFailed(f"every host of the run died: {reasons}")
        time.sleep(POLL)


def _sent_by_the_dead(
    orders: Mapping[str, list[Departure]], gone: Mapping[str, str], logs: Mapping[str, object]
) -> int:
    """Requests of members that died with their log: counted as sent, and so as lost."""
    return sum(len(mine) for member, mine in orders.items() if member in gone and member not in logs)


def _result(
    bundle: Bundle,
    part: Slice,
    prediction: Prediction,
    top: Topology,
    log: tuple[Entry, ...],
    outcomes: Mapping[tuple[str, int], Outcome],
    items: Sequence[Item],
    sent: int,
    method: Method,
    seconds: float,
) -> RunResult:
    answered = [e for e in log if e.status == "answered"]
    span = max((e.started + e.latency for e in answered), default=0.0) - min((e.started for e in log), default=0.0)
    app = bundle.app.value
    right = accuracies(log, items, app, bundle.plan)
    return RunResult(
        plan=bundle.plan.digest,
        prediction=digest_value(prediction.dump()),
        slice=part,
        network=method.network,
        shaping=method.text,
        requests=count(log, outcomes, sent, app),
        throughput=len(answered) / span if answered and span > 0 else 0.0,
        accuracy={a.data: a.value for a in right},
        accuracies=right,
        shares=shares(log, outcomes, app, max(0, sent - len(log))),
        paths=tuple(measured_path(p, log, outcomes, app) for p in prediction.paths),
        stages=tuple(measured_stage(s, log, top) for s in prediction.stages),
        seconds=seconds,
    )

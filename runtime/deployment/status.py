"""The truth about a deployment, asked of its hosts by whoever wants to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Final, Literal

from runtime.bundle import Bundle, open_bundle
from runtime.cluster.connection import ClusterLost
from runtime.cluster.federation import Clusters, connect
from runtime.deployment.local import address_of
from runtime.deployment.orders import Orders, actor_prefix, topology_of
from runtime.deployment.record import Moving, Record, moving_in, read_record, state_folder
from runtime.fleet import site_of
from runtime.hosting.replicas import has_standby, standby_of
from runtime.observe.drift import drifts, promise_of
from runtime.observe.window import Seen, Times
from runtime.topology import Topology
from specs.deployment_status import (
    DeploymentStatus,
    DriftStatus,
    MemberStatus,
    MovingStatus,
    PathStatus,
    ProcessState,
    QueueStatus,
    StageStatus,
    StateStatus,
)
from specs.errors import EnvironmentFailed, InputError, Issue

ASK_LIMIT: Final = 5.0


class Watcher:
    """Asks again and again over one connection."""

    def __init__(self, record: Record, bundle: Bundle, connection: Clusters | None, address: str) -> None:
        self._record, self._bundle, self._connection, self._address = record, bundle, connection, address
        self._top = topology_of(bundle, record)
        self._looked = False

    def look(self) -> DeploymentStatus:
        """What is so now. Raises InputError where it is not deployed any more."""
        reports: dict[str, dict[str, Any]] = {}
        if self._connection is not None:
            if self._looked:
                self._connection.rejoin()
            self._looked = True
            actors = self._connection.named(actor_prefix(self._record.name))
            if actors:
                reports, _ = self._connection.ask({m: a.report.remote() for m, a in actors.items()}, ASK_LIMIT)
        self._follow()
        found = status_of(self._record, self._bundle, self._top, reports, self._address)
        found = found.model_copy(update={"members": self._with_problems(found.members)})
        moving = moving_in(state_folder(self._record.name))
        return found.model_copy(update={"moving": _moving(moving, reports)}) if moving is not None else found

    def _with_problems(self, members: tuple[MemberStatus, ...]) -> tuple[MemberStatus, ...]:
        dead = {m.member: self._bundle.infra.value.sites[site_of(m.member)].tier for m in members if m.state == "dead"}
        if not dead or self._connection is None:
            return members
        lacking: Mapping[str, str] = {}
        with suppress(ClusterLost):  # then no problem is known
            lacking = self._connection.lacking(dead)
        lost = self._connection.unreachable
        owner = {site: name for name, cluster in self._record.clusters.items() for site in cluster.sites}

        def problem(member: str) -> str:
            if (why := lost.get(owner.get(site_of(member), ""))) is not None:
                return f"it may run, but cannot be asked: {why}"
            if member not in lacking:
                return ""
            if not self._record.foreign:
                return "its Ray node has died, and is started again by itself"
            return f"no Ray node stands for it: on its machine, run {lacking[member]}"

        return tuple(m.model_copy(update={"problem": problem(m.member)}) if m.member in dead else m for m in members)

    def _follow(self) -> None:
        """Know what is in force by now: it may have moved."""
        record = _record(self._record.name)
        if record != self._record:
            self._record, self._bundle = record, open_bundle(record.bundle)
            self._top = topology_of(self._bundle, record)


def _record(name: str) -> Record:
    record = read_record(name)
    if record is None:
        raise InputError(Issue(f"nothing is deployed as {name}", None, "planner deploy BUNDLE"))
    return record


def _moving(moving: Moving, reports: Mapping[str, Mapping[str, Any]]) -> MovingStatus:
    orders = Orders.kept(moving.new, state_folder(moving.new.name))
    mine = [reports.get(process, {}) for process in orders.processes]
    return MovingStatus.model_validate(
        {
            "from": moving.old.plan,
            "to": moving.new.plan,
            "processes": len(mine),
            "loaded": sum(moving.new.key in report.get("loaded", ()) for report in mine),
            "moved": sum(report.get("serving") == moving.new.key for report in mine),
        }
    )


@contextmanager
def watching(name: str) -> Iterator[Watcher]:
    """Raises InputError where nothing is deployed under `name`, EnvironmentFailed where its cluster cannot be asked."""
    record = _record(name)
    bundle = open_bundle(record.bundle)
    address = _address(record)
    if address is None:
        yield Watcher(record, bundle, None, "")
        return
    connection = _connect(address, record)
    try:
        yield Watcher(record, bundle, connection, address)
    finally:
        connection.close()


def _address(record: Record) -> str | None:
    """Of the head or, by cluster, of the heads; None where there is none."""
    if record.clusters:
        return ", ".join(f"{name} {cluster.address}" for name, cluster in record.clusters.items())
    return record.address or address_of(record.name)


def _connect(address: str, record: Record) -> Clusters:
    try:
        return connect(address, record.clusters, local=not record.foreign)
    except EnvironmentFailed as error:
        if record.clusters:
            raise
        what = f"Ray's head of {record.name} does not answer: hosts go on serving, but cannot be asked"
        if not record.address:
            raise EnvironmentFailed(f"{what} (it is started again by itself: try again in a few seconds)") from error
        raise EnvironmentFailed(
            f"{what}, and those that die are not started again: {error} (start the head of your cluster again, at the "
            "same address and with the state that it kept; where it kept none, planner deploy again starts all anew: "
            "docs/faults.md)"
        ) from error


def status_of(
    record: Record, bundle: Bundle, top: Topology, reports: Mapping[str, Mapping[str, Any]], address: str
) -> DeploymentStatus:
    """What the `reports` of processes, by name, come to; of those that are not there nobody answered."""
    members = tuple(_member(str(m), top, m.site, reports) for m in top.hosts)
    ready = sum(m.state == "ready" for m in members)
    whole = ready == len(members) and all(m.standby in ("", "ready") for m in members)
    seen: dict[str, Seen] = {m: r["seen"] for m, r in reports.items() if "seen" in r}
    counts: Counter[str] = Counter()
    for one in seen.values():
        counts.update(one.counts)
    return DeploymentStatus(
        name=record.name,
        state="serving" if whole else "degraded" if ready else "down",
        plan=record.plan,
        bundle=record.bundle,
        address=address,
        requests=dict(sorted(counts.items())),
        members=members,
        paths=tuple(_path(bundle, flow, m, times) for m, one in seen.items() for flow, times in one.paths.items()),
        stages=tuple(stage for one in seen.values() for stage in _stages(bundle, top, one)),
        drift=_drift(bundle, top, seen),
    )


def _drift(bundle: Bundle, top: Topology, seen: Mapping[str, Seen]) -> tuple[DriftStatus, ...]:
    promise = promise_of(bundle.plan, top)
    found = [drift for member, one in seen.items() for drift in drifts(one, promise, member)]
    return tuple(DriftStatus.model_validate(asdict(drift)) for drift in found)


def _member(name: str, top: Topology, site: str, reports: Mapping[str, Mapping[str, Any]]) -> MemberStatus:
    report, other = reports.get(name), reports.get(standby_of(name))
    stages = tuple(stage.name for stage in top.stages_at(site))
    standby = _state(other) if has_standby(site, top) else ""
    slow = _slow(name, reports)
    if report is None or not report["ready"]:
        state, pid = _state(report), _pid(other)
        return MemberStatus(member=name, state=state, standby=standby, standby_pid=pid, stages=stages, slow=slow)
    queues = tuple(
        QueueStatus(queue=q["queue"], waiting=q["waiting"], servers=q["servers"], busy_s=sum(q["busy"].values()))
        for q in report["queues"]
    )
    ends = report["endpoints"]
    return MemberStatus(
        member=name,
        state="ready",
        standby=standby,
        pid=_pid(report),
        standby_pid=_pid(other),
        http=ends["http"],
        grpc=ends["grpc"],
        models=tuple(report["models"]),
        stages=stages,
        without=report.get("without", ""),
        slow=slow,
        queues=queues,
        remembers=tuple(_remembers(each) for each in report.get("states", ())),
    )


def _remembers(report: Mapping[str, Any]) -> StateStatus:
    return StateStatus.model_validate({"age_s" if key == "age" else key: value for key, value in report.items()})


def _slow(name: str, reports: Mapping[str, Mapping[str, Any]]) -> str:
    """What origins say of the member's processes, the first of each."""
    told: dict[str, str] = {}
    for report in reports.values():
        for process, why in report.get("slow", {}).items():
            told.setdefault(process, why)
    standby = standby_of(name)
    words = (told.get(name, ""), f"its standby: {told[standby]}" if standby in told else "")
    return "; ".join(word for word in words if word)


def _state(report: Mapping[str, Any] | None) -> ProcessState:
    if report is None:
        return "dead"
    return "ready" if report["ready"] else "starting"


def _pid(report: Mapping[str, Any] | None) -> int:
    return report["pid"] if report is not None and report["ready"] else 0


def _path(bundle: Bundle, flow: str, member: str, times: Times) -> PathStatus:
    app = bundle.app.value
    planned = next((p for p in bundle.plan.paths if p.flow == flow and p.over == "all" and p.to in app.sinks), None)
    return PathStatus(
        flow=flow,
        member=member,
        n=times.n,
        rate=times.rate,
        measured=times.service.percentiles,
        predicted=planned.predicted if planned else None,
        limit_ms=planned.limit_ms if planned else {},
    )


def _stages(bundle: Bundle, top: Topology, seen: Seen) -> Iterator[StageStatus]:
    planned = {(s.kind, s.name, s.site): s for s in bundle.plan.stages}
    for (name, member), times in seen.stages.items():
        yield _stage("stage", name, member, times, planned.get(("stage", name, site_of(member))))
    for (flow, edge, member), times in seen.transfers.items():
        yield _stage("transfer", edge, member, times, planned.get(("transfer", edge, top.ways.get((flow, edge), ""))))


def _stage(kind: Literal["stage", "transfer"], name: str, member: str, times: Times, planned: Any) -> StageStatus:
    return StageStatus(
        name=name,
        kind=kind,
        member=member,
        n=times.n,
        rate=times.rate,
        wait_measured=times.wait.percentiles,
        service_measured=times.service.percentiles,
        wait_predicted=planned.wait if planned else None,
        service_predicted=planned.service if planned else None,
    )

"""What each process of a deployment is told: its host, its door, and the hosts that it becomes when a site is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from runtime.bundle import Bundle
from runtime.cluster.actor import HostOrder
from runtime.deployment.actor import DeployOrder
from runtime.deployment.record import LINKS, LOGS, PORTS, Record, alternative_folder, state_folder
from runtime.fleet import Member
from runtime.health import Beats
from runtime.host import HostOptions
from runtime.ingress.door import DoorOptions
from runtime.ingress.service import Limits
from runtime.machine import machine_id
from runtime.observe.tracing import TraceOptions
from runtime.replicas import at_standby, has_standby, member_of, standby_of, without_standbys
from runtime.secrets import NO_SECRETS, Secrets
from runtime.shaping import LinkState, Routes
from runtime.topology import Topology, topology
from specs.plan import Plan
from specs.run_result import Slice

PARTIAL_LIMIT: Final = 4096
BEATS: Final = Beats()


def actor_prefix(name: str) -> str:
    return f"{name}/"


def topology_of(bundle: Bundle, record: Record, plan: Plan | None = None) -> Topology:
    """Of the bundle's plan, or of another one of its application. Raises InputError where it cannot be run so."""
    part = Slice(members=record.members, multiplier=1.0, requests=1, seed=1)
    return topology(plan or bundle.plan, bundle.app.value, bundle.infra.value, part)


@dataclass(frozen=True)
class Orders:
    """`top` is of the plan, `others` of the plans without a site, by site."""

    record: Record
    top: Topology
    others: Mapping[str, Topology]
    secrets: Secrets = NO_SECRETS

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """All that run something by any of the plans, or send requests."""
        return tuple(sorted({m for top in (self.top, *self.others.values()) for m in top.hosts}))

    @cached_property
    def processes(self) -> tuple[str, ...]:
        """The names of all processes: a host for each member, then the standbys."""
        return (*map(str, self.members), *(standby_of(str(m)) for m in self.members if has_standby(m.site, self.top)))

    def member(self, process: str) -> Member:
        return next(m for m in self.members if str(m) == member_of(process))

    def make_links(self) -> None:
        """The files of the shaped links, in which all are free: one a plan."""
        for site, top in {"": self.top, **self.others}.items():
            file = self._links(site)
            if file:
                state_folder(self.record.name).joinpath(file).unlink(missing_ok=True)
                LinkState.create(state_folder(self.record.name) / file, Routes(top).capacities)

    def of(self, process: str) -> DeployOrder:
        """For one process."""
        member = self.member(process)
        standby = process != str(member)
        # Doors of members where requests enter are numbered from the ports asked for; the others only tell metrics.
        entering = [str(m) for m in self.top.hosts if any(m in flow.members for flow in self.top.flows)]
        number = entering.index(process) if process in entering else None
        sites = () if standby else (site for site, top in self.others.items() if member in top.hosts)
        return DeployOrder(
            host=self._host(member, at_standby(member.site, self.top) if standby else self.top, standby=standby),
            digest=self.record.digest,
            prefix=actor_prefix(self.record.name),
            processes=self.processes,
            door=None if standby else door_options(self.record, process, number),
            ports=str(state_folder(self.record.name) / PORTS / process),
            alternatives={site: self._host(member, without_standbys(self.others[site]), site) for site in sites},
        )

    def _host(self, member: Member, top: Topology, without: str = "", *, standby: bool = False) -> HostOrder:
        record = self.record
        bundle = str(alternative_folder(record.name, without)) if without else record.bundle
        file = self._links(without)
        links = str(state_folder(record.name) / file) if file else ""
        options = HostOptions(record.queue_limit, PARTIAL_LIMIT, 1, machine_id(), record.shape, BEATS)
        chosen = replace(options, standby=standby, without=without)
        return HostOrder(member, top, bundle, links, chosen, secrets=self.secrets)

    def _links(self, without: str) -> str:
        """The name of a plan's file of links; "" where links are not shaped."""
        if not self.record.shape:
            return ""
        return f"{LINKS}-{without}" if without else LINKS


def door_options(record: Record, member: str, number: int | None) -> DoorOptions:
    """Of the door of `member`, the one of that `number` where requests enter; None of one that tells metrics alone."""
    at = record.listening

    def port(first: int) -> int:
        return first + number if first and number is not None else 0

    return DoorOptions(
        host=at.host,
        http_port=port(at.http_port),
        grpc_port=port(at.grpc_port),
        token_file=at.token_file,
        tls_cert=at.tls_cert,
        tls_key=at.tls_key,
        insecure=at.insecure,
        log_file=str(state_folder(record.name) / LOGS / f"{member}.jsonl") if member else "",
        log=record.seeing.log,
        trace=TraceOptions(record.seeing.trace, record.seeing.trace_sample),
        limits=Limits(deadline=record.deadline),
    )

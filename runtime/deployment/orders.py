"""What each process of a deployment is told: its host, its door, and the hosts that it becomes when a site is gone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from runtime.bundle import PLAN_FILE, Bundle, open_bundle
from runtime.cluster.actor import HostOrder
from runtime.deployment.record import (
    ALTERNATIVES,
    LINKS,
    LOGS,
    PORTS,
    Record,
    alternative_folder,
    bundle_in,
    file_in,
)
from runtime.deployment.release import DeployOrder, plan_name
from runtime.fleet import Member
from runtime.hosting.health import Beats
from runtime.hosting.host import HostOptions
from runtime.hosting.replicas import at_standby, has_standby, member_of, standby_of, without_standbys
from runtime.hosting.shaping import LinkState, Routes
from runtime.ingress.door import DoorOptions
from runtime.ingress.service import Limits
from runtime.machine import machine_id
from runtime.observe.tracing import TraceOptions
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.topology import Topology, topology
from specs.digest import digest_file
from specs.errors import EnvironmentFailed
from specs.manifest import MANIFEST_FILE
from specs.plan import Plan, read_plan
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
    """`top` is of the plan, `others` of the plans without a site, by site. `folder` holds the deployment's state."""

    record: Record
    top: Topology
    others: Mapping[str, Topology]
    folder: Path
    secrets: Secrets = NO_SECRETS

    @classmethod
    def kept(cls, record: Record, folder: Path, secrets: Secrets = NO_SECRETS) -> Orders:
        """For a record whose bundles are there; secrets are kept nowhere.

        Raises InputError where a bundle is not whole, EnvironmentFailed where its folder holds another one by now.
        """
        bundle = open_bundle(bundle_in(folder, record))
        manifest = digest_file(bundle.folder / MANIFEST_FILE)
        if bundle.plan.digest != record.plan or record.manifest not in ("", manifest):
            raise EnvironmentFailed(f"{bundle.folder} holds another bundle than the one of plan {record.plan[:16]}")
        plans = {
            site: read_plan(alternative_folder(folder, digest) / PLAN_FILE)
            for site, digest in record.alternatives.items()
        }
        return cls(
            record,
            topology_of(bundle, record),
            {site: topology_of(bundle, record, plan) for site, plan in plans.items()},
            folder,
            secrets,
        )

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
        """The files of the shaped links, in which all are free: one a plan. Those that are there stay."""
        for site, top in {"": self.top, **self.others}.items():
            file = self._links(site)
            if file and not (self.folder / file).exists():
                LinkState.create(self.folder / file, Routes(top).capacities)

    def remove_other_files(self) -> None:
        """Of records that are no longer in force: their links, and bundles without a site."""
        for file in self.folder.glob(f"{LINKS}-*"):
            if not file.name.startswith(f"{LINKS}-{self.record.key}"):
                file.unlink()
        kept = {alternative_folder(self.folder, digest) for digest in self.record.alternatives.values()}
        for bundle in (self.folder / ALTERNATIVES).glob("*"):
            if bundle not in kept:
                shutil.rmtree(bundle)

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
            key=self.record.key,
            door=None if standby else door_options(self.record, process, number, self.folder),
            ports=str(self.folder / PORTS / process),
            alternatives={site: self._host(member, without_standbys(self.others[site]), site) for site in sites},
            state=self.record.state,
        )

    def _host(self, member: Member, top: Topology, without: str = "", *, standby: bool = False) -> HostOrder:
        record = self.record
        folder = self.folder
        bundle = str(alternative_folder(folder, record.alternatives[without])) if without else bundle_in(folder, record)
        file = self._links(without)
        links = str(self.folder / file) if file else ""
        options = HostOptions(record.queue_limit, PARTIAL_LIMIT, 1, machine_id(), record.shape, BEATS)
        options = replace(options, standby=standby, plan=plan_name(record.key, without))
        return HostOrder(member, top, bundle, links, options, secrets=self.secrets)

    def _links(self, without: str) -> str:
        """The name of a plan's file of links; "" where links are not shaped."""
        if not self.record.shape:
            return ""
        return f"{LINKS}-{self.record.key}" + (f"-{without}" if without else "")


def door_options(record: Record, member: str, number: int | None, folder: Path) -> DoorOptions:
    """Of the door of `member`, the one of that `number` where requests enter; None of one that tells metrics alone."""
    at = record.listening

    def port(first: int) -> int:
        return first + number if first and number is not None else 0

    return DoorOptions(
        host=at.host,
        http_port=port(at.http_port),
        grpc_port=port(at.grpc_port),
        token_file=file_in(folder, at.token_file),
        tls_cert=file_in(folder, at.tls_cert),
        tls_key=file_in(folder, at.tls_key),
        insecure=at.insecure,
        log_file=str(folder / LOGS / f"{member}.jsonl") if member else "",
        log=record.seeing.log,
        trace=TraceOptions(record.seeing.trace, record.seeing.trace_sample),
        limits=Limits(deadline=record.deadline),
    )

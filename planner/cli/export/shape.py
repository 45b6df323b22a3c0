"""Which containers a bundle becomes: one for each member of a site, as `planner deploy` starts hosts on Ray nodes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.bundle import Bundle
from runtime.deployment.orders import topology_of
from runtime.deployment.record import Record, check_name
from runtime.fleet import Member
from runtime.stages.secrets import FOLDER
from specs.digest import digest_file
from specs.errors import InputError, Issue
from specs.export import ExportedMember
from specs.manifest import MANIFEST_FILE

STATE_MOUNT: Final = "/var/lib/tierplan"
"""Where containers share the state of their deployment."""
SECRETS_MOUNT: Final = "/run/secrets/functions"
"""Where the head finds a file for each secret of functions."""
RAY_PORT: Final = 6379
"""Of the head."""
NODE_PORT: Final = 6380
"""Of each member's Ray node, so that a probe knows where to knock."""
RAY_CORES: Final = 0.5
RAY_MEMORY: Final = 1 << 30
"""What the processes of a Ray node take beside what the plan knows of; measured: some 0.4 GB at rest."""
LONGEST: Final = 22
"""Characters of a name: Kubernetes allows 63 for that of the application, the site, and what it adds."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of one member's container: cores and bytes. `reserved` are the cores that its stages use at a time."""

    reserved: float
    cores: float
    memory: int | None


@dataclass(frozen=True, slots=True)
class SiteShape:
    """The containers of one class of sites. `dns` is its name as hosts are called.

    `http` and `grpc` are the ports of the first member's door (those of member i are i higher), 0 without doors.
    """

    site: str
    dns: str
    tier: str
    members: int
    stages: tuple[str, ...]
    http: int
    grpc: int
    size: Size


@dataclass(frozen=True)
class Shape:
    """All of an export but how it is written. `head` is the container whose Ray node the others join."""

    bundle: Bundle
    name: str
    members: Mapping[str, int]
    http_port: int
    grpc_port: int
    insecure: bool
    sites: tuple[SiteShape, ...]
    head: Member

    @property
    def dns(self) -> str:
        return dns_name(self.name)

    @property
    def image(self) -> str:
        return f"tierplan-{self.dns}:{self.bundle.plan.digest[:16]}"

    @property
    def annotations(self) -> dict[str, str]:
        """Digests of what runs."""
        manifest = digest_file(self.bundle.folder / MANIFEST_FILE)
        return {"tierplan.dev/plan": self.bundle.plan.digest, "tierplan.dev/bundle": manifest}

    @property
    def function_secrets(self) -> tuple[str, ...]:
        """Names of the secrets of functions and hosted APIs: the head deploys, and so hands them out."""
        components = self.bundle.app.value.components.values()
        return tuple(sorted({name for component in components for name in component.secret_names}))

    @property
    def deploy_options(self) -> str:
        """What the head says to `planner deploy`, beside where the bundle and the cluster are."""
        chosen = [f"--members {site}={count}" for site, count in sorted(self.members.items())]
        ports = [f"--http-port {self.http_port}", f"--grpc-port {self.grpc_port}"]
        return " ".join([f"--name {self.name}", *chosen, *ports])

    def settings(self, site: SiteShape, head_host: str) -> dict[str, str]:
        """Environment of the containers of `site`; all find the head's node at `head_host`."""
        at_head = site.site == self.head.site and self.function_secrets
        own = {FOLDER: SECRETS_MOUNT} if at_head else {}
        door = {"TIERPLAN_HTTP": str(site.http)} if site.http else {}
        return {
            "TIERPLAN_SITE": site.site,
            "TIERPLAN_TIER": site.tier,
            "TIERPLAN_HEAD": str(self.head),
            "TIERPLAN_HEAD_ADDRESS": f"{head_host}:{RAY_PORT}",
            "TIERPLAN_DEPLOY": self.deploy_options,
            "TIERPLAN_DOORS": "insecure" if self.insecure else "secure",
            **door,
            **own,
        }

    def exported(self) -> tuple[ExportedMember, ...]:
        """Its members as values for programs."""
        return tuple(
            ExportedMember(
                member=f"{s.site}-{i}",
                tier=s.tier,
                stages=s.stages,
                head=(s.site, i) == (self.head.site, self.head.index),
                http=s.http + i if s.http else 0,
                grpc=s.grpc + i if s.grpc else 0,
            )
            for s in self.sites
            for i in range(s.members)
        )


def shape_of(
    bundle: Bundle, name: str, members: Mapping[str, int], http_port: int, grpc_port: int, insecure: bool
) -> Shape:
    """Raises InputError where the plan cannot be deployed so, as `planner deploy` does."""
    record = Record(name=check_name(name), plan=bundle.plan.digest, bundle="", members=dict(members))
    top = topology_of(bundle, record)
    # Doors are numbered as `planner deploy` does: over all members where requests enter, in the order of hosts.
    entering = [m for m in top.hosts if any(m in flow.members for flow in top.flows)]
    inner = [m for m in top.hosts if m not in entering]
    sites: list[SiteShape] = []
    for site in dict.fromkeys(m.site for m in top.hosts):
        own = [m for m in top.hosts if m.site == site]
        if [m.index for m in own] != list(range(len(own))):
            message = f"not supported yet: {site} takes part with other members than its first ones"
            raise InputError(Issue(message, None, "choose --members so that they belong to the first ones"))
        first = entering.index(own[0]) if own[0] in entering else None
        sites.append(
            SiteShape(
                site=site,
                dns=dns_name(site),
                tier=bundle.infra.value.sites[site].tier,
                members=len(own),
                stages=tuple(stage.name for stage in top.stages_at(site)),
                http=0 if first is None else http_port + first,
                grpc=0 if first is None else grpc_port + first,
                size=_size(bundle, site),
            )
        )
    head = (inner or entering)[-1]  # the farthest from where requests enter: it has nothing to do with them
    return Shape(bundle, name, members, http_port, grpc_port, insecure, tuple(sites), head)


def _size(bundle: Bundle, site: str) -> Size:
    """As the plan bought it for each member, and what Ray takes beside that."""
    hardware = bundle.infra.value.hardware
    at_once: dict[str, float] = {}
    for a in bundle.plan.assignments:
        if a.site == site:
            shares_time = hardware[a.hardware].sharing == "time"
            before = at_once.get(a.pool, 0.0)
            threads = a.threads * a.replicas
            at_once[a.pool] = max(before, threads) if shares_time else before + threads + a.threads * a.standby
    reserved = sum(at_once.values())
    bought = [d for d in bundle.plan.devices if d.site == site]
    cores = max(reserved, sum(d.bought * hardware[d.hardware].cores for d in bought))
    memory: int | None = RAY_MEMORY
    for d in bought:
        each = hardware[d.hardware].memory
        memory = None if memory is None or each is None else memory + int(each * d.bought)
    return Size(reserved + RAY_CORES, cores + RAY_CORES, memory)


def dns_name(text: str) -> str:
    """`text` as a host may be called: unchanged where it is, else with some digits of it that keep names apart."""
    if re.fullmatch(rf"[a-z]([a-z0-9-]{{0,{LONGEST - 2}}}[a-z0-9])?", text):
        return text
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: LONGEST - 8].strip("-") or "site"
    digits = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{plain if plain[0].isalpha() else 's' + plain}-{digits}"


def in_words(sites: Sequence[SiteShape]) -> str:
    """``bases-0, phones-0 and phones-1``"""
    names = [f"{s.site}-{i}" for s in sites for i in range(s.members)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

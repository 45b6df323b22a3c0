"""The processes of a member: its host and, where the plan has warm standbys there, the host that stands in for it.

A standby's host has every replica loaded that the plan names and gets no work while the member's own host is up.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from runtime.fleet import Member
from runtime.topology import Flow, Queue, Stage, Topology

STANDBY: Final = "+standby"


def standby_of(member: str) -> str:
    """The name of the process that stands in for the host of `member`."""
    return member + STANDBY


def member_of(process: str) -> str:
    """The name of the member whose process it is."""
    return process.removesuffix(STANDBY)


def has_standby(site: str, top: Topology) -> bool:
    return any(stage.standby for stage in top.stages_at(site))


def process_for(member: str, stage: Stage | None, avoid: Collection[str]) -> str | None:
    """Which process of `member` is to run `stage` (None for a sink); None where all that could are to be avoided."""
    if member not in avoid:
        return member
    other = standby_of(member)
    return other if stage is not None and stage.standby and other not in avoid else None


def processes_of(flow: Flow, origin: Member, top: Topology) -> frozenset[str]:
    """Processes elsewhere that may hold a request of `flow` from `origin`."""
    found: set[str] = set()
    for stage in top.stages:
        member = top.member.get((str(origin), stage.site))
        if flow.name in stage.flows and member is not None and member != origin:
            found |= {str(member), standby_of(str(member))} if stage.standby else {str(member)}
    for edge in top.edges:
        if edge.flow == flow.name and edge.consumer not in top.stage_by_id:  # a sink, which may be at another site
            member = top.member.get((str(origin), edge.to_site))
            if member is not None and member != origin:
                found.add(str(member))
    return frozenset(found)


def at_standby(site: str, top: Topology) -> Topology:
    """`top` as the standby at members of `site` has it: a server for each replica that stands by, and no others."""
    return replace(top, queues=tuple(_reduced(queue, site, top) for queue in top.queues if _stages(queue, site, top)))


def _stages(queue: Queue, site: str, top: Topology) -> tuple[str, ...]:
    return tuple(s for s in queue.stages if queue.site != site or top.stage_by_id[s].standby)


def _reduced(queue: Queue, site: str, top: Topology) -> Queue:
    if queue.site != site:
        return queue
    stages = _stages(queue, site, top)
    servers = top.stage_by_id[stages[0]].standby if queue.sharing == "cores" else queue.servers
    return replace(queue, stages=stages, servers=servers)


def without_standbys(top: Topology) -> Topology:
    """`top`, in which every process is a member's own host."""
    return replace(top, stages=tuple(replace(stage, standby=0) for stage in top.stages))

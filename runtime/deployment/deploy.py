"""Starts what a record asks for, as far as it does not run already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from runtime.background import RECORDED, recorded_inputs
from runtime.bundle import Bundle
from runtime.cluster.actor import HostOrder
from runtime.cluster.connection import Connection
from runtime.deployment.actor import DeployedHost
from runtime.deployment.local import ensure_nodes
from runtime.deployment.record import LINKS, LOGS, Record, locked, read_record, state_folder, write_record
from runtime.host import HostOptions
from runtime.ingress.door import DoorOptions, check_exposure
from runtime.ingress.service import Limits
from runtime.items import Item
from runtime.machine import machine_id
from runtime.opening import open_references
from runtime.shaping import LinkState, Routes
from runtime.topology import Topology, topology
from specs.errors import EnvironmentFailed, InputError, Issue
from specs.run_result import Slice

PARTIAL_LIMIT: Final = 4096
LOOK_LIMIT: Final = 10.0
WARM_UP_ROUNDS: Final = 3

Tell = Callable[[str], None]


def actor_prefix(name: str) -> str:
    return f"{name}/"


def topology_of(bundle: Bundle, record: Record) -> Topology:
    """Raises InputError where the plan cannot be run so."""
    part = Slice(members=record.members, multiplier=1.0, requests=1, seed=1)
    return topology(bundle.plan, bundle.app.value, bundle.infra.value, part)


def deploy(bundle: Bundle, record: Record, items: Sequence[Item], tell: Tell) -> bool:
    """Make `record` run, and return; whether anything had to be started.

    What runs already is left as it is, and what was broken off is taken up again: hosts that are not whole are started
    anew, all of them, for each knows the others. `items` warm the stages up. Raises InputError where another plan or
    other options run under the name, EnvironmentFailed where nodes, hosts or doors do not start; what was started then
    stays, for another try or for undeploy.
    """
    top = topology_of(bundle, record)
    check_exposure(_door_options(record, "", 0))
    with locked(record.name):
        before = read_record(record.name)
        if before is not None and before != record:
            hint = f"planner undeploy {record.name} first, or choose another --name"
            raise InputError(Issue(f"{record.name} is deployed with another plan or other options", None, hint))
        write_record(record)
        tiers = {str(m): bundle.infra.value.sites[m.site].tier for m in top.hosts}
        tell("nodes")
        address = record.address or ensure_nodes(record.name, tiers)
        connection = Connection(address, local=not record.address)
        try:
            connection.check_sites(tiers)
            found = connection.named(actor_prefix(record.name))
            if _is_whole(connection, found, record, tiers):
                return False
            connection.kill(list(found.values()))
            _start_hosts(connection, bundle, record, top, items, tell)
            return True
        finally:
            connection.close()


def _is_whole(connection: Connection, found: Mapping[str, Any], record: Record, tiers: Mapping[str, str]) -> bool:
    if set(found) != set(tiers):
        return False
    answers, _ = connection.ask({m: actor.ready_for.remote() for m, actor in found.items()}, LOOK_LIMIT)
    return len(answers) == len(tiers) and set(answers.values()) == {record.digest}


def _start_hosts(
    connection: Connection, bundle: Bundle, record: Record, top: Topology, items: Sequence[Item], tell: Tell
) -> None:
    tell("hosts")
    links = state_folder(record.name) / LINKS
    if record.shape:
        links.unlink(missing_ok=True)
        LinkState.create(links, Routes(top).capacities)
    options = HostOptions(record.queue_limit, PARTIAL_LIMIT, 1, machine_id(), record.shape)
    actors: dict[str, Any] = {}
    for member in top.hosts:
        order = HostOrder(member, top, record.bundle, str(links) if record.shape else "", options)
        name = actor_prefix(record.name) + str(member)
        actors[str(member)] = connection.place(str(member), DeployedHost, order, record.digest, name=name)
    machines = connection.call(actors, "machine")
    elsewhere = sorted(m for m, machine in machines.items() if machine != machine_id())
    if elsewhere:
        connection.kill(list(actors.values()))
        raise EnvironmentFailed(
            f"not supported yet: {', '.join(elsewhere)} on another machine than this one; the bundle's folder is "
            "shared through this machine's file system"
        )
    connection.call(actors, "open", actors)
    if items:
        tell("warming up")
        _warm_up(connection, actors, bundle, top, items)
    tell("doors")
    # Doors of members where requests enter are numbered from the ports asked for; the others only tell metrics.
    entering = [str(m) for m in top.hosts if any(m in flow.members for flow in top.flows)]
    inner = [str(m) for m in top.hosts if str(m) not in entering]
    orders = {m: _door_options(record, m, entering.index(m) if m in entering else None) for m in (*entering, *inner)}
    connection.gather({m: actors[m].open_door.remote(order) for m, order in orders.items()})


def _door_options(record: Record, member: str, number: int | None) -> DoorOptions:
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
        limits=Limits(deadline=record.deadline),
    )


def _warm_up(
    connection: Connection, actors: Mapping[str, Any], bundle: Bundle, top: Topology, items: Sequence[Item]
) -> None:
    """Every executor runs a few of the inputs that `items` lead to."""
    references = open_references(bundle, top)
    outcomes = [
        references[flow.name].run(item)
        for flow in top.flows
        for item in [i for i in items if i.source == flow.source][:RECORDED]
    ]
    calls = {}
    for member in top.hosts:
        for stage in top.stages_at(member.site):
            recorded = recorded_inputs(stage, bundle.app.value, outcomes, WARM_UP_ROUNDS)
            if recorded:
                call = actors[str(member)].warm_up.remote(stage.id, recorded, WARM_UP_ROUNDS)
                calls[f"{member}/{stage.id}"] = call
    connection.gather(calls)


def bundle_path(bundle: Bundle) -> str:
    """As it stands in a record."""
    return str(Path(bundle.folder).resolve())

"""Starts what a record asks for, as far as it does not run already."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runtime.background import RECORDED, recorded_inputs
from runtime.bundle import Bundle, open_bundle
from runtime.cluster.connection import Connection
from runtime.deployment.actor import DeployedHost
from runtime.deployment.local import ensure_nodes, stop_nodes
from runtime.deployment.orders import Orders, actor_prefix, door_options, topology_of
from runtime.deployment.record import (
    PORTS,
    Record,
    alternative_folder,
    locked,
    read_record,
    state_folder,
    write_record,
)
from runtime.ingress.door import check_exposure
from runtime.items import Item
from runtime.machine import machine_id
from runtime.observe.tracing import check_tracing
from runtime.opening import open_references
from runtime.replicas import member_of
from runtime.secrets import NO_SECRETS, Secrets
from specs.errors import EnvironmentFailed, InputError, Issue
from specs.plan import Plan

LOOK_LIMIT: Final = 10.0
WARM_UP_ROUNDS: Final = 3

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to run. `items` warm the stages up. `alternatives` are the plans without a site, by site; `write` puts
    the bundle of one in a folder. `secrets` go to the functions that name them.
    """

    bundle: Bundle
    record: Record
    items: Sequence[Item] = ()
    alternatives: Mapping[str, Plan] = field(default_factory=dict)
    write: Callable[[Plan, Path], object] | None = None
    secrets: Secrets = NO_SECRETS


def deploy(wanted: Wanted, tell: Tell) -> bool:
    """Make what is `wanted` run, and return; whether anything had to be started.

    What runs already is left as it is, and what was broken off is taken up again: hosts that are not whole are started
    anew, all of them, for each knows the others. Raises InputError where another plan or other options run under the
    name, EnvironmentFailed where nodes, hosts or doors do not start; what was started then stays, for another try or
    for undeploy.
    """
    bundle, record = wanted.bundle, wanted.record
    others = {site: topology_of(bundle, record, plan) for site, plan in wanted.alternatives.items()}
    orders = Orders(record, topology_of(bundle, record), others, wanted.secrets)
    options = door_options(record, "", 0)
    check_exposure(options)
    check_tracing(options.trace)
    with locked(record.name):
        before = read_record(record.name)
        if before is not None and before != record:
            hint = f"planner undeploy {record.name} first, or choose another --name"
            raise InputError(Issue(f"{record.name} is deployed with another plan or other options", None, hint))
        write_record(record)
        _write_alternatives(wanted)
        tiers = {str(m): bundle.infra.value.sites[m.site].tier for m in orders.members}
        tell("nodes")
        connection = _connect(record, tiers)
        try:
            found = connection.named(actor_prefix(record.name))
            if _is_whole(connection, found, orders):
                return False
            connection.kill(list(found.values()))
            _start_hosts(connection, wanted, orders, tell)
            return True
        finally:
            connection.close()


def _connect(record: Record, tiers: Mapping[str, str]) -> Connection:
    """To a cluster with a node for each member. Of nodes of our own all are started anew where one is missing."""
    try:
        return _connect_to(record.address or ensure_nodes(record.name, tiers), record, tiers)
    except EnvironmentFailed:
        if record.address:
            raise
    stop_nodes(record.name)
    return _connect_to(ensure_nodes(record.name, tiers), record, tiers)


def _connect_to(address: str, record: Record, tiers: Mapping[str, str]) -> Connection:
    connection = Connection(address, local=not record.address)
    try:
        connection.check_sites(tiers)
    except EnvironmentFailed:
        connection.close()
        raise
    return connection


def _write_alternatives(wanted: Wanted) -> None:
    """Bundles that are there from another try stay."""
    for site, plan in wanted.alternatives.items():
        folder = alternative_folder(wanted.record.name, site)
        if folder.exists() and open_bundle(folder).plan.digest == plan.digest:
            continue
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        assert wanted.write is not None
        wanted.write(plan, folder)


def _is_whole(connection: Connection, found: Mapping[str, Any], orders: Orders) -> bool:
    """Whether all processes are ready for the record. Those that Ray is starting again are waited for."""
    if set(found) != set(orders.processes):
        return False
    give_up = time.monotonic() + LOOK_LIMIT
    while True:
        left = max(0.1, give_up - time.monotonic())
        answers, _ = connection.ask({p: actor.ready_for.remote() for p, actor in found.items()}, left)
        if set(answers.values()) - {orders.record.digest, ""}:
            return False
        if len(answers) == len(found) and "" not in answers.values():
            return True
        if time.monotonic() > give_up:
            return False
        time.sleep(0.2)


def _start_hosts(connection: Connection, wanted: Wanted, orders: Orders, tell: Tell) -> None:
    tell("hosts")
    orders.make_links()
    for file in (state_folder(orders.record.name) / PORTS).iterdir():
        file.unlink()
    actors: dict[str, Any] = {}
    for process in orders.processes:
        order = orders.of(process)
        actors[process] = connection.place(member_of(process), DeployedHost, order, name=order.prefix + process)
    machines = connection.call(actors, "machine")
    elsewhere = sorted(m for m, machine in machines.items() if machine != machine_id())
    if elsewhere:
        connection.kill(list(actors.values()))
        raise EnvironmentFailed(
            f"not supported yet: {', '.join(elsewhere)} on another machine than this one; the bundle's folder is "
            "shared through this machine's file system"
        )
    connection.call(actors, "open_all")
    if wanted.items:
        tell("warming up")
        _warm_up(connection, actors, wanted, orders)
    tell("doors")
    connection.call(actors, "open_door")


def _warm_up(connection: Connection, actors: Mapping[str, Any], wanted: Wanted, orders: Orders) -> None:
    """Every executor runs a few of the inputs that the items lead to."""
    top, app = orders.top, wanted.bundle.app.value
    references = open_references(wanted.bundle, top, wanted.secrets)
    outcomes = [
        references[flow.name].run(item)
        for flow in top.flows
        for item in [i for i in wanted.items if i.source == flow.source][:RECORDED]
    ]
    calls = {}
    for process, actor in actors.items():
        for stage in top.stages_at(orders.member(process).site):
            recorded = recorded_inputs(stage, app, outcomes, WARM_UP_ROUNDS)
            if recorded and (process == member_of(process) or stage.standby):
                calls[f"{process}/{stage.id}"] = actor.warm_up.remote(stage.id, recorded, WARM_UP_ROUNDS)
    connection.gather(calls)


def bundle_path(bundle: Bundle) -> str:
    """As it stands in a record."""
    return str(Path(bundle.folder).resolve())

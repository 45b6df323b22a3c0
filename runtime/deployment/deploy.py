"""Makes what a record asks for run, as far as it does not run already."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runtime.bundle import Bundle, open_bundle
from runtime.cluster.federation import Clusters, connect
from runtime.cluster.shipping import Tell
from runtime.deployment.exchange import make_key
from runtime.deployment.local import NODE_LIMIT, await_head, ensure_nodes, stop_nodes
from runtime.deployment.move import movable, move, unfinished
from runtime.deployment.orders import Orders, door_options, topology_of
from runtime.deployment.processes import PAUSE, Processes
from runtime.deployment.record import (
    PORTS,
    Moving,
    Record,
    alternative_folder,
    locked,
    moving_in,
    read_record,
    remove_moving,
    state_folder,
    write_moving,
    write_record,
)
from runtime.ingress.door import check_exposure
from runtime.observe.tracing import check_tracing
from runtime.reference.items import Item
from runtime.stages.secrets import NO_SECRETS, Secrets
from specs.errors import EnvironmentFailed, InputError, Issue
from specs.plan import Plan

NOWHERE: Final = Path()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to run. `items` warm the stages up. `alternatives` are the plans without a site, by site; `write` puts
    the bundle of one in a folder. `secrets` go to the functions that name them. With `move` it may take the place of
    what runs under its name.
    """

    bundle: Bundle
    record: Record
    items: Sequence[Item] = ()
    alternatives: Mapping[str, Plan] = field(default_factory=dict)
    write: Callable[[Plan, Path], object] | None = None
    secrets: Secrets = NO_SECRETS
    move: bool = False


def deploy(wanted: Wanted, tell: Tell) -> bool:
    """Make what is `wanted` run, and return; whether anything had to be done.

    What runs already is left as it is, and what was broken off is taken up again: hosts that are not whole are started
    anew, all of them, for each knows the others. What is to move is moved while it serves (`runtime.deployment.move`).
    Raises InputError where another plan or other options run under the name, and it is not to move or cannot;
    EnvironmentFailed where nodes, hosts or doors do not start; what was started then stays, for another try or for
    undeploy.
    """
    bundle, record = wanted.bundle, wanted.record
    others = {site: topology_of(bundle, record, plan) for site, plan in wanted.alternatives.items()}
    orders = Orders(record, topology_of(bundle, record), others, state_folder(record.name), wanted.secrets)
    options = door_options(record, "", 0, NOWHERE)
    check_exposure(options)
    check_tracing(options.trace)
    with locked(record.name):
        moving = _agree(wanted, orders)
        if not record.foreign:  # its nodes are started in the folder of its state
            _write(wanted, orders, moving)
        tell("nodes")
        tiers = {str(m): bundle.infra.value.sites[m.site].tier for m in orders.members}
        connection = _connect(record, tiers, anew=moving is None)
        try:
            processes = Processes(connection, orders)
            if record.foreign:  # nothing is written where a cluster cannot be reached
                _write(wanted, orders, moving)
            if moving is not None:
                move(moving, processes, wanted.bundle, wanted.items, tell)
                return True
            if processes.are_whole():
                processes.bring(tell)
                processes.introduce()
                return _tidy(processes)
            processes.dismiss(list(processes.actors))
            _start(processes, wanted, tell)
            return True
        finally:
            connection.close()


def _agree(wanted: Wanted, orders: Orders) -> Moving | None:
    """How to come from what is deployed to what is wanted: by a move, or (None) by starting what does not run."""
    record = wanted.record
    before, moving = read_record(record.name), moving_in(orders.folder)
    if before is None or (moving is None and before == record):
        return None
    if moving is not None:
        return unfinished(moving, record)
    reasons = movable(before, wanted.bundle, record)
    if wanted.move and not reasons:
        return Moving(old=before, new=record)
    what = f"{record.name} is deployed with another plan or other options"
    if reasons:
        hint = f"planner undeploy {record.name} first, or choose another --name"
        raise InputError(*(Issue(f"{what}, and cannot move: {reason}", None, hint) for reason in reasons))
    hint = f"--move takes it over while it serves; or planner undeploy {record.name} first, or choose another --name"
    raise InputError(Issue(what, None, hint))


def _connect(record: Record, tiers: Mapping[str, str], *, anew: bool) -> Clusters:
    """To clusters with a node for each member. Of nodes of our own all are started `anew` where one is missing."""
    try:
        return _connect_to(record, tiers, anew=anew)
    except EnvironmentFailed:
        if record.foreign or not anew:
            raise
    stop_nodes(record.name)
    return _connect_to(record, tiers, anew=True)


def _connect_to(record: Record, tiers: Mapping[str, str], *, anew: bool) -> Clusters:
    address = record.address
    if not record.foreign:
        address = ensure_nodes(record.name, tiers, anew=anew)
        await_head(address)
    connection = connect(address, record.clusters, local=not record.foreign)
    try:
        give_up = time.monotonic() + (0.0 if record.foreign else NODE_LIMIT)
        while time.monotonic() < give_up and connection.lacking(tiers):  # our own may have been started just now
            time.sleep(PAUSE)
        connection.check_sites(tiers)
    except EnvironmentFailed as error:
        lost = connection.unreachable
        connection.close()
        if not lost:
            raise
        what = "nothing was done: what runs in the other clusters is left as it is"
        raise EnvironmentFailed(f"{error}\n{what} (planner status {record.name} tells of them)") from error
    return connection


def _write(wanted: Wanted, orders: Orders, moving: Moving | None) -> None:
    """What another command needs to know of it, in the folder of its state."""
    _write_alternatives(wanted, orders.folder)
    if moving is None:
        write_record(wanted.record)
    else:
        write_moving(moving)
    make_key(orders.folder)


def _write_alternatives(wanted: Wanted, folder: Path) -> None:
    """Bundles that are there from another try stay."""
    for plan in wanted.alternatives.values():
        target = alternative_folder(folder, plan.digest)
        if target.exists() and open_bundle(target).plan.digest == plan.digest:
            continue
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        assert wanted.write is not None
        wanted.write(plan, target)


def _tidy(processes: Processes) -> bool:
    """Where a move was broken off at its very end; whether there was anything."""
    key = processes.orders.record.key
    extra = set(processes.actors) - set(processes.orders.processes)
    extra |= {process for process, keys in processes.loaded().items() if set(keys) - {key}}
    if extra:
        processes.each("unload_all_but", key)
        processes.end_others()
        processes.orders.remove_other_files()
    return bool(extra)


def _start(processes: Processes, wanted: Wanted, tell: Tell) -> None:
    tell("hosts")
    orders = processes.orders
    remove_moving(orders.record.name)
    for file in (*orders.folder.glob("links*"), *(orders.folder / PORTS).iterdir()):
        file.unlink()
    orders.make_links()
    processes.place()
    processes.bring(tell)
    processes.each("load", orders.record.key)
    processes.introduce()
    if wanted.items:
        tell("warming up")
        processes.warm_up(wanted.bundle, wanted.items)
    tell("doors")
    processes.each("serve", orders.record.key)
    orders.remove_other_files()


def bundle_path(bundle: Bundle) -> str:
    """As it stands in a record."""
    return str(Path(bundle.folder).resolve())

"""Ends a deployment, and removes all that it left."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

from runtime.cluster.federation import Clusters, connect
from runtime.deployment.local import address_of, await_head, keeper_of, stop_nodes
from runtime.deployment.record import (
    clusters_in,
    locked,
    moving_in,
    record_in,
    remove_state,
    state_folder,
    state_of,
)
from specs.errors import EnvironmentFailed, InputError, Issue, TierplanError

CLOSE_LIMIT: Final = 30.0


def undeploy(name: str, address: str = "") -> bool:
    """End the hosts of `name`, and its nodes where they are our own; whether there was anything.

    `address` is of a cluster, for a machine that has no state of the deployment; of several each has to be named once,
    on its own. Also ends what another version of tierplan deployed. Nothing at all is no error. What components keep is
    written for the last time, where their processes can be asked; the folder of their checkpoints stays.

    Raises InputError where the deployment was made from here at another address, EnvironmentFailed where a cluster that
    is not ours, and has members of it, cannot be reached: then its hosts may still run, those of the others are ended,
    and the state stays for another try.
    """
    with locked(name):
        was = state_folder(name).exists() or keeper_of(name) is not None
        kept = clusters_in(state_folder(name))
        if address and any(kept) and kept != (address, {}):
            at = kept[0] or ", ".join(cluster.address for cluster in kept[1].values())
            what = f"{name} was deployed from here on {at}: ending it at {address} alone would lose the rest"
            raise InputError(Issue(what, None, f"planner undeploy {name}, without --address"))
        where, clusters = (address, {}) if address else kept
        if where or clusters:
            was |= _end_hosts(name, connect(where, clusters, local=False))
        elif state_of(state_folder(name)) and (own := address_of(name)) is not None:
            with contextlib.suppress(EnvironmentFailed):  # without a head, the last checkpoint is what there is
                await_head(own)
                _end_hosts(name, connect(own, {}, local=True))
        stop_nodes(name)
        remove_state(name)
    return was


def _end_hosts(name: str, connection: Clusters) -> bool:
    from runtime.deployment.orders import actor_prefix  # pulls in all that runs

    try:
        actors = connection.named(actor_prefix(name))
        with contextlib.suppress(Exception):  # who does not close is killed
            connection.ask({m: actor.close.remote() for m, actor in actors.items()}, CLOSE_LIMIT)
        connection.kill(list(actors.values()))
        if lost := _with_members(name, connection.unreachable):
            ended = f"the hosts in the other clusters are ended ({', '.join(sorted(actors)) or 'there were none'})"
            again = f"planner undeploy {name} again when it can be reached"
            gone = f"where it is gone for good, remove {state_folder(name)}"
            why = "\n".join(lost.values())
            raise EnvironmentFailed(f"{why}\nits hosts may still run; {ended} ({again}; {gone})")
        return bool(actors)
    finally:
        connection.close()


def _with_members(name: str, lost: Mapping[str, str]) -> dict[str, str]:
    """Of the clusters that are `lost`, and why, those that may have a member of what is deployed as `name`."""
    if not lost:
        return {}
    from runtime.deployment.orders import Orders

    folder = state_folder(name)
    try:
        record, moving = record_in(folder), moving_in(folder)
        records = [r for r in (record, *((moving.old, moving.new) if moving else ())) if r is not None]
        sites = {member.site for each in records for member in Orders.kept(each, folder).members}
    except (TierplanError, OSError):  # another version's, or its bundle is gone: any may have some
        return dict(lost)
    idle = {c for each in records for c, cluster in each.clusters.items() if sites.isdisjoint(cluster.sites)}
    return {cluster: why for cluster, why in lost.items() if cluster not in idle}

"""Ends a deployment, and removes all that it left."""

from __future__ import annotations

import contextlib
from typing import Final

from runtime.cluster.federation import Clusters, connect
from runtime.deployment.local import address_of, keeper_of, stop_nodes
from runtime.deployment.record import clusters_in, locked, remove_state, state_folder, state_of
from specs.errors import EnvironmentFailed

CLOSE_LIMIT: Final = 10.0


def undeploy(name: str, address: str = "") -> bool:
    """End the hosts of `name`, and its nodes where they are our own; whether there was anything.

    `address` is of a cluster, for a machine that has no state of the deployment; of several each has to be named once,
    on its own. Also ends what another version of tierplan deployed. Nothing at all is no error. Raises
    EnvironmentFailed where a cluster that is not ours cannot be reached: then its hosts may still run, and the state
    stays for another try. What components keep is written for the last time, where their processes can be asked; the
    folder of their checkpoints stays.
    """
    with locked(name):
        was = state_folder(name).exists() or keeper_of(name) is not None
        where, clusters = (address, {}) if address else clusters_in(state_folder(name))
        if where or clusters:
            was |= _end_hosts(name, connect(where, clusters, local=False))
        elif state_of(state_folder(name)) and (own := address_of(name)) is not None:
            with contextlib.suppress(EnvironmentFailed):  # without a head, the last checkpoint is what there is
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
        return bool(actors)
    finally:
        connection.close()

"""Named actors, looked up from inside an actor: how a process that was started again finds the others."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from runtime.cluster.connection import NAMESPACE
from specs.errors import EnvironmentFailed

LISTEN: Final = "listen"
"""The label of a node whose machine has an address for messages between hosts, apart from that of Ray."""


def find_peers(prefix: str, processes: Collection[str]) -> dict[str, Any]:
    """The actors of `processes` by name; those that were never placed are left out."""
    import ray

    found: dict[str, Any] = {}
    for process in processes:
        with contextlib.suppress(ValueError):
            found[process] = ray.get_actor(prefix + process, NAMESPACE)
    return found


def adopt_everywhere(actors: Mapping[str, Any], release: str, site: str, limit: float = 30.0) -> None:
    """Have `actors` open the hosts of a release's plan without `site`. Raises EnvironmentFailed where one does not."""
    import ray

    refs = {process: actor.adopt.remote(release, site) for process, actor in actors.items()}
    for process, ref in refs.items():
        try:
            ray.get(ref, timeout=limit)
        except ray.exceptions.RayError as error:
            reason = next(reversed(str(error).strip().splitlines()), "no reason given")
            raise EnvironmentFailed(f"{process} cannot take part in the plan without {site}: {reason}") from error


def node_address() -> str:
    """Where the others are to reach this actor's process: its node's label `listen`, or else the node's address."""
    import ray

    labels = ray.get_runtime_context().get_node_labels()
    return str(labels.get(LISTEN) or ray.util.get_node_ip_address())


def was_restarted() -> bool:
    """Whether the process of this actor is not its first."""
    import ray

    return bool(ray.get_runtime_context().was_current_actor_reconstructed)

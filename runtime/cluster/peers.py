"""What an actor asks Ray of itself, and of its node."""

from __future__ import annotations

from typing import Final

LISTEN: Final = "listen"
"""The label of a node whose machine has an address for messages between hosts, apart from that of Ray."""


def node_address() -> str:
    """Where the others are to reach this actor's process: its node's label `listen`, or else the node's address."""
    import ray

    labels = ray.get_runtime_context().get_node_labels()
    return str(labels.get(LISTEN) or ray.util.get_node_ip_address())


def was_restarted() -> bool:
    """Whether the process of this actor is not its first."""
    import ray

    return bool(ray.get_runtime_context().was_current_actor_reconstructed)

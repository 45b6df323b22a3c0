"""A Bundle becomes a running pipeline: hosts at their sites, messages between them, requests measured.

Importing this package is cheap; each name below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from runtime.bundle import Bundle, open_bundle, write_bundle
    from runtime.reference.behaviour import measure_behaviour
    from runtime.reference.items import Item, read_items
    from runtime.running.hops import measure_hops
    from runtime.running.run import Execution, Progress, execute
    from runtime.topology import Topology, topology

__all__ = [
    "Bundle",
    "Execution",
    "Item",
    "Progress",
    "Topology",
    "execute",
    "measure_behaviour",
    "measure_hops",
    "open_bundle",
    "read_items",
    "topology",
    "write_bundle",
]

_HOMES: Final = {
    "Bundle": "bundle",
    "Execution": "run",
    "Item": "items",
    "Progress": "run",
    "Topology": "topology",
    "execute": "run",
    "measure_behaviour": "behaviour",
    "measure_hops": "hops",
    "open_bundle": "bundle",
    "read_items": "items",
    "topology": "topology",
    "write_bundle": "bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"runtime.{_HOMES[name]}"), name)

"""What every result says of itself: its schema, the versions of what was measured, and the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

from runtime.machine import host_name


def about(*packages: str) -> dict[str, Any]:
    """The head of a result's file; `packages` are distributions whose versions count."""
    return {
        "schema": "tierplan.benchmark/v1",
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "machine": {"cpu": host_name(), "cores": len(os.sched_getaffinity(0))},
    }

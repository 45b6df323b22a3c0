"""This machine: which one it is, and its clock."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def machine_id() -> str:
    """Equal for processes that share CLOCK_MONOTONIC and the file system's /tmp, different between machines."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text("utf-8").strip() if boot.exists() else platform.node()


def host_name() -> str:
    """The processor's model, which says more about timings than a name would."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()

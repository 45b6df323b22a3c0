"""This machine: which one it is, and its clock."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from specs.digest import digest_value


@cache
def machine_id() -> str:
    """Equal for processes that share CLOCK_MONOTONIC, different between machines."""
    boot, clocks = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/time")
    booted = boot.read_text("utf-8").strip() if boot.exists() else platform.node()
    # A container may have clocks of its own (time_namespaces(7)).
    return digest_value([booted, str(clocks.readlink()) if clocks.is_symlink() else ""])[:32]


def clock_name(machine: str) -> str:
    """What the times of stages call a machine's clock: short, for each of them has it."""
    return machine[:8]


def host_name() -> str:
    """The processor's model, which says more about timings than a name would."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()

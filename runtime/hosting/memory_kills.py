"""How the kernel's killing of processes for their memory shows: a count of this machine, whatever the limit was."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

VMSTAT: Final = Path("/proc/vmstat")
RECENT: Final = 5.0
"""Seconds after one in which a process that is found dead may have been it."""


def kills() -> int:
    """Since this machine started; 0 where the kernel does not count them."""
    try:
        lines = VMSTAT.read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


@dataclass
class MemoryKills:
    """Looked at again and again by one thread, asked by any."""

    _count: int = field(default_factory=kills)
    _latest: float = float("-inf")

    def look(self) -> None:
        """Note whether there was one since the last look."""
        count = kills()
        if count != self._count:
            self._count, self._latest = count, time.monotonic()

    def explain(self, reason: str) -> str:
        """Why a process died, with what the kernel knows of it."""
        self.look()
        if time.monotonic() - self._latest > RECENT:
            return reason
        return f"{reason} (where the request entered, the kernel killed a process for its memory just then)"

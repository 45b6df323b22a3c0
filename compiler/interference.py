"""How much of this machine others use while something is measured."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

STAT: Final = Path("/proc/stat")
BUSY: Final = (0, 1, 2, 5, 6, 7)
"""Of the first line's columns (proc_stat(5)): user, nice, system, irq, softirq, and steal, which another machine on
the same processors took."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds up to a moment: spent by whoever, and by this process and those below it."""

    at: float
    busy: float
    own: float

    @staticmethod
    def now() -> Usage | None:
        """None where the system does not tell."""
        try:
            columns = STAT.read_text("ascii").split("\n", 1)[0].split()[1:]
            busy = sum(int(columns[i]) for i in BUSY) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None
        return Usage(time.monotonic(), busy, _own_seconds())


def _own_seconds() -> float:
    """Of this process and those below it, also such as have ended and were waited for."""
    this, spent = psutil.Process(), 0.0
    for process in (*this.children(recursive=True), this):
        with suppress(psutil.NoSuchProcess):  # it has ended: its parent's times have its own
            times = process.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
    return spent


def others_since(start: Usage | None) -> float | None:
    """The share of all processors that others used since then, at least 0; None where the system does not tell."""
    now = Usage.now()
    if start is None or now is None or now.at <= start.at:
        return None
    there = (now.at - start.at) * (os.cpu_count() or 1)
    return min(1.0, max(0.0, (now.busy - start.busy - (now.own - start.own)) / there))

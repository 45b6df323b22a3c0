"""How one machine stands for a slower one, the same in profiling and in running.

A stage that worked for `t` seconds waits `t (1/cpu - 1)` more, so that its service takes `t / cpu`. The core is free
meanwhile, so that several emulated sites fit on one machine. No privilege is needed.
"""

from __future__ import annotations

import time
from typing import Final

METHOD: Final = "stretch"


def stretch(started: float, cpu: float) -> None:
    """Wait until the work begun at `started` (`time.perf_counter`) has taken `1 / cpu` of its time so far."""
    if cpu >= 1.0:
        return
    now = time.perf_counter()
    end = started + (now - started) / cpu
    while (left := end - time.perf_counter()) > 0:
        time.sleep(left if left > 2e-3 else left / 2)

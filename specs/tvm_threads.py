"""How TVM's threads behave here, the same where schedules are timed and where they run."""

from __future__ import annotations

import os
from typing import Final

THREADS: Final = {"TVM_BIND_THREADS": "0", "TVM_THREAD_POOL_SPIN_COUNT": "5000"}
"""Several stages share a machine: none may pin its cores. An idle thread asks so often for work before it sleeps: for a
millisecond or two, in which a run's next parallel loop begins. TVM's own 300,000 took 45 ms of a core after every run,
from what else the machine does."""


def set_threads() -> None:
    """Have TVM take `THREADS`, but for what the environment says already. To be called before it starts any."""
    for name, value in THREADS.items():
        os.environ.setdefault(name, value)

"""How one machine stands for a slower one, the same in profiling and in running.

Work that took `b` seconds of its thread's processor time is made to take `b / cpu` seconds. The core is free meanwhile,
so that several emulated sites fit on one machine; and since processor time is what counts, work that had to wait for a
core, because other emulated sites used it, is not slowed twice: the emulated machine would not have shared it. Time
that the work spends blocked (a file, a reply) passes at its own pace, beside the stretched time. No privilege is
needed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

METHOD: Final = "stretched processor time"

NOT_HERE: Final = "neither `emulate: {cpu: SHARE}` (this machine, slowed) nor `device: here`"
"""What infra.yaml lacks where this machine stands for a class in no way."""


def emulated_seconds(elapsed: float, busy: float, cpu: float) -> float:
    """What work of `elapsed` seconds, `busy` of them on a processor, takes at the share `cpu` of this one's speed."""
    return elapsed if cpu >= 1.0 else max(elapsed, busy / cpu)


class _Elsewhere(threading.local):
    """Processor seconds that other processes spent for this thread, while it waited for them."""

    seconds = 0.0


_ELSEWHERE: Final = _Elsewhere()


def busy_elsewhere(seconds: float) -> None:
    """Count processor time that another process spent for the calling thread as that thread's own."""
    _ELSEWHERE.seconds += seconds


def _busy() -> float:
    return time.thread_time() + _ELSEWHERE.seconds


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Started when work begins, in the thread that does it. In seconds, from no particular moment."""

    perf_counter: float
    busy: float

    @staticmethod
    def start() -> Stopwatch:
        return Stopwatch(time.perf_counter(), _busy())

    def read(self) -> tuple[float, float]:
        """(elapsed, busy) so far, for the thread that started it."""
        busy = _busy() - self.busy
        return time.perf_counter() - self.perf_counter, busy

    def stretch(self, cpu: float) -> None:
        """Wait until the work done so far has taken as long as `emulated_seconds` says."""
        elapsed, busy = self.read()
        end = self.perf_counter + emulated_seconds(elapsed, busy, cpu)
        while (left := end - time.perf_counter()) > 0:
            time.sleep(left if left > 2e-3 else left / 2)  # sleeping oversleeps by some 0.1 ms

"""How long the calling thread may still work for the request that it serves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Final

_UNTIL: Final[ContextVar[float]] = ContextVar("until", default=inf)


@contextmanager
def working_until(moment: float) -> Iterator[None]:
    """Within it, work ends at `moment` (CLOCK_MONOTONIC, seconds)."""
    token = _UNTIL.set(moment)
    try:
        yield
    finally:
        _UNTIL.reset(token)


def time_left() -> float:
    """Seconds; infinity where nothing bounds them, and not above zero where the time is up."""
    return _UNTIL.get() - time.monotonic()

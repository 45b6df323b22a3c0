"""When a request is given up, where nobody says: one rule for what runs, what is simulated and what is promised."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BY_LIMIT: Final = 10.0
WITHOUT_LIMIT: Final = 30.0


def deadline_of(limits: Iterable[float]) -> float:
    """Seconds: ten times the longest of the `limits` (seconds) on paths, or 30 s where there is none."""
    return max((BY_LIMIT * limit for limit in limits), default=WITHOUT_LIMIT)

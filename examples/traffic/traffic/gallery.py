"""Vehicles that passed a cabinet's cameras lately: what the application remembers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST: Final = 2000
"""Vehicles that are remembered: of more, the latest."""
PARTS: Final = 64
"""Numbers that describe a vehicle: the mean grey levels of 2 x 2 pixels."""
ALIKE: Final = 2.0
"""Mean difference of grey levels below which two are taken for the same vehicle; other scenes differ by more."""


class Gallery:
    """Says how many of a frame's vehicles were seen before, by any camera of the same cabinet, and remembers them.

    A vehicle takes `PARTS` bytes, also in a checkpoint.
    """

    def __init__(self) -> None:
        self._seen = np.empty((0, PARTS), np.uint8)

    def __call__(self, vehicles: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
        """`again` i64[1] of `vehicles` u8[n,16,16]."""
        parts = vehicles.reshape(-1, 8, 2, 8, 2).mean(axis=(2, 4)).reshape(-1, PARTS).astype(np.uint8)
        known = [bool(self._known(part)) for part in parts]
        self._seen = np.concatenate([self._seen, parts[~np.array(known, bool)]])[-MOST:]
        return {"again": np.array([sum(known)], np.int64)}

    def _known(self, part: NDArray[np.uint8]) -> bool:
        apart = np.abs(self._seen.astype(np.int16) - part.astype(np.int16)).mean(axis=1)
        return bool((apart < ALIKE).any())

    def save(self) -> bytes:
        """All that is remembered, oldest first."""
        return self._seen.tobytes()

    def load(self, saved: bytes) -> None:
        """Raises ValueError for what `save` did not make."""
        self._seen = np.frombuffer(saved, np.uint8).reshape(-1, PARTS).copy()

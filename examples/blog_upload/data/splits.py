"""Which digit and which part of a photograph belongs to which side. No original is on two sides."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

ORIGINALS: Final = Path(__file__).parent / "originals"
PHOTOGRAPHS: Final = ("china.jpg", "flower.jpg")
SPLIT_SEED: Final = 20240607
HELD_OUT_DIGITS: Final = 640
DECIDE_DIGITS: Final = 340


class Split(enum.Enum):
    """What an original is used for."""

    VISION = "vision"  # training of the two convolutional networks
    DECIDE = "decide"  # their thresholds, and training of the trees on scores that vision was not trained on
    HELD_OUT = "held_out"  # measuring only


_COLUMNS: Final = {Split.VISION: (0, 280), Split.DECIDE: (280, 430), Split.HELD_OUT: (430, 640)}
"""First and end column of each split's area, in both photographs (640 x 427 pixels)."""


def digits(split: Split) -> NDArray[np.int64]:
    """Numbers of the digit images of one split, in the order in which they are used."""
    order = np.random.default_rng([SPLIT_SEED, 1]).permutation(1797)
    parts = np.split(order, [HELD_OUT_DIGITS, HELD_OUT_DIGITS + DECIDE_DIGITS])
    return {Split.HELD_OUT: parts[0], Split.DECIDE: parts[1], Split.VISION: parts[2]}[split]


def columns(split: Split) -> tuple[int, int]:
    """First and end column of the area of each photograph that one split may use."""
    return _COLUMNS[split]

"""Which weights of bytes may meet in sums of 16 bits, as the instructions of SSSE3, AVX2 and AVX-512BW make them.

They multiply unsigned by signed bytes and add two neighbouring products in 16 bits. Two such pairs, of two groups of
four values, can be added there before they go to 32 bits: four multiplications become three.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from compiler.schedules.machine import GROUP

Array = np.ndarray[Any, Any]

LARGEST: Final = (2**15 - 1) // 255
"""What weights of one sign may sum up to where they meet: each byte of data is 255 at most."""


def met(weights: Array) -> Array:
    """Integers [K, N] -> [ceil(K / 8), 2, N]: of the four weights that meet in a sum, the larger of the positive ones'
    sum and the negative ones' (its magnitude)."""
    depth, columns = weights.shape
    step = 2 * GROUP
    padded = np.zeros((-(-depth // step) * step, columns), np.int32)
    padded[:depth] = weights
    split = padded.reshape(-1, 2, 2, GROUP // 2, columns)  # step, group, pair, value
    return np.maximum(np.maximum(split, 0).sum((1, 3)), np.maximum(-split, 0).sum((1, 3)))


def fit(weights: Array) -> bool:
    """Whether no sum of four of `weights` [K, N], times whichever bytes, leaves 16 bits."""
    return bool(met(weights).max(initial=0) <= LARGEST)

"""Frames of a camera: decoding, vehicles cut out of the road, and their number by kind."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT: Final = 64
WIDTH: Final = 96
SIDE: Final = 16
"""Of what is cut out."""
BRIGHTER: Final = 28
"""Than the road, in grey levels."""
LEAST: Final = 8
"""Pixels of a patch that counts."""
KINDS: Final = ("car", "truck", "motorbike")
MOST_BYTES: Final = 100_000


def decode(frame: bytes) -> dict[str, NDArray[np.uint8]]:
    """A PNG of one camera: `pixels` u8[64,96], grey. Raises ValueError for anything else."""
    if len(frame) > MOST_BYTES:
        raise ValueError(f"the frame has {len(frame)} bytes, expected {MOST_BYTES} at most")
    with Image.open(io.BytesIO(frame), formats=["PNG"]) as image:
        if image.size != (WIDTH, HEIGHT):
            raise ValueError(f"expected {WIDTH} x {HEIGHT} pixels, got {image.size[0]} x {image.size[1]}")
        return {"pixels": np.asarray(image.convert("L"), np.uint8)}


def find(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """`vehicles` u8[n,16,16]: what is around each connected patch that is brighter than the road."""
    bright = pixels > np.median(pixels) + BRIGHTER
    padded = np.pad(pixels, SIDE // 2, mode="edge")
    found = []
    for patch in _patches(bright):
        if len(patch) >= LEAST:
            row, column = ((np.min(patch, axis=0) + np.max(patch, axis=0) + 1) // 2).tolist()
            found.append(padded[row : row + SIDE, column : column + SIDE])
    return {"vehicles": np.array(found, np.uint8).reshape(-1, SIDE, SIDE)}


def _patches(bright: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """The bright pixels in groups, each of those that touch at a side."""
    left = set(map(tuple, np.argwhere(bright).tolist()))
    patches: list[list[tuple[int, int]]] = []
    while left:
        patch, todo = [], [left.pop()]
        while todo:
            row, column = todo.pop()
            patch.append((row, column))
            near = {(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)} & left
            left -= near
            todo += near
        patches.append(patch)
    return sorted(patches, key=min)


def count(kinds: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """`counts` i64[3]: how many of `kinds` i64[n,1] are of each kind, in the order of `KINDS`."""
    return {"counts": np.bincount(kinds[:, 0], minlength=len(KINDS)).astype(np.int64)}

"""Small, exact and fast: every answer can be computed by hand."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .letters import LETTERS


def _work(seconds: float) -> None:
    """Takes so much processor time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def _hold(megabytes: int) -> None:
    """Takes so much memory for a moment."""
    bytearray(b"x") * (megabytes * 1_000_000)


def shrink(photo: bytes) -> dict[str, Any]:
    if photo[:1] == b"!":
        raise ValueError("not a picture")
    return {"pixels": np.frombuffer(photo[:8].ljust(8, b"\0"), np.uint8).copy()}


def vision_small(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    if pixels[0] == 8:
        _work(0.02)
    if pixels[0] == 9:
        _hold(10 * int(pixels[1]))
    total = float(pixels.sum())
    return {"score": np.array([total, -total], np.float32), "sure": bool(pixels[0] % 2)}


def vision_large(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    total = float(pixels.sum())
    return {"score": np.array([total, total], np.float32), "sure": bool(pixels[0] % 4 != 0)}


def tokens(caption: str) -> dict[str, Any]:
    ids = [LETTERS.find(letter) + 1 for letter in caption.lower()[:4]]
    return {"ids": np.array((ids + [0] * 4)[:4], np.int64)}


def language(ids: NDArray[np.int64]) -> dict[str, Any]:
    if ids.sum() == 104:
        _work(0.02)
    if ids.sum() == 100:
        _hold(300)
    return {"vector": np.array([ids.sum(), ids.max(), 1], np.float32)}


def decide(score: NDArray[np.float32], vector: NDArray[np.float32]) -> dict[str, Any]:
    if score[0] == 7:
        time.sleep(0.5)
    return {"verdict": np.array([int(score[0] + 10 * vector[0] + vector[2]) % 3], np.int64)}

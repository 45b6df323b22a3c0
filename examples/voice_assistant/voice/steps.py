"""Before and after the model: is there a voice at all, and which command was it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SAMPLES: Final = 16_000
FRAME: Final = 200
LOUD: Final = 2.5
"""A voice is where the loudest tenth of the clip's frames is so many times as loud (in amplitude) as the quietest."""
ONSET: Final = 0.25
"""It begins where loudness has risen by this share of the way."""
START: Final = 1_600
"""The sample at which the model expects it to begin."""


def listen(clip: bytes) -> dict[str, NDArray[Any]]:
    """One second of 16-bit samples, little-endian: `samples` i16[16000], turned so that a voice begins at `START`, and
    whether it is `silent`.

    Raises ValueError for a clip of another length.
    """
    if len(clip) != 2 * SAMPLES:
        raise ValueError(f"the clip has {len(clip)} bytes, expected {2 * SAMPLES}")
    samples = np.frombuffer(clip, "<i2").astype(np.int16)
    frames = samples.astype(np.float32).reshape(-1, FRAME)
    loudness = np.sqrt(np.einsum("ij,ij->i", frames, frames) / FRAME)
    ranked = np.sort(loudness)
    quiet, loud = (float(ranked[len(ranked) * tenths // 10]) for tenths in (1, 9))
    silent = loud < LOUD * max(quiet, 1.0)
    if not silent:
        onset = int(np.argmax(loudness > quiet + ONSET * (loud - quiet)))
        samples = np.roll(samples, START - onset * FRAME)
    return {"samples": samples, "silent": np.array(silent)}


def decide(silent: NDArray[np.bool_], score: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
    """The number of the command, 0 for none: the likeliest class, unless nothing was said."""
    return {"command": np.array([0 if bool(silent) else int(score.argmax())], np.int64)}

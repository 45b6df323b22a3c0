"""The factors of `compiler.estimate.terms` from measured times, and how far off what they say of other models is.

Factors are positive and near to a first guess where the measurements say little (a ridge in the logarithm); a large
error counts linearly, so that one odd model does not move the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np
from scipy.optimize import least_squares

from compiler.estimate.terms import TERMS

Array = np.ndarray[Any, np.dtype[Any]]

GUESS: Final = {
    "conv": 1.5, "pointwise": 1.5, "depthwise": 4.0, "grouped": 4.0, "dense": 1.0, "product": 1.5, "reduce": 2.0,
    "vector": 2.0, "activations": 0.1, "rearranged": 0.1, "weights": 0.7, "forest": 20.0, "tables": 1.0, "step": 3000.0,
    "light step": 2000.0, "call": 10_000.0, "forked": 30_000.0,
}  # fmt: skip
_RIDGE: Final = 0.05
_LARGE: Final = 0.15
"""Relative errors beyond this count linearly."""


@dataclass(frozen=True)
class Samples:
    """A row each: seconds by term, seconds measured, the model's and the setting's name."""

    terms: Array
    seconds: Array
    models: Array
    settings: Array

    def where(self, kept: Array) -> Samples:
        return Samples(self.terms[kept], self.seconds[kept], self.models[kept], self.settings[kept])


def fit(samples: Samples) -> Array:
    """Factors, in the order of `TERMS`."""
    guess = np.log([GUESS[name] for name in TERMS])

    def residuals(logs: Array) -> Array:
        off = np.log(samples.terms @ np.exp(logs) / samples.seconds)
        return np.concatenate([off, _RIDGE * (logs - guess)])

    def jacobian(logs: Array) -> Array:
        parts = samples.terms * np.exp(logs)
        return np.vstack([parts / parts.sum(1, keepdims=True), _RIDGE * np.eye(len(logs))])

    found = least_squares(residuals, guess, jacobian, loss="soft_l1", f_scale=_LARGE)
    return np.asarray(np.exp(found.x))


def left_out(samples: Samples, names: Array) -> Array:
    """log(measured / estimated) of every row, from factors fitted without the rows of the same name in `names`."""
    off = np.zeros(len(names))
    for name in np.unique(names):
        out = names == name
        estimated = samples.where(out).terms @ fit(samples.where(~out))
        off[out] = np.log(samples.seconds[out] / estimated)
    return off


def conformal(off: Array, level: float = 0.9) -> tuple[float, float]:
    """Multiples of an estimate between which a share `level` of truths lies: split conformal, half of the rest on
    either side, with the correction for a finite sample."""
    ordered, n = np.sort(off), len(off)
    rank = min(n, ceil((n + 1) * (1 + level) / 2))
    return float(np.exp(ordered[n - rank])), float(np.exp(ordered[rank - 1]))


def inside(off: Array, names: Array) -> Array:
    """Whether each row lies in the interval that the rows of all other names give."""
    found = np.zeros(len(off), bool)
    for name in np.unique(names):
        out = names == name
        low, high = np.log(conformal(off[~out]))
        found[out] = (off[out] >= low) & (off[out] <= high)
    return found


def median_error(off: Array) -> float:
    """Of |estimated - measured| / measured."""
    return float(np.median(np.abs(np.expm1(-off))))


def memory_factors(stored: Sequence[float], activations: Sequence[float], measured: Sequence[float]) -> Array:
    """(bytes, per byte stored, per byte of the largest step's activations), none negative."""
    from scipy.optimize import nnls

    target = np.asarray(measured, float)
    columns = np.column_stack([np.ones(len(target)), stored, activations])
    scale = 1 / np.maximum(target, 1e6)
    return np.asarray(nnls(columns * scale[:, None], target * scale)[0])

"""Does a converted model say what its original says? Compared on the same inputs, ONNX Runtime against the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime

from compiler.frontends import Original, said
from specs.errors import AnswerIsNo, InputError, Issue

TOLERANCE: Final = 1e-4
"""Largest error allowed, as a share of an output's largest value: as for artefacts (`compiler.numerics`)."""


@dataclass(frozen=True, slots=True)
class Equal:
    """`difference` is the greatest one over `items`, as a share of the largest value of the output that it is in.

    `labels` counts items whose label differs because their two best classes are equally good, within the tolerance.
    `outputs` are those that the original has too, which are all that is kept.
    """

    difference: float
    items: int
    labels: int
    outputs: tuple[str, ...]
    notes: tuple[str, ...]


def compare(original: Original, tolerance: float = TOLERANCE) -> Equal:
    """Compare `original.model` with what its library answers.

    Inputs that the library itself refuses are left out. Raises AnswerIsNo where an output is beyond `tolerance`, or a
    label differs that is not tied; InputError where the library refuses all inputs.
    """
    assert original.answer is not None
    names = [output.name for output in original.model.graph.output]
    session = _session(original)
    worst, items, tied, refused, notes = 0.0, 0, 0, "", []
    kept: tuple[str, ...] = ()
    for batch in original.inputs:
        try:
            expected = original.answer(batch)
        except Exception as error:  # a library's own refusal of values that it was not fitted for
            refused = said(error)
            continue
        found = dict(zip(names, session.run(None, dict(batch)), strict=True))
        kept = tuple(name for name in names if name in expected)
        missing = any(np.isnan(v).any() for v in batch.values() if v.dtype.kind == "f")
        relative, ties, wrong = _difference({k: found[k] for k in kept}, expected, tolerance)
        if missing and (wrong or not relative <= tolerance):
            notes.append(f"where values are missing (not-a-number), it answers otherwise than {original.library}")
            continue
        if wrong or not relative <= tolerance:
            what = f"{wrong} labels" if wrong else f"outputs by {relative:.2g} of their largest value"
            raise AnswerIsNo(
                f"the model as ONNX differs from {original.library} in {what}; {tolerance:g} is allowed;"
                " convert it yourself, and give the ONNX file"
            )
        worst, tied = max(worst, relative), tied + ties
        items += len(next(iter(batch.values())))
    if not items:
        hint = "return (model, example inputs)"
        raise InputError(Issue(f"{original.library} takes none of the inputs that were tried: {refused}", None, hint))
    return Equal(worst, items, tied, kept, tuple(notes))


def _session(original: Original) -> Any:
    try:
        return onnxruntime.InferenceSession(original.model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has many kinds
        message = f"ONNX Runtime cannot run what {original.library} became: {said(error)}"
        raise InputError(Issue(message, None, "convert it yourself, and give the ONNX file")) from error


def _difference(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> tuple[float, int, int]:
    """(greatest relative difference, labels that differ in a tie, labels that differ otherwise)."""
    worst, tied, wrong = 0.0, 0, 0
    scores = next((v for v in expected.values() if v.dtype.kind == "f" and v.ndim == 2 and v.shape[1] > 1), None)
    for name, value in found.items():
        other = np.asarray(expected[name])
        if value.size != other.size:
            return float("inf"), tied, wrong
        other = other.reshape(value.shape)
        if value.dtype.kind == "f":
            worst = max(worst, _relative(value, other))
            continue
        differs = np.flatnonzero((value != other).reshape(len(value), -1).any(axis=1))
        close = _tied(scores, tolerance) if scores is not None else np.zeros(len(value), bool)
        tied += int(close[differs].sum())
        wrong += int((~close[differs]).sum())
    return worst, tied, wrong


def _relative(value: np.ndarray, other: Any) -> float:
    ours, theirs = value.astype(np.float64), other.astype(np.float64)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    scale = float(np.max(np.abs(theirs[np.isfinite(theirs)]), initial=0.0))
    gap = float(np.max(np.where(same, 0.0, np.abs(ours - theirs)), initial=0.0))
    return gap / max(scale, 1e-6) if gap == gap else float("inf")


def _tied(scores: np.ndarray, tolerance: float) -> np.ndarray:
    """Items whose two best scores are as good as equal."""
    best = np.sort(scores.astype(np.float64), axis=1)[:, -2:]
    scale = float(np.max(np.abs(scores[np.isfinite(scores)]), initial=0.0))
    return np.asarray(best[:, 1] - best[:, 0] <= 2 * tolerance * max(scale, 1e-6))


def keep_outputs(model: onnx.ModelProto, names: tuple[str, ...]) -> onnx.ModelProto:
    """`model` with the outputs `names` alone, and what computes them."""
    if [output.name for output in model.graph.output] == list(names):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [output for output in model.graph.output if output.name in names]
    del copy.graph.output[:]
    copy.graph.output.extend(kept)
    return copy

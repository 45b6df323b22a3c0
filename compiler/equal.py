"""Does a converted model say what its original says? Compared on the same inputs, ONNX Runtime against the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from compiler.frontends import Answer, Arrays, Original, said
from specs.errors import AnswerIsNo, InputError, Issue

TOLERANCE: Final = 1e-4
"""Largest error allowed, as a share of an output's largest value: as for artefacts (`compiler.numerics`)."""


NUDGES: Final = 32
"""How often an input that is answered otherwise is moved by a few roundings, to see whether it lies on an edge."""


@dataclass(frozen=True, slots=True)
class Equal:
    """`difference` is the greatest one over `items`, as a share of the largest value of the output that it is in.

    `edges` of them are not counted: they lie on a threshold of a tree, or between classes that are equally good, where
    rounding decides. `outputs` are those that the original has too, which are all that is kept, with the shape of one
    item.
    """

    difference: float
    items: int
    edges: int
    outputs: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]


def compare(original: Original, tolerance: float = TOLERANCE) -> Equal:
    """Compare `original.model` with what its library answers.

    Inputs that the library itself refuses are left out. Raises AnswerIsNo where an output is beyond `tolerance`, or a
    label differs, and the input lies on no edge; InputError where the library refuses all inputs.
    """
    assert original.answer is not None
    names = [output.name for output in original.model.graph.output]
    session = _session(original)
    worst, items, edges, refused, notes = 0.0, 0, 0, "", []
    kept: dict[str, tuple[int, ...]] = {}
    for batch in original.inputs:
        try:
            expected = original.answer(batch)
        except Exception as error:  # a library's own refusal of values that it was not fitted for
            refused = said(error)
            continue
        found = dict(zip(names, session.run(None, dict(batch)), strict=True))
        _check_batch(found, len(next(iter(batch.values()))))
        kept = {name: found[name].shape[1:] for name in names if name in expected}
        found = {name: found[name] for name in kept}
        agree, relative = _agreement(found, expected, tolerance)
        on_edge = ~agree & _tied(found, expected, tolerance)
        on_edge |= _on_edge(original.answer, batch, found, ~agree & ~on_edge, tolerance)
        wrong = int((~agree & ~on_edge).sum())
        if wrong and any(np.isnan(v).any() for v in batch.values() if v.dtype.kind == "f"):
            notes.append(f"where values are missing (not-a-number), it answers otherwise than {original.library}")
            continue
        if wrong:
            raise AnswerIsNo(
                f"as ONNX, it answers {wrong:,} of {len(agree):,} inputs otherwise than {original.library} does (beyond"
                f" {tolerance:g} of the largest value); where some must be whole numbers, return (model, example"
                " inputs); else convert it yourself, and give the ONNX file"
            )
        worst, edges, items = max(worst, relative), edges + int(on_edge.sum()), items + len(agree)
    if not items:
        hint = "return (model, example inputs)"
        raise InputError(Issue(f"{original.library} takes none of the inputs that were tried: {refused}", None, hint))
    return Equal(worst, items, edges, kept, tuple(notes))


def _session(original: Original) -> Any:
    try:
        return onnxruntime.InferenceSession(original.model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has many kinds
        message = f"ONNX Runtime cannot run what {original.library} became: {said(error)}"
        raise InputError(Issue(message, None, "convert it yourself, and give the ONNX file")) from error


def _check_batch(found: Mapping[str, np.ndarray], count: int) -> None:
    """Raises InputError for an output that is not one of each item."""
    for name, value in found.items():
        if not value.ndim or len(value) != count:
            message = f"output {name!r} has shape {list(value.shape)} for {count} inputs"
            raise InputError(Issue(message, None, f"return it with a leading batch dimension: [{count}, ...]"))


def _agreement(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> tuple[np.ndarray, float]:
    """(whether each item of the batch is answered alike, the greatest relative difference of those that are)."""
    count = len(next(iter(found.values())))
    agree, gaps = np.ones(count, bool), np.zeros(count)
    for name, value in found.items():
        other = np.asarray(expected[name])
        if value.size != other.size:
            return np.zeros(count, bool), 0.0
        other = other.reshape(value.shape)
        if value.dtype.kind == "f":
            gap = _relative(value, other)
            agree &= gap <= tolerance
            gaps = np.maximum(gaps, gap)
        else:
            agree &= (value == other).reshape(count, -1).all(axis=1)
    return agree, float(gaps[agree].max(initial=0.0))


def _relative(value: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The greatest difference of each item, as a share of the largest value of all."""
    ours, theirs = value.astype(np.float64), other.astype(np.float64)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    scale = float(np.max(np.abs(theirs[np.isfinite(theirs)]), initial=0.0))
    gap = np.where(same, 0.0, np.abs(ours - theirs)).reshape(len(value), -1).max(axis=1, initial=0.0)
    return np.where(np.isnan(gap), np.inf, gap) / max(scale, 1e-6)


def _tied(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float) -> np.ndarray:
    """Items whose scores are alike, and whose two best ones are as good as equal: either label is right."""
    scores = {k: v for k, v in found.items() if v.dtype.kind == "f" and v.ndim == 2 and v.shape[1] > 1}
    if not scores:
        return np.zeros(len(next(iter(found.values()))), bool)
    alike, _ = _agreement(scores, expected, tolerance)
    best = np.sort(next(iter(scores.values())).astype(np.float64), axis=1)[:, -2:]
    scale = float(np.max(np.abs(best[np.isfinite(best)]), initial=0.0))
    return np.asarray(alike & (best[:, 1] - best[:, 0] <= 2 * tolerance * max(scale, 1e-6)))


def _on_edge(
    answer: Answer, batch: Arrays, found: Mapping[str, np.ndarray], where: np.ndarray, tolerance: float
) -> np.ndarray:
    """Which of the items `where` the library answers as ONNX does once they are moved by a few roundings."""
    edge = np.zeros(len(where), bool)
    chance = np.random.default_rng(0)
    for _ in range(NUDGES):
        left = np.flatnonzero(where & ~edge)
        if not len(left):
            break
        moved = {name: _nudged(value, chance)[left] for name, value in batch.items()}
        agree, _ = _agreement({name: value[left] for name, value in found.items()}, answer(moved), tolerance)
        edge[left[agree]] = True
    return edge


def _nudged(value: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Each number moved by up to 8 roundings of the largest one in its place."""
    if value.dtype.kind != "f":
        return value
    scale = np.nanmax(np.abs(value), axis=0, keepdims=True, initial=0.0) * np.finfo(value.dtype).eps
    return np.asarray(value + 8 * scale * chance.uniform(-1, 1, value.shape), value.dtype)


def keep_outputs(model: onnx.ModelProto, outputs: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """`model` with these `outputs` alone, each said to have this shape (without the batch): converters say no shape of
    some operators, or a wrong one."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [output for output in model.graph.output if output.name in outputs]
    del copy.graph.output[:]
    batch = 1 if model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1 else "N"
    for output in kept:
        kind = output.type.tensor_type.elem_type
        copy.graph.output.append(helper.make_tensor_value_info(output.name, kind, [batch, *outputs[output.name]]))
    return copy

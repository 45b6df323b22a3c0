"""Rows of numbers on which a converted model is compared with its original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from specs.errors import InputError, Issue

INPUT: Final = "x"
"""The one input of what takes rows of numbers."""
ROWS: Final = 1024
"""Random rows of each kind."""
_EXAMPLES: Final = 4096
"""Rows of an example that are looked at, at most."""


def rows_of(example: Any, features: int | None) -> np.ndarray | None:
    """`example` as float32 rows [N, features]; None where there is none. Raises InputError where it cannot be that."""
    if example is None:
        return None
    try:
        rows = np.asarray(example, np.float32)
    except (TypeError, ValueError) as error:
        hint = "encode what is not a number before the model"
        raise InputError(Issue(f"the example inputs are not numbers: {error}", None, hint)) from error
    rows = rows.reshape(1, -1) if rows.ndim == 1 else rows
    if rows.ndim != 2 or not len(rows) or (features is not None and rows.shape[1] != features):
        wanted = "features" if features is None else str(features)
        shape = list(np.shape(example))
        raise InputError(
            Issue(f"the example inputs have shape {shape}; expected rows of {wanted} numbers: [N, {wanted}]")
        )
    return np.ascontiguousarray(rows[:_EXAMPLES])


def some_rows(model: onnx.ModelProto, features: int, example: np.ndarray | None) -> list[np.ndarray]:
    """Batches of rows, each of one kind: the example; its values in other combinations; random ones; ones around the
    thresholds of trees that read the model's input. The last one has missing values, where the others have none.

    Features that are whole numbers throughout the example (kinds, counts) have its values in all of them.
    """
    chance = np.random.default_rng(0)
    batches = [chance.standard_normal((ROWS, features)).astype(np.float32)]
    batches.append(_around(_thresholds(model), features, chance))
    if example is not None:
        mixed = _shuffled(example, chance)
        whole = (example == np.round(example)).all(axis=0)
        for batch in batches:
            batch[:, whole] = mixed[:, whole]
        batches = [example, mixed, *batches]
    missing = batches[-1].copy()
    missing[chance.random(missing.shape) < 0.3] = np.nan
    return [*batches, missing]


def _shuffled(example: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Each feature a value that it has in some row of the example."""
    picks = chance.integers(0, len(example), (ROWS, example.shape[1]))
    return np.take_along_axis(example, picks, axis=0)


def _around(thresholds: Mapping[int, Sequence[float]], features: int, chance: np.random.Generator) -> np.ndarray:
    rows = chance.standard_normal((ROWS, features))
    for feature, values in thresholds.items():
        if feature < features:
            known = np.asarray(values, np.float64)
            width = float(known.std()) or max(abs(float(known[0])), 1.0)
            rows[:, feature] = chance.choice(known, ROWS) + 0.1 * width * rows[:, feature]
    return rows.astype(np.float32)


def _thresholds(model: onnx.ModelProto) -> dict[int, list[float]]:
    """Of every feature, what the trees that read the model's input compare it with."""
    inputs = {value.name for value in model.graph.input}
    found: dict[int, list[float]] = {}
    for node in model.graph.node:
        if node.op_type.startswith("TreeEnsemble") and node.input[0] in inputs:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            values = attributes.get("nodes_values", [])
            if "nodes_values_as_tensor" in attributes:
                values = numpy_helper.to_array(attributes["nodes_values_as_tensor"])
            for feature, mode, value in zip(
                attributes.get("nodes_featureids", ()), attributes.get("nodes_modes", ()), values, strict=False
            ):
                if mode != b"LEAF" and np.isfinite(value):
                    found.setdefault(int(feature), []).append(float(value))
    return found

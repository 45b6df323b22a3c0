"""Random tree ensembles of ai.onnx.ml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def ensemble(
    rng: np.random.Generator,
    trees: int,
    depth: int,
    features: int,
    *,
    classes: int = 0,
    targets: int = 1,
    post: str = "NONE",
    modes: Sequence[str] = ("BRANCH_LEQ",),
    only: int | None = None,
    dense: bool = False,
    positive: bool = False,
    tracks: bool = False,
    base: Sequence[float] = (),
    batch: int = 1,
) -> onnx.ModelProto:
    """A classifier of `classes`, or a regressor of `targets` where that is 0.

    Thresholds lie on a grid, so that inputs on the same grid hit them. Leaves weigh one column (`only`, else the tree's
    own in turn), or with `dense` all of them.
    """
    kind, columns = ("class", classes) if classes else ("target", targets)
    node_fields = ("featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true")
    nodes: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", *node_fields)}
    leaves: dict[str, list[Any]] = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}

    def grow(tree: int, rows: list[tuple[Any, ...]], left: int) -> int:
        own = len(rows)
        rows.append(())
        if not left or (left < depth and rng.random() < 0.15):
            rows[own] = (0, "LEAF", 0.0, 0, 0, 0)
            for column in range(columns) if dense else [tree % columns if only is None else only]:
                weight = rng.random() / trees if positive else rng.standard_normal() / 10
                for key, value in zip(leaves, (tree, own, column, float(np.float32(weight))), strict=True):
                    leaves[key].append(value)
            return own
        true, false = grow(tree, rows, left - 1), grow(tree, rows, left - 1)
        threshold = float(np.round(rng.standard_normal() * 4) / 4)
        mode = modes[int(rng.integers(len(modes)))]
        rows[own] = (int(rng.integers(features)), mode, threshold, true, false, int(tracks and rng.random() < 0.5))
        return own

    for tree in range(trees):
        rows: list[tuple[Any, ...]] = []
        grow(tree, rows, depth)
        for number, row in enumerate(rows):
            for key, value in zip(nodes, (tree, number, *row), strict=True):
                nodes[key].append(value)
    attributes: dict[str, Any] = {f"nodes_{key}": column for key, column in nodes.items()}
    attributes |= {f"{kind}_{key}": column for key, column in leaves.items()}
    attributes |= {"post_transform": post} | ({"base_values": list(base)} if base else {})
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, columns])
    if classes:
        attributes["classlabels_int64s"] = [3 + 2 * c for c in range(classes)]
        outputs = [helper.make_tensor_value_info("label", TensorProto.INT64, [batch]), scores]
    else:
        attributes["n_targets"] = targets
        outputs = [scores]
    operator = "TreeEnsembleClassifier" if classes else "TreeEnsembleRegressor"
    node = helper.make_node(operator, ["x"], [o.name for o in outputs], domain="ai.onnx.ml", **attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, features])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph([node], "forest", [x], outputs), opset_imports=opsets, ir_version=8)


def on_the_grid(rng: np.random.Generator, features: int, missing: bool, batch: int = 1) -> np.ndarray:
    """An input of which many values equal thresholds and, with `missing`, some are not-a-number."""
    x = (np.round(rng.standard_normal((batch, features)) * 4) / 4).astype(np.float32)
    if missing:
        x[rng.random(x.shape) < 0.3] = np.nan
    return x

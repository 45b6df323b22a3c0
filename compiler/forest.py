"""Decision trees of ai.onnx.ml as tables: every node a row, leaves pointing to themselves.

One comparison serves all of ONNX's branch modes: `value <= threshold`. The others are rewritten: x < t is x <= the next
value below t; x >= t and x > t swap the branches; x == t and x != t become two nodes. Not-a-number takes the branch
that the mode and `nodes_missing_value_tracks_true` give it, as a flag of the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from specs.errors import InputError, Issue

GROUP = 8
"""Trees that are traversed side by side: their memory accesses overlap."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Tables of all trees, nodes numbered across them.

    `child[2 n + 1]` follows node n where its comparison holds, `child[2 n]` where not; a leaf has itself in both.
    `nan_true` says which child a not-a-number takes, and is None where all fail the comparison. `weight[n]` is what a
    leaf adds to each target. `root` is padded with empty trees to a multiple of GROUP; `depth[g]` is the longest path
    in a group of them.
    """

    feature: np.ndarray
    threshold: np.ndarray
    child: np.ndarray
    nan_true: np.ndarray | None
    weight: np.ndarray
    root: np.ndarray
    depth: np.ndarray
    trees: int

    @property
    def targets(self) -> int:
        return int(self.weight.shape[1])

    def records(self) -> Records:
        """The nodes as a descent reads them; in float64 where places do not fit beside features into 31 bits."""
        bits = max(1, int(self.feature.max()).bit_length())
        missing = 0 if self.nan_true is None else 1
        every = np.arange(len(self.feature), dtype=np.int64)
        children = self.child.reshape(-1, 2)
        inner = children[:, 1] != every
        pair = 2 * (np.cumsum(inner) - 1)  # where a node's children are, the one of a failed comparison first
        own = np.concatenate([children[inner].reshape(-1), self.root]).astype(np.int64)
        places = np.arange(len(own), dtype=np.int64)
        to = np.where(inner[own], pair[own], places)
        wide = self.threshold.dtype == np.float64 or len(own) >> (31 - bits - missing) > 0
        real, integer = (np.float64, np.int64) if wide else (np.float32, np.int32)
        word = to << (bits + missing) | np.where(inner[own], self.feature[own], 0)
        if self.nan_true is not None:
            word |= np.where(inner[own] & (self.nan_true[own] != 0), 1 << bits, 0)
        table = np.empty((len(own), 2), integer)
        table[:, 0] = np.where(inner[own], self.threshold[own], np.nan).astype(real).view(integer)
        table[:, 1] = word
        return Records(
            table=table.reshape(-1).view(np.int64),
            weight=self.weight[own],
            root=places[len(own) - len(self.root) :],
            dtype="float64" if wide else "float32",
            bits=bits,
            missing=bool(missing),
        )


@dataclass(frozen=True, slots=True)
class Records:
    """Nodes as a descent reads them: each the bits of its threshold, which is a `dtype`, and a word of the same width
    after it. The word's lowest `bits` are the feature, the next, where `missing`, says that not-a-number passes, and
    the rest is the place of the first child, taken where the comparison fails; the other child follows it.

    Leaves compare with not-a-number, which always fails, and lead to themselves. `weight[p]` is what the leaf at place
    p adds, `root` has the trees' first places. A node to which several lead is there as often.
    """

    table: np.ndarray
    weight: np.ndarray
    root: np.ndarray
    dtype: str
    bits: int
    missing: bool


def read_forest(attrs: Mapping[str, Any], kind: str, targets: int) -> Forest:
    """The tables of a TreeEnsembleClassifier (`kind` "class") or TreeEnsembleRegressor ("target").

    Raises InputError where the attributes do not describe trees: lengths differ, children that do not exist, cycles.
    """
    tree_ids, node_ids = _ints(attrs, "nodes_treeids"), _ints(attrs, "nodes_nodeids")
    count = len(tree_ids)
    modes = [m.decode() if isinstance(m, bytes) else str(m) for m in attrs.get("nodes_modes", ())]
    values = _floats(attrs, "nodes_values")
    features, yes, no = (_ints(attrs, f"nodes_{k}") for k in ("featureids", "truenodeids", "falsenodeids"))
    if not count or any(len(column) != count for column in (node_ids, modes, values, features, yes, no)):
        raise _bad("columns of its nodes differ in length")
    tracks = _ints(attrs, "nodes_missing_value_tracks_true")
    if len(tracks) not in (0, count):
        raise _bad("nodes_missing_value_tracks_true differs in length from its nodes")
    index = {(int(t), int(n)): i for i, (t, n) in enumerate(zip(tree_ids, node_ids, strict=True))}
    if len(index) != count:
        raise _bad("a node appears twice")
    table = _Table(list(features), list(values), [], [])
    for i in range(count):
        track = bool(tracks[i]) if len(tracks) else False
        if modes[i] == "LEAF":
            table.children.append((i, i))
            table.nan_true.append(False)
            table.feature[i] = 0
            continue
        try:
            true, false = index[(int(tree_ids[i]), int(yes[i]))], index[(int(tree_ids[i]), int(no[i]))]
        except KeyError:
            raise _bad(f"node {int(node_ids[i])} of tree {int(tree_ids[i])} has a child that does not exist") from None
        if i in (true, false):
            raise _bad("a tree has a cycle")
        table.children.append((false, true))
        table.nan_true.append(track)
    for i in range(count):
        _rewrite(table, i, modes[i], values.dtype)
    roots = _roots(tree_ids, table)
    return _finish(table, roots, _weights(attrs, kind, targets, index, count), values.dtype)


@dataclass(slots=True)
class _Table:
    """Columns while they grow. `children` holds (if false, if true)."""

    feature: list[int]
    threshold: list[float]
    children: list[tuple[int, int]]
    nan_true: list[bool]


def _rewrite(table: _Table, node: int, mode: str, dtype: Any) -> None:
    """Bring node `node` to the one comparison `value <= threshold`, keeping what not-a-number does."""
    false, true = table.children[node]
    threshold, track = dtype.type(table.threshold[node]), table.nan_true[node]
    below = float(np.nextafter(threshold, dtype.type(-np.inf)))
    if mode == "BRANCH_LT":
        table.threshold[node] = below
    elif mode in ("BRANCH_GT", "BRANCH_GTE"):
        table.threshold[node] = below if mode == "BRANCH_GTE" else float(threshold)
        table.children[node] = (true, false)
        table.nan_true[node] = not track
    elif mode in ("BRANCH_EQ", "BRANCH_NEQ"):
        if mode == "BRANCH_NEQ":
            false, true = true, false
            track = False  # the swapped comparison fails for not-a-number, which is what != answers
        second = len(table.feature)
        table.feature.append(table.feature[node])
        table.threshold.append(below)
        table.children.append((true, false))
        table.nan_true.append(False)
        table.children[node] = (false, second)
        table.nan_true[node] = track
    elif mode not in ("BRANCH_LEQ", "LEAF"):
        raise _bad(f"unknown branch mode {mode!r}")


def _roots(tree_ids: np.ndarray, table: _Table) -> list[int]:
    """The node of each tree that is no node's child, in order of first appearance."""
    is_child = {c for n, pair in enumerate(table.children) for c in pair if c != n}
    roots: dict[int, int] = {}
    for i, tree in enumerate(tree_ids):
        if i not in is_child:
            if int(tree) in roots:
                raise _bad(f"tree {int(tree)} has two roots")
            roots[int(tree)] = i
    if len(roots) != len(set(map(int, tree_ids))):
        raise _bad("a tree has a cycle")
    return list(roots.values())


def _finish(table: _Table, roots: list[int], weights: np.ndarray, dtype: Any) -> Forest:
    depths = _depths(table, roots)
    empty = len(table.feature)
    count = empty + 1
    weight = np.zeros((count, weights.shape[1]), np.float32)
    weight[: len(weights)] = weights
    trees = len(roots)
    padding = -trees % GROUP
    child = np.array([*table.children, (empty, empty)], np.int32).reshape(-1)
    nan_true = np.array([*table.nan_true, False], np.int32)
    return Forest(
        feature=np.array([*table.feature, 0], np.int32),
        threshold=np.array([*table.threshold, 0.0], dtype),
        child=child,
        nan_true=nan_true if nan_true.any() else None,
        weight=weight,
        root=np.array(roots + [empty] * padding, np.int32),
        depth=np.array(depths + [0] * padding, np.int32).reshape(-1, GROUP).max(axis=1),
        trees=trees,
    )


def _depths(table: _Table, roots: list[int]) -> list[int]:
    """The longest path of each tree. Raises InputError for a cycle."""
    depth: dict[int, int] = {}
    for root in roots:
        open_: set[int] = set()
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            below = [c for c in table.children[node] if c != node]
            if done:
                depth[node] = 1 + max(depth[c] for c in below) if below else 0
                open_.discard(node)
            elif node in open_:
                raise _bad("a tree has a cycle")
            elif node not in depth:
                open_.add(node)
                stack.append((node, True))
                stack += [(c, False) for c in below]
    return [depth[root] for root in roots]


def _weights(
    attrs: Mapping[str, Any], kind: str, targets: int, index: Mapping[tuple[int, int], int], count: int
) -> np.ndarray:
    trees, nodes = _ints(attrs, f"{kind}_treeids"), _ints(attrs, f"{kind}_nodeids")
    columns, values = _ints(attrs, f"{kind}_ids"), _floats(attrs, f"{kind}_weights")
    if not len(trees) == len(nodes) == len(columns) == len(values):
        raise _bad(f"columns of its {kind} weights differ in length")
    if len(columns) and not 0 <= columns.min() <= columns.max() < targets:
        raise _bad(f"{kind}_ids are outside 0..{targets - 1}")
    weights = np.zeros((count, targets), np.float32)
    for tree, node, column, value in zip(trees, nodes, columns, values, strict=True):
        row = index.get((int(tree), int(node)))
        if row is None:
            raise _bad(f"weights of node {int(node)} of tree {int(tree)}, which does not exist")
        weights[row, int(column)] += value
    return weights


def _ints(attrs: Mapping[str, Any], name: str) -> np.ndarray:
    return np.asarray(attrs.get(name, ()), np.int64)


def _floats(attrs: Mapping[str, Any], name: str) -> np.ndarray:
    """Values given as float32, or as a tensor of another type under NAME_as_tensor."""
    if f"{name}_as_tensor" in attrs:
        return np.asarray(attrs[f"{name}_as_tensor"])
    return np.asarray(attrs.get(name, ()), np.float32)


def _bad(what: str) -> InputError:
    return InputError(Issue(f"invalid tree ensemble: {what}", None, "export the model again"))

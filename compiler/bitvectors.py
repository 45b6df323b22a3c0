"""Decision trees as bit vectors, for many rows at a time: every comparison is made, none is branched on.

Leaves of a tree are numbered so that those under the branch taken where ``value <= threshold`` holds come first. A
comparison that fails rules out the leaves under that branch, which is an AND with a mask; the leaf that a row reaches
is the first one that is left (Lucchese et al., QuickScorer, SIGIR 2015). Rows lie side by side in vector registers, so
that no memory is gathered, and one comparison of a vector of rows costs about as much as a single row's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from compiler.forest import Forest

WORD: Final = 32
"""Leaves in a word."""
_MOST_COPIES: Final = 4
"""Nodes that several others lead to are copied; beyond this many times the nodes, it is no tree any more."""


@dataclass(frozen=True, slots=True)
class Bitvectors:
    """Comparisons by word of leaves: `step[i]` to `step[i + 1]` are those of word i, each a `feature`, a `threshold`,
    whether not-a-number passes it (`nan_true`, None where it never does), and the leaves that are left where it fails
    (`mask`). `tree[t]` to `tree[t + 1]` are the words of tree t. `weight[32 i + b]` is what leaf b of word i adds.
    """

    feature: np.ndarray
    threshold: np.ndarray
    mask: np.ndarray
    nan_true: np.ndarray | None
    step: np.ndarray
    tree: np.ndarray
    weight: np.ndarray


def bitvectors(forest: Forest) -> Bitvectors | None:
    """The same forest as bit vectors; None where it is no set of trees, or is not in float32."""
    if forest.threshold.dtype != np.float32:
        return None
    steps: list[list[tuple[int, int]]] = []  # of each word: (node, mask)
    tree = [0]
    leaves: list[int] = []
    for root in forest.root[: forest.trees]:
        found = _leaves_and_ranges(forest, int(root))
        if found is None:
            return None
        own, ranges = found
        words = max(1, -(-len(own) // WORD))
        for word in range(words):
            low = word * WORD
            steps.append([(n, _left(a - low, b - low)) for n, a, b in ranges if a < low + WORD and b > low])
        leaves += own + [-1] * (words * WORD - len(own))
        tree.append(tree[-1] + words)
    nodes = np.array([n for word in steps for n, _ in word], np.int64)
    kept = np.array(leaves, np.int64)
    weight = np.where((kept >= 0)[:, None], forest.weight[np.maximum(kept, 0)], np.float32(0))
    nan_true = None if forest.nan_true is None else forest.nan_true[nodes].astype(np.int32)
    return Bitvectors(
        feature=forest.feature[nodes].astype(np.int32),
        threshold=forest.threshold[nodes],
        mask=np.array([m for word in steps for _, m in word], np.uint32).view(np.int32),
        nan_true=nan_true if nan_true is not None and nan_true.any() else None,
        step=np.cumsum([0, *(len(word) for word in steps)]).astype(np.int32),
        tree=np.array(tree, np.int32),
        weight=np.ascontiguousarray(weight, np.float32),
    )


def _left(first: int, last: int) -> int:
    """The word without the bits from `first` to before `last`, of which some may lie outside."""
    first, last = max(first, 0), min(last, WORD)
    return ~(((1 << (last - first)) - 1) << first) & 0xFFFFFFFF


def _leaves_and_ranges(forest: Forest, root: int) -> tuple[list[int], list[tuple[int, int, int]]] | None:
    """The tree's leaves in order, and of each of its comparisons (node, first, end) of the leaves that it can rule out.

    None where its nodes lead to each other in so many ways that it has far more leaves than nodes.
    """
    leaves: list[int] = []
    ranges: list[tuple[int, int, int]] = []
    first: dict[int, int] = {}
    stack: list[tuple[int, int]] = [(root, 0)]
    most = _MOST_COPIES * len(forest.feature)
    while stack:
        node, stage = stack.pop()
        false, true = int(forest.child[2 * node]), int(forest.child[2 * node + 1])
        if stage == 1:
            begin = first[len(stack)]
            ranges.append((node, begin, len(leaves)))
            stack.append((false, 0))
        elif true == node:
            leaves.append(node)
            if len(leaves) > most:
                return None
        else:
            first[len(stack)] = len(leaves)
            stack += [(node, 1), (true, 0)]
    return leaves, ranges

"""Forests as bit vectors: which they are made of, when they are worth it, and what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from compiler.bitvectors import WORD, Bitvectors, bitvectors
from compiler.forest import Forest, read_forest
from compiler.schedules.bitvectors import worthwhile
from tests.compiler.forests import MODES, ensemble, on_the_grid


def forest(trees: int, depth: int, **options: Any) -> Forest:
    proto = ensemble(np.random.default_rng(3), trees, depth, 8, **options)
    return read_forest({a.name: onnx.helper.get_attribute_value(a) for a in proto.graph.node[0].attribute}, "target", 1)


def descended(given: Forest, x: np.ndarray) -> float:
    """What a row adds up to, by following the tables."""
    total = 0.0
    for root in given.root[: given.trees]:
        node = int(root)
        while int(given.child[2 * node + 1]) != node:
            holds = bool(x[given.feature[node]] <= given.threshold[node])
            if np.isnan(x[given.feature[node]]) and given.nan_true is not None:
                holds = bool(given.nan_true[node])
            node = int(given.child[2 * node + holds])
        total += float(given.weight[node, 0])
    return total


def counted(given: Bitvectors, x: np.ndarray) -> float:
    """The same by bit vectors: of each tree, the first leaf that no comparison rules out."""
    total = 0.0
    for first, last in zip(given.tree[:-1], given.tree[1:], strict=True):
        for word in range(first, last):
            left = 0xFFFFFFFF
            for step in range(given.step[word], given.step[word + 1]):
                value = x[given.feature[step]]
                holds = bool(value <= given.threshold[step])
                if np.isnan(value) and given.nan_true is not None:
                    holds = bool(given.nan_true[step])
                left &= 0xFFFFFFFF if holds else int(given.mask[step]) & 0xFFFFFFFF
            if left:
                total += float(given.weight[WORD * word + (left & -left).bit_length() - 1, 0])
                break
        else:
            pytest.fail("a tree has no leaf left")
    return total


@pytest.mark.parametrize("depth", [0, 1, 4, 5, 6, 8])
@pytest.mark.parametrize("modes", [MODES[:1], MODES])
def test_the_leaf_that_is_left_is_the_one_that_a_descent_reaches(depth: int, modes: tuple[str, ...]) -> None:
    given = forest(6, depth, modes=modes, tracks=True)
    found = bitvectors(given)
    assert found is not None
    rng = np.random.default_rng(depth)
    for _ in range(60):
        x = on_the_grid(rng, 8, missing=True)[0]
        assert counted(found, x) == descended(given, x)


def test_small_trees_and_many_rows_are_worth_it_and_deep_trees_or_one_row_are_not() -> None:
    assert worthwhile(forest(50, 5), 256) is not None
    assert worthwhile(forest(50, 5), 1) is None
    assert worthwhile(forest(2, 15), 256) is None


def test_nodes_that_lead_to_each_other_in_too_many_ways_are_not_copied_without_end() -> None:
    """A ladder, of which both branches of each node lead to the next: 2 to the power of 40 ways."""
    steps = 40
    child = np.array([[n + 1, n + 1] for n in range(steps)] + [[steps, steps]], np.int32).reshape(-1)
    ladder = Forest(
        feature=np.zeros(steps + 1, np.int32),
        threshold=np.zeros(steps + 1, np.float32),
        child=child,
        nan_true=None,
        weight=np.zeros((steps + 1, 1), np.float32),
        root=np.zeros(8, np.int32),
        depth=np.array([steps], np.int32),
        trees=1,
    )
    assert bitvectors(ladder) is None
    assert worthwhile(ladder, 256) is None

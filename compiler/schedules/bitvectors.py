"""The loop over a forest as bit vectors: a block of rows goes through all comparisons of a tree, then the next tree."""

# TVMScript writes types as values, which is no Python typing.
# mypy: disable-error-code="valid-type,no-untyped-def"
from __future__ import annotations

from typing import Any, Final

import numpy as np
from tvm.script import tirx as T

from compiler.bitvectors import WORD, Bitvectors, bitvectors
from compiler.forest import GROUP, Forest

LANES: Final = 16
"""Rows in a vector; narrower machines take several registers for it."""
_STEPS: Final = 40
"""Comparisons of one row of a vector that take as long as one node of a descent."""
_WORDS: Final = 2
"""The same, of words of leaves."""
VECTORS: Final = 4
"""Vectors of rows that go side by side, at most: each comparison is loaded once for all of them."""

SQUARE: Final = 8
"""Rows, and features of them, that are turned round at once: two vectors of AVX, or four of narrower ones."""
_PAIRS: Final = ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15))
_FOURS: Final = ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
_HALVES: Final = ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
_TRANSPOSE: Final = (
    tuple((i // 2 * 2, i // 2 * 2 + 1, _PAIRS[i % 2]) for i in range(SQUARE)),
    tuple((i // 4 * 4 + i % 4 // 2, i // 4 * 4 + i % 4 // 2 + 2, _FOURS[i % 2]) for i in range(SQUARE)),
    tuple((i % 4, i % 4 + 4, _HALVES[i // 4]) for i in range(SQUARE)),
)
"""Of each vector after a stage: the two before it that it is made of, and which of their values it has. These are
single instructions of AVX."""


def bitvector_function(forest: Bitvectors, batch: int, features: int) -> Any:
    """TIR of (x [N, F], tables of `bitvector_tables`) -> sums [N, targets], added in the trees' order."""
    steps, words, trees = max(1, len(forest.feature)), len(forest.step) - 1, len(forest.tree) - 1
    missing = 1 if forest.nan_true is None else steps
    targets = int(forest.weight.shape[1])
    width = _padded(targets)
    wide = min(width, LANES)
    vectors = min(VECTORS, -(-batch // LANES))
    block = vectors * LANES
    blocks = -(-batch // block)
    squares = -(-features // SQUARE)

    def left(value: Any, limit: Any, otherwise: Any, unknown: Any, at: Any) -> Any:
        """The leaves that a comparison leaves; TVMScript calls this while it reads what follows."""
        # Not-a-number is neither above nor below; `T.isnan` would not be made of vectors.
        failed = otherwise if missing == 1 else T.Select(value > limit, otherwise, unknown[at])
        return T.Select(value <= limit, -1, failed)

    def row(r: Any) -> Any:
        return r if batch % block == 0 else T.min(r, batch - 1)

    def eight(i: Any) -> Any:
        return T.Ramp(i, 1, SQUARE)

    def transpose(square: Any) -> None:
        """Turn the first of the squares round, stage by stage, into the last."""
        for stage, moves in enumerate(_TRANSPOSE):
            for i, (first, second, lanes) in enumerate(moves):
                halves = [square[eight(SQUARE * (SQUARE * stage + k))] for k in (first, second)]
                T.buffer_store(square, T.Shuffle(halves, list(lanes)), [eight(SQUARE * (SQUARE * (stage + 1) + i))])

    @T.prim_func(private=True, s_tir=True)
    def loop(
        x: T.Buffer((batch, features), "float32"),
        feature: T.Buffer((steps,), "int32"),
        threshold: T.Buffer((steps,), "float32"),
        mask: T.Buffer((steps,), "int32"),
        unknown: T.Buffer((missing,), "int32"),
        step: T.Buffer((words + 1,), "int32"),
        tree: T.Buffer((trees + 1,), "int32"),
        weight: T.Buffer((words * WORD * width,), "float32"),
        out: T.Buffer((batch, targets), "float32"),
    ):
        T.func_attr({"tirx.noalias": True, "op_pattern": 8, "tirx.is_scheduled": 1})
        for b in range(blocks):
            column = T.alloc_buffer((features * block,), "float32", scope="global")
            total = T.alloc_buffer((width * block,), "float32", scope="global")
            bits = T.alloc_buffer((block,), "int32", scope="local")
            leaf = T.alloc_buffer((block,), "int32", scope="local")
            if features < SQUARE:
                for f in range(features):
                    for r in range(block):
                        column[f * block + r] = x[row(b * block + r), f]
            else:
                for g in range(block // SQUARE):
                    for q in range(squares):  # the last overlaps the one before
                        square = T.alloc_buffer(((1 + len(_TRANSPOSE)) * SQUARE * SQUARE,), "float32", scope="local")
                        for i in T.unroll(SQUARE):
                            square[eight(SQUARE * i)] = x[
                                row(b * block + g * SQUARE + i), eight(T.min(q * SQUARE, features - SQUARE))
                            ]
                        transpose(square)
                        for i in T.unroll(SQUARE):
                            column[eight((T.min(q * SQUARE, features - SQUARE) + i) * block + g * SQUARE)] = square[
                                eight(SQUARE * (len(_TRANSPOSE) * SQUARE + i))
                            ]
            for i in range(width * block):
                total[i] = T.float32(0)
            for t in range(trees):
                for v in T.unroll(vectors):
                    for r in T.vectorized(LANES):
                        leaf[v * LANES + r] = -1
                for w in range(tree[t + 1] - tree[t]):
                    for v in T.unroll(vectors):
                        for r in T.vectorized(LANES):
                            bits[v * LANES + r] = -1
                    for s in range(step[tree[t] + w + 1] - step[tree[t] + w]):
                        for v in T.unroll(vectors):
                            for r in T.vectorized(LANES):
                                bits[v * LANES + r] = T.bitwise_and(
                                    bits[v * LANES + r],
                                    left(
                                        column[feature[step[tree[t] + w] + s] * block + v * LANES + r],
                                        threshold[step[tree[t] + w] + s],
                                        mask[step[tree[t] + w] + s],
                                        unknown,
                                        step[tree[t] + w] + s,
                                    ),
                                )
                    # The first bit that is left, as the exponent of the power of two that it is.
                    for v in T.unroll(vectors):
                        for r in T.vectorized(LANES):
                            leaf[v * LANES + r] = T.Select(
                                T.And(leaf[v * LANES + r] < 0, bits[v * LANES + r] != 0),
                                (tree[t] + w) * WORD
                                + T.bitwise_and(
                                    T.shift_right(
                                        T.reinterpret(
                                            "int32",
                                            T.Cast(
                                                "float32",
                                                T.bitwise_and(bits[v * LANES + r], 0 - bits[v * LANES + r]),
                                            ),
                                        ),
                                        23,
                                    ),
                                    255,
                                )
                                - 127,
                                leaf[v * LANES + r],
                            )
                for r in range(block):
                    for c in range(width // wide):
                        for i in T.vectorized(wide):
                            total[r * width + c * wide + i] = (
                                total[r * width + c * wide + i] + weight[leaf[r] * width + c * wide + i]
                            )
            for r in range(T.min(block, batch - b * block)):
                for c in range(targets):
                    out[b * block + r, c] = total[r * width + c]

    return loop


def _padded(targets: int) -> int:
    """How many values a leaf has: with some zeros after them, they are whole vectors."""
    whole = 1
    while whole < targets and whole < LANES:
        whole *= 2
    return -(-targets // whole) * whole


def bitvector_tables(forest: Bitvectors) -> list[np.ndarray]:
    """What `bitvector_function` takes after x."""
    unknown = np.zeros(1, np.int32)
    if forest.nan_true is not None:
        unknown = np.where(forest.nan_true != 0, np.int32(-1), forest.mask).astype(np.int32)
    steps = [forest.feature, forest.threshold, forest.mask]
    if not len(forest.mask):  # of trees that are one leaf each: a table may not be empty
        steps = [np.zeros(1, table.dtype) for table in steps]
    leaves, targets = forest.weight.shape
    weight = np.zeros((leaves, _padded(targets)), np.float32)
    weight[:, :targets] = forest.weight
    return [*steps, unknown, forest.step, forest.tree, weight.reshape(-1)]


def worthwhile(forest: Forest, batch: int) -> Bitvectors | None:
    """The forest as bit vectors, where they take less time than descending it row by row; else None.

    A node of a descent takes 1.1 ns with AVX-512, a comparison of one row there 0.021 ns and a word of leaves 0.55 ns.
    Narrower vectors gain less, but such forests are shallow, and gain most.
    """
    rows = -(-batch // LANES) * LANES
    descent = batch * GROUP * int(forest.depth.sum())
    inner = int((forest.child[::2] != np.arange(len(forest.feature))).sum())
    if rows * inner > _STEPS * descent:
        return None
    found = bitvectors(forest)
    if found is None or rows * (len(found.feature) / _STEPS + len(found.step) / _WORDS) > descent:
        return None
    return found

"""The loops over a forest's tables. Several descents go side by side, so that their loads overlap: of a group of trees
for one row, or of a block of rows through one tree, whose nodes then stay in the cache for all rows.
"""

# TVMScript writes types as values, which is no Python typing.
# mypy: disable-error-code="valid-type,no-untyped-def"
from __future__ import annotations

from typing import Any, Final

import numpy as np
from tvm.script import tirx as T

from compiler.forest import GROUP, Forest, Records

ROWS: Final = 8
"""Rows that descend a tree side by side."""
_STEPS: Final = 4
"""Steps of a block of rows before it is asked whether all of them have reached a leaf."""


def forest_function(forest: Forest, records: Records, batch: int, features: int) -> Any:
    """TIR of (x [N, F], tables of `forest_tables`) -> sums [N, targets] of the leaves that each row of x reaches.

    x is of the records' type. The order of additions is the trees' order, as in ONNX Runtime on one thread.
    """
    places, trees, targets, dtype = len(records.weight), len(records.root), forest.targets, records.dtype
    length, groups, blocks, wide = len(records.table), trees // GROUP, -(-batch // ROWS), dtype == "float64"

    # A node of float32 is one load of 64 bits. It also keeps LLVM from making vectors of the descents, value by value.
    def step(x: Any, node: Any, n: Any, at: Any) -> Any:
        """Where row n goes on from the place `at`; TVMScript calls this while it reads what follows."""
        word = node[2 * at + 1] if wide else T.shift_right(node[at], 32)
        limit = T.reinterpret("float64", node[2 * at]) if wide else T.reinterpret("float32", T.Cast("int32", node[at]))
        value = x[n, T.bitwise_and(word, (1 << records.bits) - 1)]
        holds = value <= limit
        if records.missing:
            passes = T.bitwise_and(word, 1 << records.bits) != 0
            holds = T.Or(holds, T.And(T.isnan(value), passes))
        return T.shift_right(word, records.bits + records.missing) + T.Cast("int64", holds)

    def row(block: Any, r: Any) -> Any:
        return block * ROWS + r if batch % ROWS == 0 else T.min(block * ROWS + r, batch - 1)

    @T.prim_func(private=True, s_tir=True)
    def trees_beside(
        x: T.Buffer((batch, features), dtype),
        node: T.Buffer((length,), "int64"),
        weight: T.Buffer((places, targets), "float32"),
        root: T.Buffer((trees,), "int64"),
        depth: T.Buffer((groups,), "int32"),
        out: T.Buffer((batch, targets), "float32"),
    ):
        T.func_attr({"tirx.noalias": True, "op_pattern": 8, "tirx.is_scheduled": 1})
        for n in range(batch):
            for c in range(targets):
                out[n, c] = T.float32(0)
        for g in range(groups):  # outside, so that the nodes of a group stay in the cache
            for n in range(batch):
                at = T.alloc_buffer((GROUP,), "int64", scope="local")
                for t in T.unroll(GROUP):
                    at[t] = root[g * GROUP + t]
                for _ in range(depth[g]):
                    for t in T.unroll(GROUP):
                        at[t] = step(x, node, n, at[t])
                for t in T.unroll(GROUP):
                    for c in range(targets):
                        out[n, c] = out[n, c] + weight[at[t], c]

    @T.prim_func(private=True, s_tir=True)
    def rows_beside(
        x: T.Buffer((batch, features), dtype),
        node: T.Buffer((length,), "int64"),
        weight: T.Buffer((places, targets), "float32"),
        root: T.Buffer((trees,), "int64"),
        depth: T.Buffer((groups,), "int32"),
        out: T.Buffer((batch, targets), "float32"),
    ):
        T.func_attr({"tirx.noalias": True, "op_pattern": 8, "tirx.is_scheduled": 1})
        for n in range(batch):
            for c in range(targets):
                out[n, c] = T.float32(0)
        for t in range(forest.trees):
            for b in range(blocks):
                at = T.alloc_buffer((ROWS,), "int64", scope="local")
                to = T.alloc_buffer((ROWS,), "int64", scope="local")
                leaf = T.alloc_buffer((ROWS,), "int64", scope="local")  # for a loop whose length is not known before
                moved = T.alloc_buffer((1,), "int64", scope="local")
                for r in T.unroll(ROWS):
                    at[r] = root[t]
                moved[0] = T.Cast("int64", 1)
                while moved[0] != 0:  # leaves lead to themselves
                    for _ in T.unroll(_STEPS - 1):
                        for r in T.unroll(ROWS):
                            at[r] = step(x, node, row(b, r), at[r])
                    moved[0] = T.Cast("int64", 0)
                    for r in T.unroll(ROWS):
                        to[r] = step(x, node, row(b, r), at[r])
                        moved[0] = T.bitwise_or(moved[0], T.bitwise_xor(to[r], at[r]))
                        at[r] = to[r]
                for r in T.unroll(ROWS):
                    leaf[r] = at[r]
                for r in range(T.min(ROWS, batch - b * ROWS)):
                    for c in range(targets):
                        out[b * ROWS + r, c] = out[b * ROWS + r, c] + weight[leaf[r], c]

    return rows_beside if batch >= ROWS else trees_beside


def forest_tables(forest: Forest, records: Records) -> list[np.ndarray]:
    """What `forest_function` takes after x."""
    return [records.table, records.weight, records.root, forest.depth]

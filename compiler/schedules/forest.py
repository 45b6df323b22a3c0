"""The loop over a forest's tables: GROUP trees descend side by side, then their leaves are added in order."""

# TVMScript writes types as values, which is no Python typing.
# mypy: disable-error-code="valid-type,no-untyped-def"
from __future__ import annotations

from typing import Any

import numpy as np
from tvm.script import tirx as T

from compiler.forest import GROUP, Forest


def forest_function(forest: Forest, batch: int, features: int) -> Any:
    """TIR of (x [N, F], tables of `forest_tables`) -> sums [N, targets] of the leaves that each row of x reaches.

    The order of additions is the trees' order, as in ONNX Runtime on one thread.
    """
    nodes, targets, trees = len(forest.feature), forest.targets, len(forest.root)
    groups, dtype = trees // GROUP, str(forest.threshold.dtype)
    integer = str(forest.records().dtype)

    @T.prim_func(private=True, s_tir=True)
    def plain(
        x: T.Buffer((batch, features), dtype),
        node: T.Buffer((4 * nodes,), integer),
        weight: T.Buffer((nodes, targets), "float32"),
        root: T.Buffer((trees,), integer),
        depth: T.Buffer((groups,), "int32"),
        out: T.Buffer((batch, targets), "float32"),
    ):
        T.func_attr({"tirx.noalias": True, "op_pattern": 8, "tirx.is_scheduled": 1})
        for n in range(batch):
            for c in range(targets):
                out[n, c] = T.float32(0)
        for g in range(groups):  # outside, so that the nodes of a group stay in the cache
            for n in range(batch):
                at = T.alloc_buffer((GROUP,), integer, scope="local")
                for t in T.unroll(GROUP):
                    at[t] = root[g * GROUP + t]
                for _ in range(depth[g]):
                    for t in T.unroll(GROUP):
                        at[t] = node[
                            at[t] + 2 + T.Cast(integer, x[n, node[at[t]]] <= T.reinterpret(dtype, node[at[t] + 1]))
                        ]
                for t in T.unroll(GROUP):
                    for c in range(targets):
                        out[n, c] = out[n, c] + weight[at[t] // 4, c]

    @T.prim_func(private=True, s_tir=True)
    def with_nan(
        x: T.Buffer((batch, features), dtype),
        node: T.Buffer((4 * nodes,), integer),
        weight: T.Buffer((nodes, targets), "float32"),
        root: T.Buffer((trees,), integer),
        depth: T.Buffer((groups,), "int32"),
        nan_true: T.Buffer((nodes,), "int32"),
        out: T.Buffer((batch, targets), "float32"),
    ):
        T.func_attr({"tirx.noalias": True, "op_pattern": 8, "tirx.is_scheduled": 1})
        for n in range(batch):
            for c in range(targets):
                out[n, c] = T.float32(0)
        for g in range(groups):  # outside, so that the nodes of a group stay in the cache
            for n in range(batch):
                at = T.alloc_buffer((GROUP,), integer, scope="local")
                for t in T.unroll(GROUP):
                    at[t] = root[g * GROUP + t]
                for _ in range(depth[g]):
                    for t in T.unroll(GROUP):
                        at[t] = node[
                            at[t]
                            + 2
                            + T.Cast(
                                integer,
                                (x[n, node[at[t]]] <= T.reinterpret(dtype, node[at[t] + 1]))
                                or (T.isnan(x[n, node[at[t]]]) and nan_true[at[t] // 4] != 0),
                            )
                        ]
                for t in T.unroll(GROUP):
                    for c in range(targets):
                        out[n, c] = out[n, c] + weight[at[t] // 4, c]

    return plain if forest.nan_true is None else with_nan


def forest_tables(forest: Forest) -> list[np.ndarray]:
    """What `forest_function` takes after x: records, weights, roots as offsets, depths, missing values."""
    records = forest.records()
    tables = [records, forest.weight, (4 * forest.root).astype(records.dtype), forest.depth]
    return tables if forest.nan_true is None else [*tables, forest.nan_true]

"""Matrix products of unsigned bytes by constant signed bytes, summed in 32 bits; and their schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import te, tirx

from compiler.schedules.anchor import TEMPLATE, Intrinsic, extent, finish_anchor, round_up
from compiler.schedules.dot import integer_tile, intrinsic
from compiler.schedules.gemm import crop, pad_last, pad_rows
from compiler.schedules.machine import GROUP, Machine
from compiler.schedules.tiles import Tile

NAME = "integer_gemm"


def gemm_tile(machine: Machine, rows: int, columns: int, groups: int) -> Tile:
    """The register tile of a product with an output of `rows` x `columns`, of so many groups a step; its `columns` are
    rows of the output."""
    return integer_tile(machine, round_up(columns, machine.lanes) // machine.lanes, 1, rows, groups)


def pack(weight: np.ndarray, machine: Machine, tile: Tile, groups: int) -> np.ndarray:
    """int8 [K, N] -> [N/b, K/(4 g), g, b, 4], b being the tile's width in values and g the groups of a step; zeros
    beyond K and N."""
    depth, columns = weight.shape
    width = tile.vectors * machine.lanes
    padded = np.zeros((round_up(depth, GROUP * groups), round_up(columns, width)), weight.dtype)
    padded[:depth, :columns] = weight
    split = padded.reshape(-1, groups, GROUP, padded.shape[1] // width, width)
    return np.ascontiguousarray(split.transpose(3, 0, 1, 4, 2))


def integer_gemm(tile: Tile, columns: int, data: Any, weight: Any) -> Any:
    """TE of uint8 data [..., M, K] * int8 weight [N/b, K/(4 g), g, b, 4] -> int32 [..., M, N]."""
    *lead, rows, _ = (int(d) for d in data.shape)
    blocks, steps, groups, width, _ = (int(d) for d in weight.shape)
    if (depth := steps * groups * GROUP) != int(data.shape[-1]):
        data = pad_last(data, depth, -1)
    data, padded_rows = pad_rows(data, tile.columns)
    ko, ki = te.reduce_axis((0, steps), "ko"), te.reduce_axis((0, GROUP), "ki")
    kg = te.reduce_axis((0, groups), "kg")

    def product(*index: Any) -> Any:
        n = index[-1]
        left = data[(*index[:-1], (ko * groups + kg) * GROUP + ki)]
        right = weight[tirx.floordiv(n, width), ko, kg, tirx.floormod(n, width), ki]
        return te.sum(left.astype("int32") * right.astype("int32"), axis=[ko, kg, ki])

    attrs = {TEMPLATE: NAME, "tile": [tile.vectors, tile.rows, tile.columns]}
    full = te.compute((*lead, padded_rows, blocks * width), product, name="gemm", attrs=attrs)
    return crop(full, (*lead, rows, columns))


def schedule_integer_gemm(schedule: tvm.s_tir.Schedule, block: Any, tile: Sequence[int], machine: Machine) -> None:
    """Tile `block`, keep the tile's sums in registers, and finish what follows it tile by tile."""
    shape = Tile(*tile)
    *lead, m, n, ko, kg, ki = schedule.get_loops(block)
    groups = extent(schedule, kg)
    m_outer, m_inner = schedule.split(m, [None, shape.columns])
    n_outer, n_inner, lane = schedule.split(n, [None, shape.vectors, machine.lanes])
    taken = (kg, lane, ki) if groups > 1 else (lane, ki)
    steps = (ko,) if groups > 1 else (ko, kg)
    schedule.reorder(*lead, n_outer, m_outer, *steps, m_inner, n_inner, *taken)
    how = Intrinsic(intrinsic(machine, groups), len(taken))
    finish_anchor(schedule, block, [*lead, n_outer], m_outer, ko, 2, machine, how)

"""Convolution of unsigned bytes NCHW[i]c by constant signed bytes OIHW[i/4]i[o]o4i, summed in 32 bits; its schedule.

As for float32 (`conv2d`), but that a step of the reduction takes four channels at once, or eight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import te

from compiler.schedules.anchor import TEMPLATE, Intrinsic, extent, finish_anchor, round_up
from compiler.schedules.conv2d import Window, pad_image, whole_tiles
from compiler.schedules.dot import groups_a_step, integer_tile, intrinsic
from compiler.schedules.machine import GROUP, Machine
from compiler.schedules.tiles import Tile

NAME = "integer_conv2d"


def pack(weight: np.ndarray, inner: int, machine: Machine) -> np.ndarray:
    """int8 [O, I, H, W] -> [O/o, I/i, H, W, i/(4 g), g, o, 4], g being the groups of a step; zeros for channels beyond
    O and I."""
    out, depth, height, width = weight.shape
    lanes = machine.lanes
    groups = groups_a_step(machine, weight.swapaxes(0, 1).reshape(depth, -1)) if inner % (2 * GROUP) == 0 else 1
    full = np.zeros((round_up(out, lanes), round_up(depth, inner), height, width), weight.dtype)
    full[:out, :depth] = weight
    blocks, steps = full.shape[1] // inner, inner // GROUP // groups
    split = full.reshape(-1, lanes, blocks, steps, groups, GROUP, height, width)
    return np.ascontiguousarray(split.transpose(0, 2, 6, 7, 3, 4, 1, 5))


def integer_conv2d(machine: Machine, window: Window, outside: int, data: Any, weight: Any) -> Any:
    """TE of data [N, IC/i, H, W, i] * weight [OC/o, IC/i, KH, KW, i/(4 g), g, o, 4] -> int32 [N, OC/o, OH, OW, o].

    `outside` is what stands around the image: the byte that means zero.
    """
    batch, _, height, width, _ = (int(d) for d in data.shape)
    out_blocks, in_blocks, kernel_h, kernel_w, steps, groups, lanes, _ = (int(d) for d in weight.shape)
    rows, columns = window.output(height, width, (kernel_h, kernel_w))
    tile = integer_tile(machine, out_blocks, rows, columns, groups)
    padded_rows, padded_columns = round_up(rows, tile.rows), round_up(columns, tile.columns)
    padded = pad_image(data, window, (padded_rows, padded_columns), (kernel_h, kernel_w), outside)
    (stride_h, stride_w), (dilation_h, dilation_w) = window.strides, window.dilation
    ko = te.reduce_axis((0, in_blocks), "ko")
    kh = te.reduce_axis((0, kernel_h), "kh")
    kw = te.reduce_axis((0, kernel_w), "kw")
    ks = te.reduce_axis((0, steps), "ks")
    kg = te.reduce_axis((0, groups), "kg")
    ki = te.reduce_axis((0, GROUP), "ki")

    def product(n: Any, o: Any, y: Any, x: Any, lane: Any) -> Any:
        row, column = y * stride_h + kh * dilation_h, x * stride_w + kw * dilation_w
        left = padded[n, ko, row, column, (ks * groups + kg) * GROUP + ki]
        right = weight[o, ko, kh, kw, ks, kg, lane, ki]
        return te.sum(left.astype("int32") * right.astype("int32"), axis=[ko, kh, kw, ks, kg, ki])

    attrs = {TEMPLATE: NAME, "tile": [tile.vectors, tile.rows, tile.columns]}
    shape = (batch, out_blocks, rows, columns, lanes)
    return whole_tiles(product, shape, (padded_rows, padded_columns), attrs)


def schedule_integer_conv2d(schedule: tvm.s_tir.Schedule, block: Any, tile: Sequence[int], machine: Machine) -> None:
    """Tile `block`, keep the tile's sums in registers, and finish what follows it tile by tile."""
    shape = Tile(*tile)
    n, o, y, x, lane, ko, kh, kw, ks, kg, ki = schedule.get_loops(block)
    groups = extent(schedule, kg)
    o_outer, o_inner = schedule.split(o, [None, shape.vectors])
    y_outer, y_inner = schedule.split(y, [None, shape.rows])
    x_outer, x_inner = schedule.split(x, [None, shape.columns])
    taken = (kg, lane, ki) if groups > 1 else (lane, ki)
    steps = (ko, kh, kw, ks) if groups > 1 else (ko, kh, kw, ks, kg)
    schedule.reorder(n, o_outer, y_outer, x_outer, *steps, y_inner, x_inner, o_inner, *taken)
    how = Intrinsic(intrinsic(machine, groups), len(taken))
    finish_anchor(schedule, block, [n, o_outer, y_outer], x_outer, ko, 3, machine, how)

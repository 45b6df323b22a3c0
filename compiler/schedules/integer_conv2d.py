"""Convolution of unsigned bytes NCHW[i]c by constant signed bytes OIHW[i/4]i[o]o4i, summed in 32 bits; its schedule.

As for float32 (`conv2d`), but that a step of the reduction takes four channels at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import te

from compiler.schedules.anchor import TEMPLATE, finish_anchor, round_up
from compiler.schedules.conv2d import Window, pad_image, whole_tiles
from compiler.schedules.dot import integer_tile, intrinsic
from compiler.schedules.machine import GROUP, Machine
from compiler.schedules.tiles import Tile

NAME = "integer_conv2d"


def pack(weight: np.ndarray, inner: int, lanes: int) -> np.ndarray:
    """int8 [O, I, H, W] -> [O/o, I/i, H, W, i/4, o, 4], zeros for channels beyond O and I."""
    out, depth, height, width = weight.shape
    full = np.zeros((round_up(out, lanes), round_up(depth, inner), height, width), weight.dtype)
    full[:out, :depth] = weight
    split = full.reshape(-1, lanes, full.shape[1] // inner, inner // GROUP, GROUP, height, width)
    return np.ascontiguousarray(split.transpose(0, 2, 5, 6, 3, 1, 4))


def integer_conv2d(machine: Machine, window: Window, outside: int, data: Any, weight: Any) -> Any:
    """TE of data [N, IC/i, H, W, i] * weight [OC/o, IC/i, KH, KW, i/4, o, 4] -> int32 [N, OC/o, OH, OW, o].

    `outside` is what stands around the image: the byte that means zero.
    """
    batch, _, height, width, _ = (int(d) for d in data.shape)
    out_blocks, in_blocks, kernel_h, kernel_w, groups, lanes, _ = (int(d) for d in weight.shape)
    rows, columns = window.output(height, width, (kernel_h, kernel_w))
    tile = integer_tile(machine, out_blocks, rows, columns)
    padded_rows, padded_columns = round_up(rows, tile.rows), round_up(columns, tile.columns)
    padded = pad_image(data, window, (padded_rows, padded_columns), (kernel_h, kernel_w), outside)
    (stride_h, stride_w), (dilation_h, dilation_w) = window.strides, window.dilation
    ko = te.reduce_axis((0, in_blocks), "ko")
    kh = te.reduce_axis((0, kernel_h), "kh")
    kw = te.reduce_axis((0, kernel_w), "kw")
    kg = te.reduce_axis((0, groups), "kg")
    ki = te.reduce_axis((0, GROUP), "ki")

    def product(n: Any, o: Any, y: Any, x: Any, lane: Any) -> Any:
        row, column = y * stride_h + kh * dilation_h, x * stride_w + kw * dilation_w
        left = padded[n, ko, row, column, kg * GROUP + ki]
        right = weight[o, ko, kh, kw, kg, lane, ki]
        return te.sum(left.astype("int32") * right.astype("int32"), axis=[ko, kh, kw, kg, ki])

    attrs = {TEMPLATE: NAME, "tile": [tile.vectors, tile.rows, tile.columns]}
    shape = (batch, out_blocks, rows, columns, lanes)
    return whole_tiles(product, shape, (padded_rows, padded_columns), attrs)


def schedule_integer_conv2d(schedule: tvm.s_tir.Schedule, block: Any, tile: Sequence[int], machine: Machine) -> None:
    """Tile `block`, keep the tile's sums in registers, and finish what follows it tile by tile."""
    shape = Tile(*tile)
    n, o, y, x, lane, ko, kh, kw, kg, ki = schedule.get_loops(block)
    o_outer, o_inner = schedule.split(o, [None, shape.vectors])
    y_outer, y_inner = schedule.split(y, [None, shape.rows])
    x_outer, x_inner = schedule.split(x, [None, shape.columns])
    schedule.reorder(n, o_outer, y_outer, x_outer, ko, kh, kw, kg, y_inner, x_inner, o_inner, lane, ki)
    finish_anchor(schedule, block, [n, o_outer, y_outer], x_outer, ko, 3, machine, intrinsic(machine))

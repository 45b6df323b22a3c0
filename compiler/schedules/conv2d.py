"""Convolution in the blocked layout NCHW[i]c with weights OIHW[i]i[o]o: its computation, and the schedule for it.

The output is computed in tiles held in registers. Where the image is no multiple of the tile, the computation runs over
the edge (reading zeros) and the epilogue, which writes, crops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import te, tirx

from compiler.schedules.anchor import finish_anchor, round_up
from compiler.schedules.machine import Machine
from compiler.schedules.tiles import Tile
from compiler.schedules.workload import Space, block_attrs, choice_of, named, order_of

NAME = "conv2d"


@dataclass(frozen=True, slots=True)
class Window:
    """Strides, padding (top, left, bottom, right) and dilation of a convolution."""

    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int = 1

    def output(self, height: int, width: int, kernel: tuple[int, int]) -> tuple[int, int]:
        top, left, bottom, right = self.padding
        rows = (height + top + bottom - self.dilation[0] * (kernel[0] - 1) - 1) // self.strides[0] + 1
        columns = (width + left + right - self.dilation[1] * (kernel[1] - 1) - 1) // self.strides[1] + 1
        return rows, columns


def window_of(call: Any) -> Window:
    """The window of a call of relax.nn.conv2d."""
    attrs = call.attrs
    return Window(
        strides=(int(attrs.strides[0]), int(attrs.strides[1])),
        padding=tuple(int(p) for p in attrs.padding),  # type: ignore[arg-type]
        dilation=(int(attrs.dilation[0]), int(attrs.dilation[1])),
        groups=int(attrs.groups),
    )


def workload_of(window: Window, data: Sequence[int], weight: Sequence[int]) -> str:
    """The name of a convolution with its shapes: what tuning files its choice under."""
    parts = {
        "data": data,
        "weight": weight,
        "stride": window.strides,
        "pad": window.padding,
        "dilation": window.dilation,
        "groups": [window.groups],
    }
    return named("conv2d", parts)


def conv2d_blocked(machine: Machine, window: Window, data: Any, weight: Any, *, alternative: bool = False) -> Any:
    """TE of data [N, IC/i, H, W, i] * weight [OC/o, IC/g/i, KH, KW, i, o] -> [N, OC/o, OH, OW, o].

    With as many groups as channels, the weight is [C/o, 1, KH, KW, 1, o] and i == o (depthwise).
    `alternative` says that another algorithm could compute it.
    """
    batch, in_blocks, height, width, inner = (int(d) for d in data.shape)
    out_blocks, group_blocks, kernel_h, kernel_w, depth, lanes = (int(d) for d in weight.shape)
    depthwise = window.groups > 1 and depth == 1 and window.groups == in_blocks * inner
    rows, columns = window.output(height, width, (kernel_h, kernel_w))
    blocks_per_group = 1 if depthwise else out_blocks // window.groups
    workload = workload_of(window, [int(d) for d in data.shape], [int(d) for d in weight.shape])
    space = Space(blocks_per_group, rows, columns, alternative)
    tile, order = choice_of(machine, workload, space, _kept(kernel_h, kernel_w) if depthwise else 0)
    padded_rows, padded_columns = round_up(rows, tile.rows), round_up(columns, tile.columns)
    padded = pad_image(data, window, (padded_rows, padded_columns), (kernel_h, kernel_w))
    (stride_h, stride_w), (dilation_h, dilation_w) = window.strides, window.dilation
    ko = te.reduce_axis((0, group_blocks), "ko")
    kh = te.reduce_axis((0, kernel_h), "kh")
    kw = te.reduce_axis((0, kernel_w), "kw")
    ki = te.reduce_axis((0, depth), "ki")

    def product(n: Any, o: Any, y: Any, x: Any, lane: Any) -> Any:
        row, column = y * stride_h + kh * dilation_h, x * stride_w + kw * dilation_w
        if depthwise:
            return te.sum(padded[n, o, row, column, lane] * weight[o, ko, kh, kw, ki, lane], axis=[ko, kh, kw, ki])
        block = ko if window.groups == 1 else tirx.floordiv(o, blocks_per_group) * group_blocks + ko
        return te.sum(padded[n, block, row, column, ki] * weight[o, ko, kh, kw, ki, lane], axis=[ko, kh, kw, ki])

    attrs = block_attrs(NAME, workload, space, tile, order)
    shape = (batch, out_blocks, rows, columns, lanes)
    return whole_tiles(product, shape, (padded_rows, padded_columns), attrs)


def _kept(height: int, width: int) -> int:
    """Vectors of weights, besides the one in use, that a depthwise convolution keeps in registers.

    LLVM unrolls small kernels and loads all their weights before the first tile; of larger ones it unrolls a row.
    """
    return height * width - 1 if height * width <= _UNROLLED else width - 1


_UNROLLED = 9
"""Taps: those of 3x3."""


def whole_tiles(product: Any, shape: tuple[int, ...], padded: tuple[int, int], attrs: dict[str, Any]) -> Any:
    """TE of an image of `shape` [N, OC/o, OH, OW, o], computed for `padded` rows and columns, which are whole tiles."""
    batch, blocks, rows, columns, lanes = shape
    full = te.compute((batch, blocks, *padded, lanes), product, name="conv2d", attrs=attrs)
    return full if padded == (rows, columns) else te.compute(shape, lambda *i: full(*i), name="crop")


def pad_image(data: Any, window: Window, output: tuple[int, int], kernel: tuple[int, int], value: int = 0) -> Any:
    """`data` with the values (zeros) that reading for `output` positions needs, or itself where it needs none."""
    batch, blocks, height, width, inner = (int(d) for d in data.shape)
    top, left = window.padding[:2]
    need_h = (output[0] - 1) * window.strides[0] + window.dilation[0] * (kernel[0] - 1) + 1
    need_w = (output[1] - 1) * window.strides[1] + window.dilation[1] * (kernel[1] - 1) + 1
    if not top and not left and need_h <= height and need_w <= width:
        return data

    def value_outside(n: Any, c: Any, y: Any, x: Any, i: Any) -> Any:
        inside = tirx.all(y >= top, y < top + height, x >= left, x < left + width)
        return tirx.if_then_else(inside, data[n, c, y - top, x - left, i], tirx.const(value, data.dtype))

    shape = (batch, blocks, max(need_h, top + height), max(need_w, left + width), inner)
    return te.compute(shape, value_outside, name="pad")


def schedule_conv2d(schedule: tvm.s_tir.Schedule, block: Any, tile: Sequence[int], machine: Machine) -> None:
    """Tile `block`, keep the tile's sums in registers, and finish what follows it (bias, activation) tile by tile."""
    shape = Tile(*tile)
    n, o, y, x, lane, ko, kh, kw, ki = schedule.get_loops(block)
    o_outer, o_inner = schedule.split(o, [None, shape.vectors])
    y_outer, y_inner = schedule.split(y, [None, shape.rows])
    x_outer, x_inner = schedule.split(x, [None, shape.columns])
    channels_inside = order_of(schedule, block) == "positions"
    tiles = [n, y_outer, x_outer, o_outer] if channels_inside else [n, o_outer, y_outer, x_outer]
    schedule.reorder(*tiles, ko, kh, kw, ki, y_inner, x_inner, o_inner, lane)
    finish_anchor(schedule, block, tiles[:-1], tiles[-1], ko, 3, machine)

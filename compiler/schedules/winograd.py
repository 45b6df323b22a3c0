"""Winograd's F(4x4, 3x3) convolution (Lavin & Gray 2015): 36 multiplications a tile of 16 outputs, not 144.

Three functions, each with a schedule of its own: the input's tiles are transformed, 36 products of matrices follow, and
the products are transformed back, with bias and activation after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import te, tirx

from compiler.schedules.anchor import TEMPLATE, extent, finish_anchor, round_up
from compiler.schedules.conv2d import Window
from compiler.schedules.machine import Machine
from compiler.schedules.tiles import Tile, best_tile
from compiler.schedules.workload import Space, block_attrs, choice_of, order_of, workload_attrs

Array = np.ndarray[Any, Any]

OUT, IN = 4, 6
"""Positions along a side of an output tile, and of the input tile that it reads."""

INPUT, OUTPUT, PRODUCT = "winograd_input", "winograd_output", "winograd_product"

_POINTS = (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
"""Where the polynomials are evaluated, infinity besides. Of pairs with short binary fractions these had the least
error: about twice that of direct convolution, where the usual 1 and 2 have seven times that."""


def _matrices(points: Sequence[float]) -> tuple[Array, Array, Array]:
    """(A^T, G, B^T) of Toom and Cook's algorithm at `points` and infinity; all of A and B are exact in float32."""
    last = np.eye(IN)[-1:]
    a = np.concatenate([np.vander(points, OUT, increasing=True), last[:, -OUT:]])
    others = [[q for q in points if q != p] for p in points]
    scale = [np.prod([p - q for q in rest]) for p, rest in zip(points, others, strict=True)]
    g = np.concatenate([np.vander(points, 3, increasing=True) / np.array(scale)[:, None], last[:, -3:]])
    b = np.array([[*np.poly(rest)[::-1], 0.0] for rest in others] + [np.poly(points)[::-1]])
    return a.T, g, b


_A, _G, _B = _matrices(_POINTS)


def pays(machine: Machine, window: Window, data: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    """Whether F(4, 3) is worth it for blocked data [N, IC/i, H, W, i] and a weight [OC/o, IC/i, 3, 3, i, o].

    Many channels must share the transforms, what tiles compute beyond the image's edge must not eat the gain, and
    neither must reading four times as many weights.
    """
    if not applies(machine, window, data, weight):
        return False
    rows, columns = window.output(data[2], data[3], (3, 3))
    tiles = count_tiles(window, data[0], data[2], data[3])
    ins, outs = data[1] * data[4], weight[0] * weight[5]
    read = _READ * machine.lanes if 4 * IN * IN * ins * outs > machine.cache else 0
    direct = ins * outs * 9 * (rows * columns * data[0] + read)
    wide = round_up(tiles, best_tile(machine, weight[0], 1, tiles).columns)
    transformed = ins * outs * IN * IN * (wide + read) + _TRANSFORM * tiles * (ins + outs)
    return transformed * _MARGIN < direct


def applies(machine: Machine, window: Window, data: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    """Whether F(4, 3) can compute it, worth it or not."""
    if weight[2:4] != (3, 3) or window.strides != (1, 1) or window.dilation != (1, 1) or window.groups != 1:
        return False
    return data[4] == machine.lanes and weight[4] == machine.lanes


_TRANSFORM = 36 * 12
"""What transforming a tile of one channel costs, in multiply-adds."""

_READ = 1.25
"""What reading a weight from memory costs, in multiply-adds, for each lane that could work meanwhile."""

_MARGIN = 1.25


def transform_weight(weight: np.ndarray) -> np.ndarray:
    """[O/o, I/i, 3, 3, i, o] -> [36, O/o, I, o], computed in double precision."""
    out_blocks, in_blocks, _, _, inner, lanes = weight.shape
    both = np.kron(_G, _G)  # of all nine taps at once
    result = np.empty((IN * IN, out_blocks, in_blocks * inner, lanes), np.float32)
    for block in range(out_blocks):  # one by one: in double precision all of a layer would not stay in the caches
        taps = weight[block].transpose(1, 2, 0, 3, 4).reshape(9, -1)
        product = np.einsum("et,tn->en", both, taps)  # no BLAS: its threads would wait for each other
        result[:, block] = product.reshape(IN * IN, in_blocks * inner, lanes)
    return result


def count_tiles(window: Window, batch: int, height: int, width: int) -> int:
    """Output tiles of all images."""
    rows, columns = window.output(height, width, (3, 3))
    return batch * -(-rows // OUT) * -(-columns // OUT)


def plan_of(machine: Machine, workload: str, out_blocks: int, tiles: int) -> tuple[Tile, dict[str, Any]]:
    """The tile of a convolution's products, whose rows are `tiles`, and what its block is annotated with."""
    space = Space(out_blocks, 1, tiles, alternative=True)
    tile, order = choice_of(machine, workload, space)
    return tile, block_attrs(PRODUCT, workload, space, tile, order)


def input_transform(window: Window, padded: int, workload: str, data: Any) -> Any:
    """TE of data [N, I/i, H, W, i] -> [36, I/i, P, i]: each tile of 6x6 as B^T d B; P tiles of all images, `padded`."""
    batch, blocks, height, width, lanes = (int(d) for d in data.shape)
    rows, columns = window.output(height, width, (3, 3))
    down, across, tiles = -(-rows // OUT), -(-columns // OUT), count_tiles(window, batch, height, width)
    top, left = window.padding[:2]

    def value(c: Any, p: Any, a: Any, b: Any, i: Any) -> Any:
        n, y, x = p // (down * across), p % (down * across) // across * OUT + a - top, p % across * OUT + b - left
        inside = tirx.all(p < tiles, y >= 0, y < height, x >= 0, x < width)
        return tirx.if_then_else(inside, data[n, c, y, x, i], tirx.const(0, data.dtype))

    patch = te.compute((blocks, padded, IN, IN, lanes), value, name="patch")
    half = te.compute(
        (blocks, padded, IN, IN, lanes),
        lambda c, p, a, b, i: _combine(_B, a, lambda k: patch[c, p, k, b, i]),
        name="half",
    )
    return te.compute(
        (IN * IN, blocks, padded, lanes),
        lambda e, c, p, i: _combine(_B, e % IN, lambda k: half[c, p, e // IN, k, i]),
        name=INPUT,
        attrs={TEMPLATE: INPUT, "tile": [1, 1, 1], **workload_attrs(workload)},
    )


def product(attrs: dict[str, Any], data: Any, weight: Any) -> Any:
    """TE of data [36, I/i, P, i] * weight [36, O/o, I, o] -> [36, O/o, P, o]."""
    elements, _, padded, inner = (int(d) for d in data.shape)
    _, out_blocks, depth, lanes = (int(d) for d in weight.shape)
    k = te.reduce_axis((0, depth), "k")
    return te.compute(
        (elements, out_blocks, padded, lanes),
        lambda e, o, p, lane: te.sum(data[e, k // inner, p, k % inner] * weight[e, o, k, lane], axis=[k]),
        name=PRODUCT,
        attrs=attrs,
    )


def output_transform(window: Window, image: tuple[int, int, int], workload: str, data: Any) -> Any:
    """TE of data [36, O/o, P, o] -> [N, O/o, OH, OW, o]: each tile as A^T m A, cropped at the edge of the outputs of
    `image` [N, H, W].
    """
    batch, height, width = image
    _, blocks, padded, lanes = (int(d) for d in data.shape)
    rows, columns = window.output(height, width, (3, 3))
    down, across = -(-rows // OUT), -(-columns // OUT)
    half = te.compute(
        (blocks, padded, OUT, IN, lanes),
        lambda c, p, a, b, i: _combine(_A, a, lambda k: data[k * IN + b, c, p, i]),
        name="half",
    )
    full = te.compute(
        (blocks, padded, OUT, OUT, lanes),
        lambda c, p, a, b, i: _combine(_A, b, lambda k: half[c, p, a, k, i]),
        name="tile",
        attrs={TEMPLATE: OUTPUT, "tile": [1, 1, 1], **workload_attrs(workload)},
    )
    return te.compute(
        (batch, blocks, rows, columns, lanes),
        lambda n, c, y, x, i: full[c, (n * down + y // OUT) * across + x // OUT, y % OUT, x % OUT, i],
        name="crop",
    )


def _combine(matrix: np.ndarray, row: Any, value: Any) -> Any:
    """The sum of value(k) weighted by `row` of `matrix`; the row is chosen once loops are unrolled."""
    chosen = None
    for r in reversed(range(len(matrix))):
        total = None
        for k, factor in enumerate(matrix[r]):
            if factor:
                term = (
                    value(k)
                    if factor == 1
                    else -value(k)
                    if factor == -1
                    else value(k) * tirx.const(float(factor), "float32")
                )
                total = term if total is None else total + term
        chosen = total if chosen is None else tirx.Select(row == r, total, chosen)
    return chosen


def schedule_input(schedule: tvm.s_tir.Schedule, block: Any, _tile: Any, machine: Machine) -> None:
    """A tile's 36 values come one after the other, from a patch and a half-transformed patch in the first cache."""
    element, channel, p, lane = schedule.get_loops(block)
    schedule.reorder(channel, p, element, lane)
    half = schedule.get_producers(block)[0]
    patch = schedule.get_producers(half)[0]
    for producer in (half, patch):
        schedule.compute_at(producer, p, preserve_unit_loops=True)
    _unroll(schedule, patch, 0)
    _unroll(schedule, half, 2)
    _unroll(schedule, block, 1)
    _parallel(schedule, [channel, p], machine)


def schedule_product(schedule: tvm.s_tir.Schedule, block: Any, tile: Any, machine: Machine) -> None:
    """36 products of matrices, each tiled as one; a whole product's operands fit the second cache."""
    shape = Tile(*tile)
    element, o, p, lane, k = schedule.get_loops(block)
    o_outer, o_inner = schedule.split(o, [None, shape.vectors])
    p_outer, p_inner = schedule.split(p, [None, shape.columns])
    outer, inner = (p_outer, o_outer) if order_of(schedule, block) == "positions" else (o_outer, p_outer)
    schedule.reorder(element, outer, inner, k, p_inner, o_inner, lane)
    finish_anchor(schedule, block, [element, outer], inner, k, 2, machine)


def schedule_output(schedule: tvm.s_tir.Schedule, block: Any, _tile: Any, machine: Machine) -> None:
    """What follows (crop, bias, activation) becomes one block; its loops go tile by tile, the transforms inside."""
    half = schedule.get_producers(block)[0]
    last = block
    while consumers := schedule.get_consumers(last):
        if last is not block:
            schedule.compute_inline(last)
            consumers = schedule.get_consumers(block)
        last = consumers[0]
    n, channel, y, x, lane = schedule.get_loops(last)
    y_outer, y_inner = schedule.split(y, [None, OUT])
    x_outer, x_inner = schedule.split(x, [None, OUT])
    schedule.reorder(n, channel, y_outer, x_outer, y_inner, x_inner, lane)
    for producer in (block, half):
        schedule.compute_at(producer, x_outer, preserve_unit_loops=True)
        _unroll(schedule, producer, 2)
    _unroll(schedule, last, 0)
    _parallel(schedule, [n, channel, y_outer], machine)


def _unroll(schedule: tvm.s_tir.Schedule, block: Any, depth: int) -> None:
    """Unroll the `depth` loops above the lanes, and make vectors of these."""
    *loops, lane = list(schedule.get_loops(block))[-1 - depth :]
    for loop in loops:
        schedule.unroll(loop)
    schedule.vectorize(lane)


def _parallel(schedule: tvm.s_tir.Schedule, loops: list[Any], machine: Machine) -> None:
    turns = 1
    for loop in loops:
        turns *= extent(schedule, loop)
    if machine.splits(turns * IN * IN * 8 * machine.lanes):
        schedule.parallel(schedule.fuse(*loops))

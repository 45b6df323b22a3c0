"""Matrix products by constant weights, packed when compiling, and by another activation; and their schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import te, tirx

from compiler.schedules.anchor import finish_anchor, round_up
from compiler.schedules.machine import Machine
from compiler.schedules.tiles import Tile
from compiler.schedules.workload import Space, block_attrs, choice_of, named, order_of
from specs.choice import Order

NAME = "gemm"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a product is computed: the register `tile`, whose `columns` are rows of the output, and the `order`."""

    workload: str
    space: Space
    tile: Tile
    order: Order

    @property
    def attrs(self) -> dict[str, Any]:
        return block_attrs(NAME, self.workload, self.space, self.tile, self.order)


def gemm_plan(machine: Machine, data: Sequence[int], other: Sequence[int], *, packed: bool) -> Plan:
    """Of data [..., M, K] * other [..., K, N], `other` being constant and `packed`, or not."""
    workload = named("gemm" if packed else "gemm_batched", {"data": data, "other": other})
    space = Space(round_up(other[-1], machine.lanes) // machine.lanes, 1, data[-2])
    return Plan(workload, space, *choice_of(machine, workload, space))


def pack(weight: np.ndarray, machine: Machine, tile: Tile) -> np.ndarray:
    """[K, N] -> [N/b, K, b], b being the tile's width in values; columns beyond N are zeros.

    A step of the reduction then reads its b weights from one place, and a tile's weights follow one another.
    """
    depth, columns = weight.shape
    width = tile.vectors * machine.lanes
    if missing := -columns % width:
        weight = np.pad(weight, ((0, 0), (0, missing)))
    return np.ascontiguousarray(weight.reshape(depth, -1, width).transpose(1, 0, 2))


def gemm_packed(plan: Plan, columns: int, data: Any, weight: Any) -> Any:
    """TE of data [..., M, K] * weight [N/b, K, b] -> [..., M, N]."""
    *lead, rows, depth = (int(d) for d in data.shape)
    blocks, _, width = (int(d) for d in weight.shape)
    data, padded_rows = pad_rows(data, plan.tile.columns)
    k = te.reduce_axis((0, depth), "k")

    def product(*index: Any) -> Any:
        n = index[-1]
        return te.sum(data[(*index[:-1], k)] * weight[tirx.floordiv(n, width), k, tirx.floormod(n, width)], axis=[k])

    full = te.compute((*lead, padded_rows, blocks * width), product, name="gemm", attrs=plan.attrs)
    return crop(full, (*lead, rows, columns))


def gemm_batched(machine: Machine, data: Any, other: Any) -> Any:
    """TE of data [..., M, K] * other [..., K, N] -> [..., M, N], leading dimensions broadcast as numpy does."""
    rows, depth, columns = int(data.shape[-2]), int(data.shape[-1]), int(other.shape[-1])
    shapes = [[int(d) for d in tensor.shape] for tensor in (data, other)]
    plan = gemm_plan(machine, *shapes, packed=False)
    tile = plan.tile
    padded_columns = round_up(columns, tile.vectors * machine.lanes)
    data, padded_rows = pad_rows(data, tile.columns)
    if padded_columns != columns:
        other = pad_last(other, padded_columns, -1)
    lead = np.broadcast_shapes(tuple(map(int, data.shape[:-2])), tuple(map(int, other.shape[:-2])))
    k = te.reduce_axis((0, depth), "k")

    def at(tensor: Any, index: Sequence[Any], *last: Any) -> Any:
        own = [int(d) for d in tensor.shape[:-2]]
        tail = list(index[len(index) - len(own) :]) if own else []
        return tensor[(*(0 if size == 1 else i for size, i in zip(own, tail, strict=True)), *last)]

    def product(*index: Any) -> Any:
        *outer, m, n = index
        return te.sum(at(data, outer, m, k) * at(other, outer, k, n), axis=[k])

    full = te.compute((*lead, padded_rows, padded_columns), product, name="gemm", attrs=plan.attrs)
    return crop(full, (*lead, rows, columns))


def schedule_gemm(schedule: tvm.s_tir.Schedule, block: Any, tile: Sequence[int], machine: Machine) -> None:
    """Tile `block`, keep the tile's sums in registers, and finish what follows it tile by tile."""
    shape = Tile(*tile)
    *lead, m, n, k = schedule.get_loops(block)
    m_outer, m_inner = schedule.split(m, [None, shape.columns])
    n_outer, n_inner, lane = schedule.split(n, [None, shape.vectors, machine.lanes])
    outer, inner = (m_outer, n_outer) if order_of(schedule, block) == "positions" else (n_outer, m_outer)
    schedule.reorder(*lead, outer, inner, k, m_inner, n_inner, lane)
    finish_anchor(schedule, block, [*lead, outer], inner, k, 2, machine)


def pad_rows(data: Any, step: int) -> tuple[Any, int]:
    """`data` [..., M, K] with rows of zeros up to a multiple of `step`, and how many rows there are then."""
    rows = int(data.shape[-2])
    padded = round_up(rows, step)
    return (data if padded == rows else pad_last(data, padded, -2)), padded


def pad_last(data: Any, size: int, axis: int) -> Any:
    """`data` with zeros appended along `axis` (-1 or -2) up to `size`."""
    old = int(data.shape[axis])
    shape = [int(d) for d in data.shape]
    shape[axis] = size

    def value(*index: Any) -> Any:
        return tirx.if_then_else(index[axis] < old, data[index], tirx.const(0, data.dtype))

    return te.compute(tuple(shape), value, name="pad")


def crop(full: Any, shape: tuple[int, ...]) -> Any:
    """The first values of `full` along each axis, as many as `shape` says."""
    if tuple(int(d) for d in full.shape) == shape:
        return full
    return te.compute(shape, lambda *i: full(*i), name="crop")

"""Operators along the last axis: softmax, layer normalisation, sums, means and maxima; and the schedule for them.

A reduction of L values first goes to one vector of partial results, then over its lanes: vector code in a fixed order,
without asking the compiler to reassociate. A row's steps follow one another while the row is in cache.
"""

from __future__ import annotations

import math
from typing import Any

import tvm
from tvm import te, tirx, topi

from compiler.schedules.anchor import TEMPLATE, extent
from compiler.schedules.machine import Machine

NAME = "rows"


def row_sum(machine: Machine, data: Any, name: str = "sum") -> Any:
    """TE of [..., L] -> [...]: the sum along the last axis."""
    return _two_steps(machine, data, te.sum, name)


def row_max(machine: Machine, data: Any, name: str = "max") -> Any:
    """TE of [..., L] -> [...]: the maximum along the last axis."""
    return _two_steps(machine, data, te.max, name)


def row_mean(machine: Machine, data: Any) -> Any:
    total, count = row_sum(machine, data), int(data.shape[-1])
    return te.compute(total.shape, lambda *i: total(*i) * tirx.const(1.0 / count, data.dtype), name="mean")


def softmax(machine: Machine, data: Any) -> Any:
    """TE of softmax along the last axis; the maximum is taken off first, so that nothing overflows."""
    shape = data.shape
    peak = row_max(machine, data)
    shifted = te.compute(shape, lambda *i: data(*i) - peak(*i[:-1]), name="shifted")
    powers = topi.fast_exp(shifted)
    total = row_sum(machine, powers)
    inverse = te.compute(total.shape, lambda *i: tirx.const(1.0, data.dtype) / total(*i), name="inverse")
    return te.compute(shape, lambda *i: powers(*i) * inverse(*i[:-1]), name="softmax")


def layer_norm(machine: Machine, data: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """TE of layer normalisation along the last axis, variance from centred values (two passes, no cancellation)."""
    shape, count = data.shape, int(data.shape[-1])
    mean = row_mean(machine, data)
    square = te.compute(shape, lambda *i: _square(data(*i) - mean(*i[:-1])), name="square")
    total = row_sum(machine, square, "variance")
    scale = te.compute(
        total.shape,
        lambda *i: (
            tirx.const(1.0, data.dtype)
            / tirx.sqrt(total(*i) * tirx.const(1.0 / count, data.dtype) + tirx.const(epsilon, data.dtype))
        ),
        name="scale",
    )
    return te.compute(
        shape, lambda *i: (data(*i) - mean(*i[:-1])) * scale(*i[:-1]) * gamma(i[-1]) + beta(i[-1]), name="layer_norm"
    )


def schedule_rows(schedule: tvm.s_tir.Schedule, machine: Machine) -> None:
    """Compute everything row by row: all blocks move under the loop over rows of the last one.

    Raises tvm.s_tir.ScheduleError where the function is not of that form.
    """
    blocks = list(schedule.get_child_blocks(schedule.get_sblock("root")))
    values = sum(math.prod(extent(schedule, loop) for loop in schedule.get_loops(b)) for b in blocks)
    rank = min(_spatial(schedule, block) for block in blocks)
    *others, last = blocks
    row = schedule.fuse(*list(schedule.get_loops(last))[: max(rank, 1)]) if rank else schedule.add_unit_loop(last)
    for block in reversed(others):
        schedule.compute_at(block, row, preserve_unit_loops=True)
    if extent(schedule, row) > 1 and machine.splits(values * machine.lanes):
        schedule.parallel(row)
    for block in blocks:
        _vectorise(schedule, block, machine)


def _two_steps(machine: Machine, data: Any, combine: Any, name: str) -> Any:
    *lead, length = (int(d) for d in data.shape)
    width = next(d for d in range(min(machine.lanes, length), 0, -1) if length % d == 0)
    step = te.reduce_axis((0, length // width), "step")
    part = te.compute(
        (*lead, width), lambda *i: combine(data(*i[:-1], step * width + i[-1]), axis=[step]), name=f"{name}_part"
    )
    lane = te.reduce_axis((0, width), "lane")
    return te.compute(tuple(lead), lambda *i: combine(part(*i, lane), axis=[lane]), name=name, attrs={TEMPLATE: NAME})


def _square(value: Any) -> Any:
    return value * value


def _spatial(schedule: tvm.s_tir.Schedule, block: Any) -> int:
    """How many of the block's loops are no reductions."""
    kinds = [int(var.iter_type) for var in schedule.get(block).iter_vars]
    return sum(kind == 0 for kind in kinds)


def _vectorise(schedule: tvm.s_tir.Schedule, block: Any, machine: Machine) -> None:
    loops = list(schedule.get_loops(block))[1:]
    if not loops or TEMPLATE in schedule.get(block).annotations:
        return
    reductions = [v for v in schedule.get(block).iter_vars if int(v.iter_type) == 2]
    if reductions:
        *_, lane, step = loops
        schedule.reorder(step, lane)
        schedule.vectorize(lane)  # before decomposing: TVM checks loops by whole reduction blocks
        schedule.vectorize(list(schedule.get_loops(schedule.decompose_reduction(block, step)))[-1])
        return
    last = loops[-1]
    if extent(schedule, last) > machine.lanes:
        _, last = schedule.split(last, [None, machine.lanes])
    schedule.vectorize(last)

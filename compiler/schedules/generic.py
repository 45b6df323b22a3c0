"""What no template covers, block by block: vectorise along the last axis, split the outer ones over threads."""

from __future__ import annotations

import math
from typing import Any

import tvm

from compiler.schedules.anchor import extent
from compiler.schedules.machine import Machine

_SPATIAL, _REDUCTION = 0, 2
_WORK = 8
"""What moving a vector costs, in multiply-adds of one: such loops wait for memory."""


def schedule_block(schedule: tvm.s_tir.Schedule, block: Any, machine: Machine) -> bool:
    """Schedule one block that stands alone at the root of its function; False where only scalar code was possible."""
    loops = list(schedule.get_loops(block))
    kinds = [int(variable.iter_type) for variable in schedule.get(block).iter_vars]
    if not loops or len(loops) != len(kinds):
        return not loops
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    reduction = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCTION]
    if len(spatial) + len(reduction) != len(loops) or not spatial:
        return False
    if reduction:
        return _schedule_reduction(schedule, block, spatial, reduction, machine)
    _schedule_injective(schedule, spatial, machine)
    return True


def inline_injective(schedule: tvm.s_tir.Schedule) -> None:
    """Inline element-wise blocks into what uses them, where TVM allows it."""
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        variables = schedule.get(block).iter_vars
        if schedule.get_consumers(block) and all(int(v.iter_type) == _SPATIAL for v in variables):
            try:
                schedule.compute_inline(block)
            except tvm.s_tir.ScheduleError:
                continue


def _schedule_injective(schedule: tvm.s_tir.Schedule, loops: list[Any], machine: Machine) -> None:
    if extent(schedule, loops[-1]) == 1 and len(loops) > 2:
        # Rows of single values, such as those of a padded image: one loop over all would divide for each value's place,
        # and a vector with a condition would be taken apart. LLVM makes vectors of the rows.
        _parallel(schedule, loops[:-2], machine, each=extent(schedule, loops[-2]))
        return
    *outer, last = loops
    size = extent(schedule, last)
    if size < machine.lanes or size % machine.lanes:
        # One long loop vectorises where a short or odd last axis would not.
        outer, last = [], schedule.fuse(*loops)
        size = extent(schedule, last)
    if size > machine.lanes:
        between, last = schedule.split(last, [None, machine.lanes])
        outer = [*outer, between]
    schedule.vectorize(last)
    _parallel(schedule, outer, machine)


def _schedule_reduction(
    schedule: tvm.s_tir.Schedule, block: Any, spatial: list[Any], reduction: list[Any], machine: Machine
) -> bool:
    *outer, last = spatial
    if not _contiguous(schedule, block):
        _parallel(schedule, spatial, machine)
        return False
    size = extent(schedule, last)
    if size > machine.lanes and size % machine.lanes == 0:
        between, last = schedule.split(last, [None, machine.lanes])
        outer = [*outer, between]
    schedule.reorder(*outer, *reduction, last)
    _parallel(schedule, outer, machine)
    if size % machine.lanes == 0 or size < machine.lanes:
        schedule.vectorize(last)
    init = schedule.decompose_reduction(block, reduction[0])
    if size % machine.lanes == 0 or size < machine.lanes:
        schedule.vectorize(list(schedule.get_loops(init))[-1])
    return True


def _contiguous(schedule: tvm.s_tir.Schedule, block: Any) -> bool:
    """Whether the last index of all that is read is the block's last spatial variable (or free of variables)."""
    body = schedule.get(block)
    last = [v.var for v in body.iter_vars if int(v.iter_type) == _SPATIAL][-1]
    return all(region.region[-1].min.same_as(last) for region in body.reads if len(region.region))


def _parallel(schedule: tvm.s_tir.Schedule, loops: list[Any], machine: Machine, each: int | None = None) -> None:
    """Split `loops` over threads where it pays; a turn of them moves `each` values, or a vector."""
    turns = math.prod(extent(schedule, loop) for loop in loops)
    if not loops or not machine.splits(_WORK * turns * (machine.lanes if each is None else each)):
        return
    schedule.parallel(schedule.fuse(*loops) if len(loops) > 1 else loops[0])

"""What the register-tiled templates share: the tile's consumers, its initialisation, unrolling, parallel loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm

from compiler.schedules.machine import Machine

TEMPLATE = "tierplan.template"
"""Annotation of the block that a template schedules; its value names the template."""

FUSE_WHAT_FOLLOWS = 4
"""FuseOps' pattern kOutEWiseFusable: element-wise operators join the function that computes their input."""


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """A tensor intrinsic of TVM, by its name, and how many loops it takes the place of."""

    name: str
    loops: int


def round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def extent(schedule: tvm.s_tir.Schedule, loop: Any) -> int:
    return int(schedule.get(loop).extent)


def finish_anchor(
    schedule: tvm.s_tir.Schedule,
    block: Any,
    outer: Sequence[Any],
    tile_loop: Any,
    reduction: Any,
    depth: int,
    machine: Machine,
    intrinsic: Intrinsic | None = None,
) -> None:
    """Complete a block whose loops are ordered [outer..., tile_loop, reduction..., tile (`depth` loops), lane].

    With `intrinsic` its loops, such as [lane, group], stand in the place of the lane.

    Consumers are inlined into one another and then computed tile by tile, so that sums go from registers through bias
    and activation to memory once. Sums are set to zero before the reduction; the tile is unrolled, lanes vectorised.
    """
    operations = math.prod(extent(schedule, loop) for loop in schedule.get_loops(block))
    _inline_epilogue(schedule, block)
    _inline_beside(schedule, block)
    consumers = _consumers(schedule, block)
    if not consumers:
        schedule.cache_write(block, 0, "global")
        consumers = _consumers(schedule, block)
    for consumer in consumers:
        schedule.reverse_compute_at(consumer, tile_loop, preserve_unit_loops=True)
        _unroll_tile(schedule, consumer, tile_loop, machine)
    if intrinsic is None:
        _unroll_inner(schedule, block, depth)
    if machine.splits(operations):  # before the reduction is decomposed: TVM checks loops by whole reduction blocks
        schedule.parallel(schedule.fuse(*outer))
    init = schedule.decompose_reduction(block, reduction)
    _unroll_inner(schedule, init, depth)
    if intrinsic is not None:
        loops = list(schedule.get_loops(block))[-intrinsic.loops - depth :]
        for loop in loops[:depth]:
            schedule.unroll(loop)
        schedule.tensorize(loops[depth], intrinsic.name)


def _inline_epilogue(schedule: tvm.s_tir.Schedule, block: Any) -> None:
    """Inline every block between the anchor and the function's outputs."""
    while True:
        for consumer in _consumers(schedule, block):
            if schedule.get_consumers(consumer):
                try:
                    schedule.compute_inline(consumer)
                except tvm.s_tir.ScheduleError:
                    continue
                break
        else:
            return


def _inline_beside(schedule: tvm.s_tir.Schedule, block: Any) -> None:
    """Inline what the epilogue reads that does not come from the anchor, such as the other summand of a sum."""
    own = _names(schedule, [block, *_consumers(schedule, block), *_producers(schedule, block)])
    for other in schedule.get_child_blocks(schedule.get_sblock("root")):
        if schedule.get(other).name_hint not in own:
            schedule.compute_inline(other)


def _producers(schedule: tvm.s_tir.Schedule, block: Any) -> list[Any]:
    """All that `block` depends on, directly or not."""
    direct = list(schedule.get_producers(block))
    return [*direct, *(each for producer in direct for each in _producers(schedule, producer))]


def _names(schedule: tvm.s_tir.Schedule, blocks: Sequence[Any]) -> set[str]:
    return {str(schedule.get(block).name_hint) for block in blocks}


def _consumers(schedule: tvm.s_tir.Schedule, block: Any) -> list[Any]:
    """All that depends on `block`, directly or not, in order of execution."""
    found: list[Any] = []
    for consumer in schedule.get_consumers(block):
        for each in (consumer, *_consumers(schedule, consumer)):
            if all(schedule.get(each).name_hint != schedule.get(old).name_hint for old in found):
                found.append(each)
    return found


def _loops_below(schedule: tvm.s_tir.Schedule, block: Any, loop: Any) -> list[Any]:
    loops = list(schedule.get_loops(block))
    names = [schedule.get(each).loop_var for each in loops]
    marker = schedule.get(loop).loop_var
    at = next(i for i, name in enumerate(names) if name.same_as(marker))
    return loops[at + 1 :]


def _unroll_tile(schedule: tvm.s_tir.Schedule, block: Any, tile_loop: Any, machine: Machine) -> None:
    """Unroll the loops of an epilogue block and vectorise its last one."""
    *inner, last = _loops_below(schedule, block, tile_loop)
    if extent(schedule, last) > machine.lanes:
        middle, last = schedule.split(last, [None, machine.lanes])
        inner.append(middle)
    for loop in inner:
        schedule.unroll(loop)
    schedule.vectorize(last)


def _unroll_inner(schedule: tvm.s_tir.Schedule, block: Any, depth: int) -> None:
    """Unroll the `depth` loops of the tile, which stand innermost, and vectorise the lanes below them."""
    *loops, lane = list(schedule.get_loops(block))[-1 - depth :]
    for loop in loops:
        schedule.unroll(loop)
    schedule.vectorize(lane)

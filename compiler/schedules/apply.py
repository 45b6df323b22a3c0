"""One schedule for each function of a lowered module: the template that its block names, else the generic one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx

from compiler.schedules import conv2d, gemm, generic, integer_conv2d, integer_gemm, rows, winograd
from compiler.schedules.anchor import TEMPLATE
from compiler.schedules.machine import Machine
from compiler.schedules.workload import SPACE, WORKLOAD, Space, order_of
from specs.choice import Choice

_TILED = {
    conv2d.NAME: conv2d.schedule_conv2d,
    gemm.NAME: gemm.schedule_gemm,
    integer_conv2d.NAME: integer_conv2d.schedule_integer_conv2d,
    integer_gemm.NAME: integer_gemm.schedule_integer_gemm,
    winograd.INPUT: winograd.schedule_input,
    winograd.PRODUCT: winograd.schedule_product,
    winograd.OUTPUT: winograd.schedule_output,
}
_SCHEDULED = "tirx.is_scheduled"


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a function computes: a `workload`, wholly or in part. The part that has a choice says what was chosen, and
    in which space; the others have None for both."""

    workload: str
    choice: Choice | None
    space: Space | None


@dataclass(frozen=True, slots=True)
class Applied:
    """The scheduled module, the functions with a reduction for which no template of ours was found, and by function
    what it computes, where a template has choices."""

    mod: tvm.IRModule
    fallback: tuple[str, ...]
    anchors: Mapping[str, Anchor]


def apply_schedules(mod: tvm.IRModule, machine: Machine) -> Applied:
    """Schedule every TIR function of `mod` that is not scheduled yet."""
    updated, fallback, anchors = {}, [], {}
    for gvar, func in mod.functions_items():
        if isinstance(func, tirx.PrimFunc) and not (func.attrs and func.attrs.get(_SCHEDULED)):
            if (anchor := _anchor(func)) is not None:
                anchors[str(gvar.name_hint)] = anchor
            scheduled, covered = _schedule(func, machine)
            updated[gvar] = scheduled.with_attr(_SCHEDULED, 1)
            if not covered:
                fallback.append(str(gvar.name_hint))
    for gvar, func in updated.items():
        mod.update_func(gvar, func)
    return Applied(mod, tuple(sorted(fallback)), anchors)


def _anchor(func: Any) -> Anchor | None:
    """What `func`, not scheduled yet, says that it computes."""
    schedule = tvm.s_tir.Schedule(func)
    for block in _blocks(schedule):
        said = schedule.get(block).annotations
        if WORKLOAD not in said:
            continue
        if SPACE not in said:
            return Anchor(str(said[WORKLOAD]), None, None)
        vectors, rows_, columns, alternative = (int(n) for n in said[SPACE])
        tile = [int(n) for n in said["tile"]]
        choice = Choice(
            tile=(tile[0], tile[1], tile[2]),
            order=order_of(schedule, block),
            winograd=str(said[TEMPLATE]) == winograd.PRODUCT,
        )
        return Anchor(str(said[WORKLOAD]), choice, Space(vectors, rows_, columns, bool(alternative)))
    return None


def _schedule(func: Any, machine: Machine) -> tuple[Any, bool]:
    """`func` scheduled, and whether all of it is vector code.

    A function that a template cannot take (an epilogue of another shape, say) gets the generic schedule, or none; it
    then counts as not covered, and the artefact names it.
    """
    for attempt in (_by_template, _by_block):
        try:
            done = attempt(tvm.s_tir.Schedule(func), machine)
        except (tvm.s_tir.ScheduleError, ValueError):
            continue
        if done is not None:
            return done
    return func, False


def _by_template(schedule: tvm.s_tir.Schedule, machine: Machine) -> tuple[Any, bool] | None:
    """With the template that one of its blocks names; None where none does."""
    named = [(str(schedule.get(b).annotations[TEMPLATE]), b) for b in _blocks(schedule) if _is_named(schedule, b)]
    names = dict(named)
    for name, template in _TILED.items():
        if name in names:
            tile = [int(size) for size in schedule.get(names[name]).annotations["tile"]]
            template(schedule, names[name], tile, machine)
            covered = _schedule_rest(schedule, machine)
            return schedule.mod["main"], covered
    if rows.NAME in names:
        rows.schedule_rows(schedule, machine)
        return schedule.mod["main"], True
    return None


def _by_block(schedule: tvm.s_tir.Schedule, machine: Machine) -> tuple[Any, bool]:
    templated = any(_is_named(schedule, block) for block in _blocks(schedule))
    generic.inline_injective(schedule)
    covered = _schedule_rest(schedule, machine)
    return schedule.mod["main"], covered and not templated


def _is_named(schedule: tvm.s_tir.Schedule, block: Any) -> bool:
    return TEMPLATE in schedule.get(block).annotations


def _schedule_rest(schedule: tvm.s_tir.Schedule, machine: Machine) -> bool:
    """The generic schedule for blocks that still have their own loops (padding before a convolution, for one).

    False where one of them is left as scalar code.
    """
    covered = True
    for block in _blocks(schedule):
        if all(int(schedule.get(loop).kind) == 0 for loop in schedule.get_loops(block)) and not _nested(
            schedule, block
        ):
            covered &= generic.schedule_block(schedule, block, machine)
    return covered


def _blocks(schedule: tvm.s_tir.Schedule) -> list[Any]:
    return list(schedule.get_child_blocks(schedule.get_sblock("root")))


def _nested(schedule: tvm.s_tir.Schedule, block: Any) -> bool:
    loops = list(schedule.get_loops(block))
    return bool(loops) and len(list(schedule.get_child_blocks(loops[0]))) > 1

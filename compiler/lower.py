"""From a Relax module to code: the passes, in order, and the shared library that they end in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import tvm
from tvm import relax

from compiler.entries import merge_entries
from compiler.layout import block_channels
from compiler.legalize import legalizations, winograd_convolutions
from compiler.schedules.apply import Anchor, apply_schedules
from compiler.schedules.machine import Machine, machine_of
from specs.choice import Choice
from specs.errors import TierplanError


@dataclass(frozen=True, slots=True)
class Winograd:
    """Which convolutions of `of`, counted in the model's order, are computed by Winograd's algorithm."""

    used: tuple[int, ...]
    of: int


@dataclass(frozen=True, slots=True)
class Lowered:
    """An executable of TVM's virtual machine, the functions that no template of ours covered, and what those compute
    whose template has choices."""

    executable: Any
    fallback: tuple[str, ...]
    winograd: Winograd = Winograd((), 0)
    anchors: Mapping[str, Anchor] = field(default_factory=dict)


def lower(
    mod: tvm.IRModule,
    target: Mapping[str, Any],
    threads: int,
    *,
    winograd: bool = True,
    tuned: Mapping[str, Choice] | None = None,
) -> Lowered:
    """Compile `mod["main"]` for a TVM target; with one thread there are no parallel loops and no thread pool.

    `winograd` allows Winograd's algorithm where it pays. `tuned` are choices by workload instead of analytic ones.
    """
    machine = replace(machine_of(target, threads), winograd=winograd, tuned=dict(tuned or {}))
    return lower_blocked(to_blocks(mod, target, machine), target, machine)


def to_blocks(mod: tvm.IRModule, target: Mapping[str, Any], machine: Machine) -> tvm.IRModule:
    """The passes that come before a template chooses anything: simplified, in blocks of channels, constants folded."""
    tvm_target = tvm.target.Target(dict(target))
    with tvm_target, tvm.transform.PassContext(opt_level=3):
        mod = block_channels(graph_passes(mod), machine)
        return tvm.transform.Sequential([relax.transform.FoldConstant(), relax.transform.DeadCodeElimination()])(mod)


def lower_blocked(mod: tvm.IRModule, target: Mapping[str, Any], machine: Machine) -> Lowered:
    """Compile what `to_blocks` gave; `mod` stays as it is. Raises InputError for a tuned choice that does not fit."""
    scheduled = _schedule(mod, target, machine)
    return replace(scheduled, executable=_compile(scheduled.executable, target))


def lower_entries(entries: Mapping[str, tvm.IRModule], target: Mapping[str, Any], threads: int) -> Lowered:
    """Compile the `main` of each module as a function of that name, all into one executable.

    A constant that several have alike (packed weights) is in it once: the virtual machine's builder sees to that.
    """
    machine = machine_of(target, threads)
    found = {name: _schedule(to_blocks(mod, target, machine), target, machine) for name, mod in entries.items()}
    executable = _compile(merge_entries({name: each.executable for name, each in found.items()}), target)
    fallback = sorted({operator for each in found.values() for operator in each.fallback})
    return Lowered(executable, tuple(fallback), next(iter(found.values())).winograd)


def _compile(mod: tvm.IRModule, target: Mapping[str, Any]) -> Any:
    tvm_target = tvm.target.Target(dict(target))
    with tvm_target, tvm.transform.PassContext(opt_level=3):
        return tvm.compile(mod, target=tvm_target)


def _schedule(mod: tvm.IRModule, target: Mapping[str, Any], machine: Machine) -> Lowered:
    """All passes from blocks of channels to schedules: `executable` is still a module."""
    tvm_target = tvm.target.Target(dict(target))
    with tvm_target, tvm.transform.PassContext(opt_level=3):
        used = Winograd(*winograd_convolutions(mod, machine))
        mod = tvm.transform.Sequential(
            [
                relax.transform.AnnotateTIROpPattern(),
                relax.transform.FoldConstant(),
                relax.transform.DeadCodeElimination(),
                relax.transform.FuseOps(),
                relax.transform.FuseTIR(),
            ]
        )(_legalized(mod, machine))
        applied = apply_schedules(mod, machine)
    return Lowered(applied.mod, applied.fallback, used, applied.anchors)


def _legalized(mod: tvm.IRModule, machine: Machine) -> tvm.IRModule:
    refused: list[TierplanError] = []
    try:
        return relax.transform.LegalizeOps(legalizations(machine, refused))(mod)
    except Exception as error:
        if refused:
            raise refused[0] from error
        raise


def graph_passes(mod: tvm.IRModule) -> tvm.IRModule:
    """Simplifications that hold on any CPU: constants folded, batch normalisation into weights, inference forms."""
    return tvm.transform.Sequential(
        [
            relax.transform.FoldConstant(),
            relax.transform.FoldBatchnormToConv2D(),
            relax.transform.DecomposeOpsForInference(),
            relax.transform.CanonicalizeBindings(),
            relax.transform.FoldConstant(),
            relax.transform.DeadCodeElimination(),
        ]
    )(mod)

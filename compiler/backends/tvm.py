"""TVM: our schedules for CPUs, TVM's own for GPUs, linked for the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from compiler.backends import Made, Request
from compiler.buckets import Bucketed
from specs.errors import InputError, Issue, Place, TierplanError

if TYPE_CHECKING:
    from compiler.lower import Lowered, Winograd
    from compiler.targets import Target

PACKAGES = ("apache-tvm", "apache-tvm-ffi", "onnx")
CODE = (
    "model.py",
    "batching.py",
    "constants.py",
    "cut.py",
    "buckets.py",
    "importer.py",
    "batch_norm.py",
    "forest.py",
    "bitvectors.py",
    "linear.py",
    "integers.py",
    "integer_import.py",
    "layout.py",
    "legalize.py",
    "lower.py",
    "entries.py",
    "lower_device.py",
    "link.py",
    "schedules",
)


def available() -> bool:
    return True


def target() -> dict[str, Any]:
    from compiler.host import host

    return host().target


def build(model: onnx.ModelProto, job: Request, folder: Path) -> Made:
    """A shared library, or an object where the target has no linker (see `compiler.targets`).

    Raises InputError for what cannot be imported or compiled, EnvironmentFailed for a missing tool, with its package.
    """
    row = _target(job)  # before TVM is imported, which for CUDA must find a driver
    from compiler.importer import import_model
    from compiler.lower import lower
    from compiler.schedules.machine import machine_of

    if row.device:
        from compiler.lower_device import lower_device

        return _linked(lambda: lower_device(import_model(model, job.model, 0), row), row, model, job, folder)
    widest = machine_of(job.target, job.threads).widest
    imported = import_model(model, job.model, widest)
    return _linked(lambda: lower(imported, job.target, job.threads, tuned=job.tuned), row, model, job, folder)


def build_buckets(bucketed: Bucketed, job: Request, folder: Path) -> Made:
    """One library with a function for each bucket, in which equal constants are once.

    Raises InputError and EnvironmentFailed as `build` does, and InputError for GPUs, which have no such libraries yet.
    """
    from compiler.entries import entry_name
    from compiler.importer import import_model
    from compiler.lower import lower_entries
    from compiler.schedules.machine import machine_of

    row = _target(job)
    if row.device:
        raise InputError(Issue(f"buckets cannot be compiled for {row.name}", Place(job.model), "fix the dimension"))
    widest = machine_of(job.target, job.threads).widest
    entries = {entry_name(n): import_model(model, job.model, widest) for n, model in bucketed.models.items()}
    first = next(iter(bucketed.models.values()))
    return _linked(lambda: lower_entries(entries, job.target, job.threads), row, first, job, folder)


def _target(job: Request) -> Target:
    """The row of the job's target, whose tools are there. Raises EnvironmentFailed where they are not."""
    from compiler.link import require
    from compiler.targets import target_of

    row = target_of(job.target)
    require(row)
    if row.device:
        from compiler.lower_device import stand_in_driver

        stand_in_driver(row)
    return row


def _linked(lower: Callable[[], Lowered], row: Target, model: onnx.ModelProto, job: Request, folder: Path) -> Made:
    """What `lower` gives, linked. Raises InputError for a model that TVM cannot compile."""
    from compiler.link import link

    try:
        lowered = lower()
    except TierplanError:
        raise
    except Exception as error:  # TVM raises many kinds; each is about this model
        first = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        message = f"TVM cannot compile the model for {row.name}: {first}"
        raise InputError(Issue(message, Place(job.model), "use backend onnxruntime")) from error
    library = link(lowered.executable, row, folder)
    return Made((library,), lowered.fallback, _names(model, lowered.winograd))


def _names(model: onnx.ModelProto, found: Winograd) -> tuple[str, ...]:
    """Names of the nodes (of their outputs, where they have none) that are computed by Winograd's algorithm.

    Where convolutions came or went while the model was simplified, they are counted instead.
    """
    nodes = [node for node in model.graph.node if node.op_type == "Conv"]
    alike = len(nodes) == found.of
    return tuple((nodes[i].name or nodes[i].output[0]) if alike else f"convolution {i + 1}" for i in found.used)

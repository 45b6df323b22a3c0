"""TVM: our schedules for CPUs, TVM's own for GPUs, linked for the target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from compiler.backends import Made, Request
from specs.errors import InputError, Issue, Place, TierplanError

if TYPE_CHECKING:
    from compiler.lower import Winograd

PACKAGES = ("apache-tvm", "apache-tvm-ffi", "onnx")
CODE = (
    "model.py",
    "batching.py",
    "constants.py",
    "cut.py",
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
    from compiler.link import link, require
    from compiler.targets import target_of

    row = target_of(job.target)
    require(row)
    if row.device:
        from compiler.lower_device import lower_device, stand_in_driver

        stand_in_driver(row)
    from compiler.importer import import_model
    from compiler.lower import lower
    from compiler.schedules.machine import machine_of

    widest = 0 if row.device else machine_of(job.target, job.threads).widest
    imported = import_model(model, job.model, widest)
    try:
        lowered = lower_device(imported, row) if row.device else lower(imported, job.target, job.threads)
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

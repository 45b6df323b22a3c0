"""TVM: our schedules for CPUs, TVM's own for GPUs, linked for the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from compiler.backends import Made, Request
from specs.errors import InputError, Issue, Place, TierplanError

PACKAGES = ("apache-tvm", "apache-tvm-ffi", "onnx")
CODE = (
    "model.py",
    "cut.py",
    "importer.py",
    "forest.py",
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

    imported = import_model(model, job.model)
    try:
        lowered = lower_device(imported, row) if row.device else lower(imported, job.target, job.threads)
    except TierplanError:
        raise
    except Exception as error:  # TVM raises many kinds; each is about this model
        first = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        message = f"TVM cannot compile the model for {row.name}: {first}"
        raise InputError(Issue(message, Place(job.model), "use backend onnxruntime")) from error
    return Made((link(lowered.executable, row, folder),), lowered.fallback)

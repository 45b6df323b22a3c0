"""A class of hardware whose devices a tracker lends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from compiler.job import Job
from compiler.targets import TARGETS, find_target
from specs.errors import InputError, Issue

BACKEND: Final = "tvm"
"""The only one that TVM's RPC runs."""
CPUS: Final = tuple(name for name, row in TARGETS.items() if not row.device and row.linker is not None)
"""Targets whose artefacts a device can load: libraries for CPUs."""


@dataclass(frozen=True, slots=True)
class RemoteClass:
    """Devices with so many `cores`, lent under `key`; `target` names what models are compiled for."""

    name: str
    cores: int
    key: str
    target: str

    @property
    def described(self) -> dict[str, Any]:
        """What TVM is told."""
        return TARGETS[self.target].tvm


def for_device(job: Job, place: RemoteClass | None) -> Job:
    """`job` for the devices of a class; as it is where there is none, and for backends that RPC does not run.

    Choices that were timed on this machine say nothing of another one, and are left out.
    """
    if place is None or job.backend != BACKEND:
        return job
    return job.model_copy(update={"target": place.described, "tuned": {}})


def remote_class(name: str, cores: int, key: str, target: str | None) -> RemoteClass:
    """Raises InputError for a target that is missing, unknown, or no CPU's."""
    if target is None:
        raise InputError(Issue(f"{name}: a device by RPC needs a target", None, f"one of {', '.join(CPUS)}"))
    find_target(target)
    if target not in CPUS:
        raise InputError(Issue(f"target {target!r} is not measured by RPC", None, f"one of {', '.join(CPUS)}"))
    return RemoteClass(name, cores, key, target)

"""What turns a model into an artefact: one file a backend, with the names of `Backend` in it.

`runtime.executors` has the other half: opening and running.

To add one, write the file, its executor, and its name in `specs.artefact.ModelBackend`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import onnx

from compiler.buckets import Bucketed
from specs.artefact import ModelBackend
from specs.choice import Choice


@dataclass(frozen=True, slots=True)
class Made:
    """The files that a backend wrote, the operators for which it had slow generic code only, and the convolutions that
    Winograd's algorithm computes."""

    files: tuple[Path, ...]
    fallback: tuple[str, ...] = ()
    winograd: tuple[str, ...] = ()


class Request(Protocol):
    """What a backend must know of a job."""

    @property
    def model(self) -> str: ...
    @property
    def target(self) -> dict[str, Any]: ...
    @property
    def threads(self) -> int: ...
    @property
    def tuned(self) -> dict[str, Choice]: ...


class Backend(Protocol):
    """`PACKAGES` are the distributions whose versions decide an artefact's bytes, `CODE` our own files that do."""

    PACKAGES: tuple[str, ...]
    CODE: tuple[str, ...]

    def available(self) -> bool:
        """Whether it can build and run on this machine."""
        ...

    def target(self) -> dict[str, Any]:
        """What it builds for where nothing else is said."""
        ...

    def build(self, model: onnx.ModelProto, job: Request, folder: Path) -> Made:
        """Write the artefact's files to `folder`. Raises InputError for a model that it cannot take."""
        ...

    def build_buckets(self, bucketed: Bucketed, job: Request, folder: Path) -> Made:
        """As `build`, for a model with a dimension of several sizes; weights are in the files once, where they can."""
        ...


BACKENDS: tuple[ModelBackend, ...] = ("tvm", "onnxruntime", "openvino")


def backend(name: ModelBackend) -> Backend:
    """The backend called `name`."""
    return cast(Backend, importlib.import_module(f"compiler.backends.{name}"))


def installed() -> tuple[ModelBackend, ...]:
    """The backends that this machine can build and run; what is no part of the installation is not tried."""
    return tuple(name for name in BACKENDS if backend(name).available())


def describe(target: Mapping[str, Any]) -> str:
    """A target in few words."""
    return str(target.get("arch") or target.get("mcpu") or target.get("mtriple") or target["kind"])

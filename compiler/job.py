"""What is to be built: a model's segment, for a backend, a target and a number of threads; and its content address."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from specs.artefact import WHOLE, Segment
from specs.base import Spec
from specs.digest import digest_bytes, digest_value

Backend = Literal["tvm", "onnxruntime"]
BACKENDS: tuple[Backend, ...] = ("tvm", "onnxruntime")

_PACKAGES = {"tvm": ("apache-tvm", "apache-tvm-ffi", "onnx"), "onnxruntime": ("onnxruntime", "onnx")}
_CODE = ("model.py", "cut.py", "importer.py", "forest.py", "layout.py", "legalize.py", "lower.py", "schedules")


class Job(Spec):
    """One artefact to build. `source` is the digest of the model's bytes; `dims` are sizes of its named dimensions."""

    model: str
    source: str
    backend: Backend
    target: dict[str, Any]
    threads: int = 1
    segment: Segment = WHOLE
    dims: dict[str, int] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """The content address: equal keys mean equal artefacts. The model's path is no part of it."""
        return digest_value(self.model_dump(mode="json", exclude={"model"}) | {"versions": versions(self.backend)})


def job(
    model: Path,
    backend: Backend,
    threads: int = 1,
    *,
    target: dict[str, Any] | None = None,
    segment: Segment = WHOLE,
    dims: dict[str, int] | None = None,
) -> Job:
    """The job of building `model`; without a target, for this machine. Raises InputError where it cannot be read."""
    from compiler.host import host
    from compiler.model import source_digest

    chosen = {"kind": "onnxruntime"} if backend == "onnxruntime" else target or host().target
    return Job(
        model=str(model),
        source=source_digest(model),
        backend=backend,
        target=chosen,
        threads=threads,
        segment=segment,
        dims=dims or {},
    )


@cache
def versions(backend: Backend) -> dict[str, str]:
    """Versions of the tools that make an artefact, our own code by its digest."""
    found = {name: _version(name) for name in _PACKAGES[backend]}
    return found | {"compiler": _own_digest(_CODE if backend == "tvm" else _CODE[:2])}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _own_digest(names: tuple[str, ...]) -> str:
    here = Path(__file__).parent
    files = sorted(f for n in names for f in ((here / n).glob("*.py") if (here / n).is_dir() else [here / n]))
    return digest_bytes(b"".join(f.read_bytes() for f in files))[:16]

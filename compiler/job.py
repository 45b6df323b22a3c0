"""What is to be built: a model's segment, for a backend, a target and a number of threads; and its content address."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from compiler.backends import BACKENDS, backend
from compiler.given import Given
from specs.artefact import WHOLE, Buckets, ModelBackend, Segment
from specs.base import Spec
from specs.choice import Choice
from specs.digest import digest_bytes, digest_value

__all__ = ["BACKENDS", "Job", "job", "versions"]


class Job(Spec):
    """One artefact to build. `source` is the digest of what the user handed in; `dims` are sizes of named dimensions,
    `buckets` those of one that has several. `tuned` are choices of schedules, by workload, instead of analytic ones.

    `model` is what errors call it. What was converted or quantized lies in `file`, whose digest is `content`; both are
    empty where the ONNX file itself was handed in.
    """

    model: str
    source: str
    file: str = ""
    content: str = ""
    backend: ModelBackend
    target: dict[str, Any]
    threads: int = 1
    batch: int = Field(ge=1, le=64, default=1)
    segment: Segment = WHOLE
    dims: dict[str, int] = Field(default_factory=dict)
    buckets: Buckets | None = None
    tuned: dict[str, Choice] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """The content address: equal keys mean equal artefacts. The model's path is no part of it."""
        unsaid = {"model", "file"}
        unsaid |= {name for name, same in _UNSAID if getattr(self, name) == same}
        return digest_value(self.model_dump(mode="json", exclude=unsaid) | {"versions": versions(self.backend)})


_UNSAID: Final[tuple[tuple[str, object], ...]] = (("content", ""), ("batch", 1), ("buckets", None), ("tuned", {}))
"""What is no part of a key where it has this value."""


def job(
    model: Path | Given,
    name: ModelBackend,
    threads: int = 1,
    *,
    batch: int = 1,
    target: dict[str, Any] | None = None,
    segment: Segment = WHOLE,
    dims: dict[str, int] | None = None,
    buckets: Buckets | None = None,
) -> Job:
    """The job of building `model`; without a target, for this machine. Raises InputError where it cannot be read."""
    from compiler.model import source_digest

    given = model if isinstance(model, Given) else Given(str(model), model, source_digest(model))
    return Job(
        model=given.name if given.content else str(given.file),
        file=str(given.file) if given.content else "",
        source=given.source,
        content=given.content,
        backend=name,
        target=target or backend(name).target(),
        threads=threads,
        batch=batch,
        segment=segment,
        dims=dims or {},
        buckets=buckets,
    )


@cache
def versions(name: ModelBackend) -> dict[str, str]:
    """Versions of the tools that make an artefact, our own code by its digest."""
    made_by = backend(name)
    found = {package: _version(package) for package in made_by.PACKAGES}
    return found | {"compiler": _own_digest(made_by.CODE)}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _own_digest(names: tuple[str, ...]) -> str:
    here = Path(__file__).parent
    files = sorted(f for n in names for f in ((here / n).glob("*.py") if (here / n).is_dir() else [here / n]))
    return digest_bytes(b"".join(f.read_bytes() for f in files))[:16]

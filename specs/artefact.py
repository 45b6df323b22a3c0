"""What the compiler hands to the runtime: signatures of models, segments, artefacts, and how one is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import Field

from specs.base import Spec, TypeText
from specs.choice import Choice

ARTEFACT_FILE = "artefact.json"

ModelBackend = Literal["tvm", "onnxruntime", "openvino"]
"""What can run a model."""


class Segment(Spec):
    """The part of a model after the tensors `begin` up to the tensors `end`; empty means the model's own ends."""

    begin: tuple[str, ...] = ()
    end: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return not self.begin and not self.end

    def __str__(self) -> str:
        return f"{'+'.join(self.begin)}..{'+'.join(self.end)}"


WHOLE = Segment()


class Buckets(Spec):
    """The dimension called `name` of a model, compiled for these `sizes`; `pad` fills up inputs, 0 those not named."""

    name: str
    sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    pad: dict[str, float] = Field(default_factory=dict)

    def holding(self, length: int) -> int | None:
        """The smallest size that holds `length`, None where none does."""
        return next((size for size in self.sizes if size >= length), None)


class ModelSignature(Spec):
    """Typed inputs and outputs of a model, by name, without the batch dimension."""

    inputs: dict[str, TypeText]
    outputs: dict[str, TypeText]


class Artefact(Spec):
    """A model (or a segment of one) ready to run with a backend; stands in `artefact.json` beside its files.

    `key` is the content address: the digest of all that decides the artefact's bytes. `fallback` names the operators
    that no schedule of ours covered, so that slow generic code was taken; `winograd` the convolutions that Winograd's
    algorithm computes, faster and with a larger float32 error. It takes exactly `batch` items at once. With `buckets`,
    that dimension has a name in `inputs` and `outputs`, and any length up to the largest size.
    `tuned` are the choices of schedules that were found by measuring, by workload; None where all are analytic.
    """

    schema_: Literal["tierplan.artefact/v1"] = Field(alias="schema", default="tierplan.artefact/v1")
    key: str
    backend: ModelBackend
    target: dict[str, Any]
    threads: int
    batch: int = Field(ge=1, le=64, default=1)
    source: str
    segment: Segment = WHOLE
    buckets: Buckets | None = None
    inputs: dict[str, TypeText]
    outputs: dict[str, TypeText]
    versions: dict[str, str]
    files: dict[str, str]
    fallback: tuple[str, ...] = ()
    winograd: tuple[str, ...] = ()
    tuned: dict[str, Choice] | None = None

    def of_bucket(self, size: int) -> Artefact:
        """As if it had been compiled for this size of its dimension alone."""
        name = self.buckets.name if self.buckets else ""
        ends = {end: {key: kind.sized(name, size) for key, kind in getattr(self, end).items()} for end in _ENDS}
        return self.model_copy(update={"buckets": None, **ends})


_ENDS: Final = ("inputs", "outputs")


class Executor(Protocol):
    """A loaded artefact. One executor serves one thread at a time."""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays by name, with the batch dimension, in and out."""
        ...


OpenExecutor = Callable[[Path, int], Executor]
"""(artefact folder, threads) -> Executor. Raises InputError where a file does not match its digest."""


def entry_name(size: int) -> str:
    """The function of a library that computes a bucket of this size."""
    return f"bucket_{size}"

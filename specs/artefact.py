"""What the compiler hands to the runtime: signatures of models, segments, artefacts, and how one is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from specs.base import Spec, TypeText

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


class ModelSignature(Spec):
    """Typed inputs and outputs of a model, by name, without the batch dimension."""

    inputs: dict[str, TypeText]
    outputs: dict[str, TypeText]


class Artefact(Spec):
    """A model (or a segment of one) ready to run with a backend; stands in `artefact.json` beside its files.

    `key` is the content address: the digest of all that decides the artefact's bytes. `fallback` names the operators
    that no schedule of ours covered, so that slow generic code was taken; `winograd` the convolutions that Winograd's
    algorithm computes, faster and with a larger float32 error. It takes exactly `batch` items at once.
    """

    schema_: Literal["tierplan.artefact/v1"] = Field(alias="schema", default="tierplan.artefact/v1")
    key: str
    backend: ModelBackend
    target: dict[str, Any]
    threads: int
    batch: int = Field(ge=1, le=64, default=1)
    source: str
    segment: Segment = WHOLE
    inputs: dict[str, TypeText]
    outputs: dict[str, TypeText]
    versions: dict[str, str]
    files: dict[str, str]
    fallback: tuple[str, ...] = ()
    winograd: tuple[str, ...] = ()


class Executor(Protocol):
    """A loaded artefact. One executor serves one thread at a time."""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays by name, with the batch dimension, in and out."""
        ...


OpenExecutor = Callable[[Path, int], Executor]
"""(artefact folder, threads) -> Executor. Raises InputError where a file does not match its digest."""

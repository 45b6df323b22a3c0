"""Work: what a stage does with its inputs, whether a model's executor or a Python function does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runtime.functions import Function, call_function, load_function
from runtime.values import Value, conform, filled, with_batch, without_batch
from specs.application import Application
from specs.artefact import Executor, OpenExecutor
from specs.artefact_folder import read_artefact
from specs.errors import InputError, Issue
from specs.tensors import TensorType


class Work(Protocol):
    """Serves one thread at a time."""

    @property
    def outputs(self) -> Mapping[str, TensorType]:
        """Types of the outputs by name."""
        ...

    def run(self, inputs: Mapping[str, Value | None]) -> dict[str, Value]:
        """Outputs by name. An input that is None was skipped: what its ``if_skipped`` says stands for it.

        Raises InputError for values of another type than declared, and whatever the user's function raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelWork:
    """A model or a segment of one. `fills` stand for skipped inputs."""

    name: str
    executor: Executor
    inputs: Mapping[str, TensorType]
    outputs: Mapping[str, TensorType]
    fills: Mapping[str, Value]

    def run(self, inputs: Mapping[str, Value | None]) -> dict[str, Value]:
        arrays = {}
        for key, kind in self.inputs.items():
            value = inputs.get(key)
            given = self.fills[key] if value is None else value
            arrays[key] = with_batch(conform(given, kind, f"{self.name}: {key}"))
        found = self.executor.run(arrays)
        return {key: without_batch(found[key], kind, f"{self.name}: {key}") for key, kind in self.outputs.items()}


@dataclass(frozen=True, slots=True)
class FunctionWork:
    """A Python function of the user's project."""

    name: str
    function: Function
    outputs: Mapping[str, TensorType]
    fills: Mapping[str, Value]

    def run(self, inputs: Mapping[str, Value | None]) -> dict[str, Value]:
        given = {key: self.fills[key] if value is None else value for key, value in inputs.items()}
        return call_function(self.function, self.name, given, self.outputs)


def open_model(app: Application, component: str, folder: Path, open_executor: OpenExecutor, threads: int) -> ModelWork:
    """The model (segment) in the artefact `folder`, as `component` uses it.

    Raises InputError for an artefact that does not match its digests, or an ``if_skipped`` without a fixed shape.
    """
    artefact = read_artefact(folder)
    refs = app.components[component].inputs
    missing = set(artefact.inputs) - set(refs) if not artefact.segment.begin else set()
    if missing:
        raise InputError(Issue(f"{component}: the model's input {min(missing)!r} is not among its inputs"))
    fills = {
        key: filled(artefact.inputs[key], ref.if_skipped, f"{component}.{key}")
        for key, ref in refs.items()
        if ref.if_skipped is not None and key in artefact.inputs
    }
    return ModelWork(component, open_executor(folder, threads), artefact.inputs, artefact.outputs, fills)


def open_function(
    app: Application, component: str, variant: str, project: Path, types: Mapping[str, TensorType]
) -> FunctionWork:
    """The Python function of `component`; `types` are those of the values that it takes, ``producer.output``.

    Raises InputError where it cannot be loaded.
    """
    spec = app.components[component]
    function = spec.realisations[variant].function
    if function is None:
        raise InputError(Issue(f"{component}: variant {variant} is not a function"))
    fills = {
        key: filled(types[ref.from_], ref.if_skipped, f"{component}.{key}")
        for key, ref in spec.inputs.items()
        if ref.if_skipped is not None
    }
    return FunctionWork(component, load_function(project, function), spec.outputs, fills)

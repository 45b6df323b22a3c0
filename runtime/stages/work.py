"""Work: what a stage does with its inputs, whether a model's executor or a Python function does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from runtime.stages.functions import Function, call_function
from runtime.stages.hosted import HostedModel
from runtime.stages.isolated import IsolatedFunction, open_isolated
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.stages.state import Kept, StateMaker, in_memory
from runtime.values import Array, Value, conform, filled, with_batch, without_batch
from specs.api import Api
from specs.application import Application
from specs.artefact import Executor, OpenExecutor
from specs.artefact_folder import read_artefact
from specs.errors import InputError, Issue
from specs.tensors import TensorType

Given: TypeAlias = Mapping[str, Value | None]
"""Inputs of one request by name; None was skipped."""
Made: TypeAlias = dict[str, Value] | Exception
"""Outputs of one request by name, or why there are none."""
A = TypeVar("A")
B = TypeVar("B")


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

    def run_batch(self, batch: Sequence[Given]) -> list[Made]:
        """What `run` makes of each of several inputs, or raises; a model runs as many at once as it was built for."""
        ...

    def rehearse(self, inputs: Given) -> None:
        """Do what `run` does, once, for nobody: nothing is remembered of it. Raises as `run` does."""
        ...

    def close(self) -> None:
        """End what runs for this work alone; it is not used afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class ModelWork:
    """A model or a segment of one, built for `batch` requests at once. `fills` stand for skipped inputs.

    `dimension` is the name of the dimension that its artefact has buckets of, if any.
    """

    name: str
    executor: Executor
    inputs: Mapping[str, TensorType]
    outputs: Mapping[str, TensorType]
    fills: Mapping[str, Value]
    batch: int = 1
    dimension: str = ""

    def length(self, inputs: Given) -> int | None:
        """How long the dimension with buckets is in one request's inputs; None where there is none."""
        for key, kind in self.inputs.items():
            value = inputs.get(key)
            if self.dimension in kind.shape and isinstance(value, np.ndarray):
                return int(value.shape[kind.shape.index(self.dimension)])
        return None

    def run(self, inputs: Given) -> dict[str, Value]:
        return self._run([self._row(inputs)])[0]

    def run_batch(self, batch: Sequence[Given]) -> list[Made]:
        """One bad input fails alone; where the model fails on several at once, each is run alone."""
        rows = [tried(self._row, one) for one in batch]
        good = [row for row in rows if not isinstance(row, Exception)]
        try:
            made: list[Made] = [*self._run(good)] if good else []
        except Exception as error:
            made = [error] if len(good) == 1 else [tried(lambda row: self._run([row])[0], row) for row in good]
        answers = iter(made)
        return [row if isinstance(row, Exception) else next(answers) for row in rows]

    def _row(self, inputs: Given) -> dict[str, Array]:
        """One request's inputs, each with a first axis of 1. Raises InputError for another type than declared."""
        row = {}
        for key, kind in self.inputs.items():
            value = inputs.get(key)
            given = self.fills[key] if value is None else value
            row[key] = with_batch(conform(given, kind, f"{self.name}: {key}"))
        return row

    def _run(self, rows: Sequence[Mapping[str, Array]]) -> list[dict[str, Value]]:
        """What the model makes of at most `batch` rows; missing ones are filled up with the last."""
        if self.batch == 1:
            (row,) = rows
            found = self.executor.run(row)
            return [{k: without_batch(found[k], kind, f"{self.name}: {k}") for k, kind in self.outputs.items()}]
        padded = [*rows, *[rows[-1]] * (self.batch - len(rows))]
        found = self.executor.run({key: np.concatenate([row[key] for row in padded]) for key in self.inputs})
        return [
            {k: without_batch(found[k][i : i + 1], kind, f"{self.name}: {k}") for k, kind in self.outputs.items()}
            for i in range(len(rows))
        ]

    def rehearse(self, inputs: Given) -> None:
        self.run(inputs)

    def close(self) -> None:
        """Nothing: an executor goes when nobody holds it."""


@dataclass(frozen=True, slots=True)
class FunctionWork:
    """A Python function of the user's project, or a hosted API."""

    name: str
    function: Function
    outputs: Mapping[str, TensorType]
    fills: Mapping[str, Value]

    def run(self, inputs: Mapping[str, Value | None]) -> dict[str, Value]:
        given = {key: self.fills[key] if value is None else value for key, value in inputs.items()}
        return call_function(self.function, self.name, given, self.outputs)

    def rehearse(self, inputs: Given) -> None:
        if isinstance(self.function, HostedModel):  # a call would be paid for
            self.function.connect()
            return
        other = self.function.make() if isinstance(self.function, Kept) else self.function
        replace(self, function=other).run(inputs)

    def run_batch(self, batch: Sequence[Given]) -> list[Made]:
        """A function takes one request at a time."""
        return [tried(self.run, one) for one in batch]

    def close(self) -> None:
        if isinstance(self.function, (IsolatedFunction, HostedModel)):
            self.function.close()


def tried(function: Callable[[A], B], argument: A) -> B | Exception:
    """What `function` returns, or raises: user code may raise anything."""
    try:
        return function(argument)
    except Exception as error:
        return error


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
    executor = open_executor(folder, threads)
    dimension = artefact.buckets.name if artefact.buckets else ""
    return ModelWork(component, executor, artefact.inputs, artefact.outputs, fills, artefact.batch, dimension)


def open_function(
    app: Application,
    component: str,
    variant: str,
    project: Path,
    types: Mapping[str, TensorType],
    secrets: Secrets = NO_SECRETS,
    kept: Kept | None = None,
) -> FunctionWork:
    """The function or hosted API of `component`; `types` are those of the values that it takes, ``producer.output``.

    It gets a process of its own where the component has an environment or names some of the `secrets`. One that keeps
    state is `kept`, or begins with nothing remembered. Raises InputError where it cannot be loaded, or a secret of it
    is not among those.
    """
    spec = app.components[component]
    function, api = spec.realisations[variant].function, spec.realisations[variant].api
    if function is None and api is None:
        raise InputError(Issue(f"{component}: variant {variant} is not a function"))
    fills = {
        key: filled(types[ref.from_], ref.if_skipped, f"{component}.{key}")
        for key, ref in spec.inputs.items()
        if ref.if_skipped is not None
    }
    if api is not None:
        hosted = HostedModel(api.endpoint, api.timeout, spec.outputs, token_of(api, component, secrets))
        return FunctionWork(component, hosted, spec.outputs, fills)
    assert function is not None
    if spec.state is not None:
        kept = kept or in_memory(component, spec.state, StateMaker(project, function))
        return FunctionWork(component, kept, spec.outputs, fills)
    environment = environment_of(app, component, secrets) if spec.has_environment else None
    return FunctionWork(component, open_isolated(project, function, environment, spec.secrets), spec.outputs, fills)


def token_of(api: Api, component: str, secrets: Secrets) -> str:
    """What a hosted API is sent as a bearer token; empty for none. Raises InputError where it is not given."""
    if api.token is None:
        return ""
    if api.token not in secrets.values:
        raise InputError(Issue(f"{component}: the secret {api.token} is not given"))
    return secrets.values[api.token]


def environment_of(app: Application, component: str, secrets: Secrets) -> dict[str, str]:
    """What the functions of `component` find in their environment. Raises InputError where a secret is missing."""
    spec = app.components[component]
    missing = [name for name in spec.secrets if name not in secrets.values]
    if missing:
        raise InputError(Issue(f"{component}: the secret {missing[0]} is not given"))
    return {**spec.environment, **secrets.of(spec.secrets).values}

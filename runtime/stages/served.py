"""Functions and models opened as a stage runs them, so that profiles hold all that a stage takes for a request.

What a stage does beside the work itself, checking and shaping values, takes some 0.1 ms of a processor whose caches
hold something else: as much as a short function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.executors import open_executor
from runtime.stages.encoding import EncodedWork, as_on_wire
from runtime.stages.functions import Function
from runtime.stages.hosted import HostedModel
from runtime.stages.isolated import IsolatedFunction, open_isolated
from runtime.stages.state import StateMaker
from runtime.stages.work import FunctionWork, ModelWork
from runtime.values import Value
from specs.artefact import Executor, Segment
from specs.artefact_folder import read_artefact
from specs.tensors import parse_type


@dataclass(frozen=True, slots=True)
class ServedFunction:
    """Takes inputs by keyword, as the function does, and gives its outputs in canonical form."""

    work: FunctionWork

    def __call__(self, **inputs: Value) -> dict[str, Value]:
        (made,) = self.work.run_batch([inputs])
        if isinstance(made, Exception):
            raise made
        return made

    def peak_memory(self) -> int:
        """Bytes that a process of its own held at most; 0 where it has none."""
        function = self.work.function
        return function.peak_memory() if isinstance(function, IsolatedFunction) else 0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Takes arrays of as many items as the artefact takes at once, each item as a request brings it."""

    work: ModelWork | EncodedWork

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs of the last item. Raises what the stage would answer."""
        rows = [{name: array[i] for name, array in inputs.items()} for i in range(self.work.batch)]
        made: dict[str, Any] = {}
        for one in self.work.run_batch(rows):
            if isinstance(one, Exception):
                raise one
            made = one
        return made


def open_served_function(
    project: Path,
    function: str,
    environment: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    *,
    outputs: Mapping[str, str],
    keeps_state: bool = False,
    timeout: float | None = None,
) -> Function:
    """As `open_isolated`; `outputs` are the declared types by name. One that keeps state begins with none.

    With a `timeout` in seconds, `function` is the endpoint of a hosted API, whose token is the one of the `secrets`.

    Raises InputError as it does.
    """
    types = {name: parse_type(text) for name, text in outputs.items()}
    opened: Function
    if timeout is not None:
        (token,) = [(environment or {})[name] for name in secrets] or [""]
        opened = HostedModel(function, timeout, types, token)
    elif keeps_state:
        opened = StateMaker(project, function)()
    else:
        opened = open_isolated(project, function, environment, secrets)
    return ServedFunction(FunctionWork(function, opened, types, {}))


def open_served_model(folder: Path, threads: int, begin: Sequence[str] = (), end: Sequence[str] = ()) -> Executor:
    """As `open_executor`; `begin` and `end` are what it takes and hands on, by names on the wire, where some of that is
    encoded. Raises as `open_executor` does."""
    artefact = read_artefact(folder)
    executor = open_executor(folder, threads)
    inputs, outputs = artefact.inputs, artefact.outputs
    work = ModelWork(str(artefact.segment), executor, inputs, outputs, {}, artefact.batch)
    return ServedModel(as_on_wire(work, Segment(begin=tuple(begin), end=tuple(end))))

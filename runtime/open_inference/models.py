"""What the application is called outside: a model whose inputs are a source's values and whose outputs the sinks'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from runtime.fleet import Member
from runtime.open_inference.protocol import Code, ProtocolError
from runtime.topology import Flow, Topology
from runtime.values import Value
from specs.application import Application
from specs.dimensions import longest
from specs.tensors import TensorType


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output. `sink` is the one that an output comes from.

    `most` are the greatest sizes of an input's axes that what takes it has buckets for; None: any.
    """

    name: str
    type: TensorType
    sink: str = ""
    value: str = ""
    most: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class ServedModel:
    """One flow of this member. Its name is the application's, or ``application.source`` where there are several."""

    name: str
    version: str
    flow: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @cached_property
    def input_by_name(self) -> Mapping[str, Port]:
        return {port.name: port for port in self.inputs}

    @cached_property
    def output_by_name(self) -> Mapping[str, Port]:
        return {port.name: port for port in self.outputs}

    def check_wanted(self, names: tuple[str, ...]) -> None:
        """Raises ProtocolError for an output that there is not, or that is named twice."""
        for name in names:
            if name not in self.output_by_name:
                known = ", ".join(self.output_by_name)
                raise ProtocolError(Code.invalid, f"{self.name} has no output {name!r:.80}; it has {known}")
        if len(set(names)) != len(names):
            raise ProtocolError(Code.invalid, "an output is asked for twice")

    def check_given(self, given: Mapping[str, Value]) -> None:
        """Raises ProtocolError where an input is missing."""
        missing = [name for name in self.input_by_name if name not in given]
        if missing:
            raise ProtocolError(Code.invalid, f"{self.name} needs the input {missing[0]!r}, which is not given")

    def input(self, name: object) -> Port:
        """Raises ProtocolError for an input that there is not."""
        port = self.input_by_name.get(name) if isinstance(name, str) else None
        if port is None:
            known = ", ".join(self.input_by_name)
            raise ProtocolError(Code.invalid, f"{self.name} has no input {name!r:.80}; it has {known}")
        return port

    def outputs_of(self, answers: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
        """By output: what the sinks took; a skipped value is left out."""
        return {
            port.name: answers[port.sink][port.value]
            for port in self.outputs
            if port.value in answers.get(port.sink, {})
        }


def served_models(
    app: Application, types: Mapping[str, TensorType], top: Topology, member: Member, version: str
) -> tuple[ServedModel, ...]:
    """The models that requests can ask for at `member`: one for each flow that starts there.

    `types` are those of all values by reference.
    """
    several = len(app.sources) > 1
    return tuple(
        ServedModel(
            name=f"{app.name}.{flow.source}" if several else app.name,
            version=version,
            flow=flow.name,
            inputs=tuple(
                Port(name, spec.type, most=longest(app, flow.source, name))
                for name, spec in app.sources[flow.source].values.items()
            ),
            outputs=tuple(_outputs(app, types, top, flow)),
        )
        for flow in top.flows
        if member in flow.members
    )


def _outputs(app: Application, types: Mapping[str, TensorType], top: Topology, flow: Flow) -> Iterator[Port]:
    reached = dict.fromkeys(e.consumer for e in top.edges if e.flow == flow.name and e.consumer in app.sinks)
    for sink in reached:
        for name, ref in app.sinks[sink].inputs.items():
            yield Port(f"{sink}.{name}" if len(reached) > 1 else name, types[ref.from_], sink, name)

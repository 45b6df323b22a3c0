"""The operators of a model as a DAG, and which tensors pass from a closed set of them to the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import onnx

from compiler.signature import signature_of
from specs.errors import InputError
from specs.tensors import TensorType

Closed = int
"""A set of operators as a bit mask: bit i is operator i. Closed: with each operator, all that it takes from."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """What `producer` (-1: an input of the model) gives. `readers` is a mask; the bit after the last operator's is the
    model's output. `type` is None where no message can carry it: unknown shape, or no batch of 1 in front.
    """

    name: str
    producer: int
    readers: int
    type: TensorType | None


@dataclass(frozen=True)
class Operators:
    """Those that depend on the model's inputs, in an order in which each comes after what it takes from.

    `names` holds the first output of each; `takes` the operators that it takes from, as a mask.
    """

    names: tuple[str, ...]
    takes: tuple[int, ...]
    tensors: tuple[Tensor, ...]

    @property
    def all(self) -> Closed:
        return (1 << len(self.names)) - 1

    @cached_property
    def needs(self) -> tuple[Closed, ...]:
        """By operator: itself and all that it depends on."""
        found: list[int] = []
        for i, mask in enumerate(self.takes):
            closed = 1 << i
            for j in bits(mask):
                closed |= found[j]
            found.append(closed)
        return tuple(found)

    def crossing(self, closed: Closed) -> tuple[Tensor, ...]:
        """The tensors that the rest of the model, or its outputs, take from `closed` or the inputs; each once."""
        return tuple(t for t in self.tensors if (t.producer < 0 or closed >> t.producer & 1) and t.readers & ~closed)


def bits(mask: int) -> Iterator[int]:
    """The positions of the ones."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def size_of(tensors: tuple[Tensor, ...]) -> int | None:
    """Bytes of all together; None where one cannot be carried."""
    total = 0
    for tensor in tensors:
        if tensor.type is None or tensor.type.size is None:
            return None
        total += tensor.type.size
    return total


def operators_of(model: onnx.ModelProto, file: str) -> Operators:
    """The operators of a prepared model (shapes inferred) on which its outputs depend. What depends on constants alone
    counts as a constant: each part has its own.
    """
    graph = model.graph
    inputs = [v.name for v in graph.input]
    producer: dict[str, int] = dict.fromkeys(inputs, -1)
    readers: dict[str, int] = dict.fromkeys(inputs, 0)
    names: list[str] = []
    takes: list[int] = []
    for node in _live(graph):
        taken = [name for name in dict.fromkeys(read_by(node)) if name in producer]
        if not taken:
            continue
        index = len(names)
        names.append(next(o for o in node.output if o))
        mask = 0
        for name in taken:
            readers[name] |= 1 << index
            if producer[name] >= 0:
                mask |= 1 << producer[name]
        takes.append(mask)
        for output in node.output:
            if output:
                producer[output], readers[output] = index, 0
    for value in graph.output:
        if value.name in readers:
            readers[value.name] |= 1 << len(names)
    known = {v.name: v for v in (*graph.value_info, *graph.input, *graph.output)}
    tensors = tuple(Tensor(n, p, readers[n], _carried(known.get(n), file)) for n, p in producer.items())
    return Operators(tuple(names), tuple(takes), tensors)


def _live(graph: Any) -> list[Any]:
    """Nodes on which an output of the graph depends, in their order."""
    wanted = {value.name for value in graph.output}
    found: list[Any] = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(read_by(node))
            found.append(node)
    return found[::-1]


def read_by(node: Any) -> Iterator[str]:
    """Names that a node reads, those that its inner graphs take from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for sub in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in sub.node:
                yield from read_by(inner)


def _carried(value: Any, file: str) -> TensorType | None:
    """The type of a value without its batch of 1, where it has one of known size."""
    if value is None or not value.type.HasField("tensor_type"):
        return None
    dims = value.type.tensor_type.shape.dim
    if not dims or dims[0].dim_value != 1 or any(d.dim_value <= 0 for d in dims):
        return None
    holder = onnx.ModelProto()
    holder.graph.output.append(value)
    try:
        (found,) = signature_of(holder, file).outputs.values()
    except InputError:
        return None
    return found if found.size is not None else None

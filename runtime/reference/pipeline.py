"""The reference pipeline: the application in one process, one request at a time, without queues or networks.

What a run answers must equal what this answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from runtime.fan_out import split, stack
from runtime.reference.items import Item
from runtime.stages.work import ModelWork, Work
from runtime.values import Value, conform, sink_fills
from specs.application import Application
from specs.errors import InputError, Issue
from specs.fan_out import item_inputs
from specs.graph import Graph
from specs.tensors import TensorType

Memo = dict[tuple[object, ...], dict[str, Value]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`answers` by sink and input name; the components that ran, in order; every value by reference.

    `items` says of each component that runs per item how many there were, `lengths` of each whose model has buckets how
    long its inputs were. References are ``source.value``,
    ``component.output`` and ``component@tensor`` for what crosses a cut.
    """

    answers: Mapping[str, Mapping[str, Value]]
    runs: tuple[str, ...]
    values: Mapping[str, Value]
    items: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """`chains` gives each component its work: one, or the segments of its model in order.

    `tags` says which realisation that is (such as the variant), for results that several references share.
    """

    app: Application
    chains: Mapping[str, Sequence[Work]]
    tags: Mapping[str, str]

    def run(self, item: Item, memo: Memo | None = None) -> Outcome:
        """Answer `item`. `memo` holds results of the same item that may be used again, and takes new ones.

        Raises InputError for a value of the wrong type, and whatever a user's function raises.
        """
        graph = Graph(self.app)
        values: dict[str, Value] = {}
        origin: dict[str, object] = {}
        for name, spec in self.app.sources[item.source].values.items():
            key = f"{item.source}.{name}"
            values[key] = conform(item.values[name], spec.type, key)
            origin[key] = key
        reach = graph.descendants([item.source])
        gates: dict[str, bool] = {}
        ran: list[str] = []
        lengths: dict[str, int] = {}
        for name in graph.order:
            component = self.app.components[name]
            if name not in reach:
                continue
            if component.when is not None and component.when.ref.from_ in values:
                gates[name] = truth(values[component.when.ref.from_], str(component.when))
            if name in graph.skipped(gates):
                continue
            inputs = {key: values.get(ref.from_) for key, ref in component.inputs.items()}
            made_from = tuple(origin.get(ref.from_) for ref in component.inputs.values())
            key_ = (name, self.tags.get(name, ""), made_from)
            if memo is not None and key_ in memo:
                made = memo[key_]
            else:
                made = self._component(name, inputs)
                if memo is not None:
                    memo[key_] = made
            first = self.chains[name][0]
            if isinstance(first, ModelWork) and (length := first.length(inputs)) is not None:
                lengths[name] = length
            values.update(made)
            origin.update({key: (key_, key) for key in made})
            ran.append(name)
        per = {name: self.app.components[name].per for name in ran}
        items = {name: len(values[value]) for name, value in per.items() if value is not None}
        return Outcome(self._answers(values, reach), tuple(ran), values, items, lengths)

    def _component(self, name: str, inputs: Mapping[str, Value | None]) -> dict[str, Value]:
        """What `name` gives of `inputs`: of each item, stacked, where it runs per item."""
        items = item_inputs(self.app, name)
        if not items:
            return self._once(name, inputs)
        each = [self._once(name, item) for item in split(inputs, items, name)]
        *before, last = self.chains[name]
        kinds = {f"{name}@{tensor}": kind for work in before for tensor, kind in work.outputs.items()}
        return stack(each, kinds | {f"{name}.{output}": kind for output, kind in last.outputs.items()})

    def _once(self, name: str, inputs: Mapping[str, Value | None]) -> dict[str, Value]:
        made: dict[str, Value] = {}
        chain = self.chains[name]
        for position, work in enumerate(chain):
            found = work.run(inputs)
            joint = "." if position == len(chain) - 1 else "@"
            made.update({f"{name}{joint}{key}": value for key, value in found.items()})
            inputs = found
        return made

    @cached_property
    def _types(self) -> dict[str, TensorType]:
        """Of all values, by reference."""
        found = {f"{s}.{v}": spec.type for s, source in self.app.sources.items() for v, spec in source.values.items()}
        for name, chain in self.chains.items():
            found |= {f"{name}.{output}": kind for output, kind in chain[-1].outputs.items()}
        return found

    def _answers(self, values: Mapping[str, Value], reach: frozenset[str]) -> dict[str, dict[str, Value]]:
        answers: dict[str, dict[str, Value]] = {}
        for name, sink in self.app.sinks.items():
            if name in reach:
                fills = sink_fills(name, sink.inputs, self._types)
                missing = [r.from_ for key, r in sink.inputs.items() if r.from_ not in values and key not in fills]
                if missing:
                    raise InputError(Issue(f"sink {name}: {missing[0]} was skipped, so there is no answer"))
                answers[name] = {
                    key: values[ref.from_] if ref.from_ in values else fills[key] for key, ref in sink.inputs.items()
                }
        return answers


def truth(value: Value, what: str) -> bool:
    """A gate's boolean. Raises InputError for a value that is not one."""
    if isinstance(value, (bytes, str)) or value.dtype.name != "bool" or value.size != 1:
        raise InputError(Issue(f"{what}: a gate takes one bool"))
    return bool(value.reshape(())[()])

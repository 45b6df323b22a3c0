"""Fan-out: what ``per: component.output`` means. The component runs once for each item of that value's first axis.

Inputs that name the value, or another one that has its items (what components ``per`` item of it give), take the item;
any other input takes its value whole. What such a component gives is, for everybody else, a stack of what it gave for
each item, in the order of the items: it has one axis more in front, of as many entries as there were items, 0 included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from specs.application import Application, Ref
from specs.artefact import ModelSignature
from specs.errors import Issue
from specs.load import Document
from specs.nearest import near
from specs.tensors import TensorType
from specs.yamlfile import Path_


def items_of(app: Application, value: str) -> str:
    """The value whose items `value` has: itself, or what its producer runs ``per``. Both are ``component.output``."""
    seen: set[str] = set()
    while value not in seen:
        seen.add(value)
        producer = app.components.get(value.partition(".")[0])
        if producer is None or producer.per is None:
            return value
        value = producer.per
    return value


def item_inputs(app: Application, component: str) -> frozenset[str]:
    """The names of the inputs that take one item; none where the component runs once a request."""
    spec = app.components[component]
    if spec.per is None:
        return frozenset()
    items = items_of(app, spec.per)
    return frozenset(name for name, ref in spec.inputs.items() if items_of(app, ref.from_) == items)


def value_type(app: Application, ref: Ref, own: Mapping[str, TensorType] | None = None) -> TensorType | None:
    """The type of the value that `ref` names, as those see it that take it whole; None where none is declared.

    `own` has types by reference that are not declared, such as those of models, of one run each.
    """
    if ref.producer in app.sources:
        value = app.sources[ref.producer].values.get(ref.output)
        return value.type if value else None
    component = app.components.get(ref.producer)
    if component is None:
        return None
    given = component.outputs.get(ref.output) or (own or {}).get(ref.from_)
    return given if given is None or component.per is None else given.stacked(_length(app, component.per))


def taken_type(app: Application, component: str, name: str, given: TensorType) -> TensorType:
    """The type that the input `name` takes where its value is `given`: that of an item, or the whole."""
    return given.item if name in item_inputs(app, component) and given.shape else given


def _length(app: Application, per: str) -> int | str:
    """How many items there are: the first size of the value, a name where it varies."""
    first = Ref.model_construct(from_=items_of(app, per))
    known = value_type(app, first)
    return known.shape[0] if known is not None and known.shape else "items"


def check_fan_outs(
    app: Document[Application], signatures: Mapping[tuple[str, str], ModelSignature] | None = None
) -> Iterator[Issue]:
    """What ``per`` names must be a tensor with an axis of items that the component takes, and what it gives must stack.

    Names that are unknown are told as those of inputs are.
    """
    spec = app.value
    own = {f"{c}.{o}": kind for (c, _), s in (signatures or {}).items() for o, kind in s.outputs.items()}
    for name, component in spec.components.items():
        if component.per is None:
            continue
        place = app.place("components", name, "per")
        taken = [ref.from_ for ref in component.inputs.values()]
        if component.per not in taken:
            text = f"{name!r} runs per {component.per}, but takes it as no input"
            yield Issue(text, place, near(component.per, taken))
            continue
        given = value_type(spec, Ref.model_construct(from_=component.per), own)
        if given is not None and (given.is_blob or not given.shape):
            hint = "give it a first dimension, as in f32[n,4]"
            yield Issue(f"per needs a tensor whose first axis has the items; {component.per} is {given}", place, hint)
        yield from _stacks(app, name, own)


def _stacks(app: Document[Application], name: str, own: Mapping[str, TensorType]) -> Iterator[Issue]:
    component = app.value.components[name]
    outputs = component.outputs or {k.partition(".")[2]: t for k, t in own.items() if k.partition(".")[0] == name}
    for output, kind in outputs.items():
        if kind.is_blob or any(isinstance(size, str) for size in kind.shape):
            at: Path_ = ("components", name, "outputs", output) if component.outputs else ("components", name, "per")
            text = f"what is given for each item is stacked, so its shape must be fixed; {name}.{output} is {kind}"
            yield Issue(text, app.place(*at), "give a tensor of fixed size, or leave per out and loop in the function")

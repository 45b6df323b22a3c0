"""Named dimensions: what ``dims`` of a component says against its models, and the lengths that producers give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from specs.application import Application, Component
from specs.artefact import ModelSignature
from specs.errors import Issue
from specs.fan_out import value_type
from specs.load import Document
from specs.nearest import near

Signatures = Mapping[tuple[str, str], ModelSignature]


def check_dimensions(app: Document[Application], signatures: Signatures) -> Iterator[Issue]:
    """Each dimension that a model names must have buckets under that name, and what is longer than they be refused.

    Without the signature of a model, only what the file itself says is checked.
    """
    for name, component in app.value.components.items():
        models = [(v, s) for (c, v), s in signatures.items() if c == name]
        for variant, signature in models:
            yield from _of_model(app, name, variant, signature)
        if component.dimension is not None:
            yield from _pads(app, name, component)
            for _, signature in models[:1]:
                yield from _producers(app, name, signature)


def longest(app: Application, source: str, value: str) -> tuple[int | None, ...]:
    """The greatest size of each axis of a source's value that every component takes that reads it; None: any.

    Where a type names a dimension as a component's ``dims`` do, that component's largest bucket counts.
    """
    shape = app.sources[source].values[value].type.shape
    takers = [c for c in app.components.values() if f"{source}.{value}" in {r.from_ for r in c.inputs.values()}]
    return tuple(
        min((max(c.dims[axis].buckets) for c in takers if axis in c.dims), default=None)
        if isinstance(axis, str)
        else None
        for axis in shape
    )


def _named(signature: ModelSignature) -> dict[str, str]:
    """The named dimensions of a model's inputs, with an input that has it."""
    return {d: key for key, kind in signature.inputs.items() for d in kind.shape if isinstance(d, str)}


def _of_model(app: Document[Application], name: str, variant: str, signature: ModelSignature) -> Iterator[Issue]:
    component = app.value.components[name]
    model = component.realisations[variant].model
    named = _named(signature)
    for dim in component.dims:
        if dim not in named:
            hint = near(dim, named) if named else "leave dims out: the model has fixed sizes"
            place = app.place("components", name, "dims", dim)
            yield Issue(f"no input of model {model} has a dimension {dim!r}", place, hint)
    for dim, key in named.items():
        if not component.dims:
            at = ("variants", variant) if component.variants else ("model",)
            what = f"dimension {dim!r} of input {key!r} of model {model} has no size"
            yield Issue(what, app.place("components", name, *at), f"add dims: {{{dim}: [16, 64, 128]}}")
        elif dim not in component.dims:
            what = f"dimension {dim!r} of input {key!r} of model {model} has no buckets"
            hint = "export the model with a fixed size for all but one"
            yield Issue(what, app.place("components", name, "dims"), hint)


def _pads(app: Document[Application], name: str, component: Component) -> Iterator[Issue]:
    for dim, spec in component.dims.items():
        for key in spec.pad:
            if key not in component.inputs:
                place = app.place("components", name, "dims", dim, "pad", key)
                yield Issue(f"{name!r} has no input {key!r} to pad", place, near(key, component.inputs))


def _producers(app: Document[Application], name: str, signature: ModelSignature) -> Iterator[Issue]:
    """What is given for the dimension: by the same name, or of a size that a bucket holds."""
    component = app.value.components[name]
    for key, ref in component.inputs.items():
        taken, given = signature.inputs.get(key), value_type(app.value, ref)
        if taken is None:
            continue
        place = app.place("components", name, "inputs", key)
        if ref.if_skipped is not None and any(d in component.dims for d in taken.shape):
            yield Issue(f"if_skipped needs a tensor of fixed shape; {key!r} of {name!r} is {taken}", place)
        for want, have in zip(taken.shape, given.shape if given else (), strict=False):
            if want not in component.dims or want == have:
                continue
            most = max(component.dims[str(want)].buckets)
            if isinstance(have, int) and have > most:
                text = f"{ref.from_} is {given}, but the largest bucket of {want!r} in {name!r} is {most}"
                yield Issue(text, place, f"add a bucket of {have}")
            elif isinstance(have, str) and ref.producer in app.value.sources:
                text = f"{ref.from_} is {given}; {name!r} calls that dimension {want!r}"
                at = app.place("sources", ref.producer, "values", ref.output)
                yield Issue(text, at, f"write {want} for {have}: what no bucket holds is then refused at the door")

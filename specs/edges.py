"""Types along the edges: what a producer says it gives against what a model takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from specs.application import Application, Ref, ResidencyConstraint
from specs.artefact import ModelSignature
from specs.errors import Issue
from specs.fan_out import taken_type, value_type
from specs.load import Document
from specs.nearest import near
from specs.tensors import TensorType
from specs.yamlfile import Path_


def gate_can_be(given: TensorType) -> bool:
    """Whether a gate can look at such a value: one boolean, whatever its rank."""
    return given.dtype == "bool" and all(size == 1 or isinstance(size, str) for size in given.shape)


def compatible(given: TensorType, taken: TensorType) -> bool:
    """Equal element types and sizes; a dimension that is a name agrees with any size."""
    if given.dtype != taken.dtype or len(given.shape) != len(taken.shape):
        return False
    sizes = zip(given.shape, taken.shape, strict=True)
    return all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in sizes)


def _without_batch(declared: TensorType, meant: TensorType) -> str:
    """The way out where a type differs from the one that is meant by a batch of one in front."""
    more = len(declared.shape) - len(meant.shape)
    bare = declared.dtype == meant.dtype and more == 1 and declared.shape == (1, *meant.shape)
    return f"the batch is left out: write {meant}" if bare else ""


def check_edges(app: Document[Application], signatures: Mapping[tuple[str, str], ModelSignature]) -> list[Issue]:
    """Where a model and its component disagree on names or types, and where the two ends of an edge do."""
    issues: list[Issue] = []
    for (component, variant), signature in signatures.items():
        issues += _outputs(app, component, variant, signature)
        issues += _inputs(app, component, variant, signature, signatures)
    for ref, path in _read_from_models(app.value):
        issues += _undeclared(app, ref, path, signatures)
    return issues


def _read_from_models(app: Application) -> Iterator[tuple[Ref, Path_]]:
    """Every reference, with its path, to a component that leaves its outputs to its models."""
    for ref, path in _references(app):
        component = app.components.get(ref.producer)
        if component is not None and not component.outputs:
            yield ref, path


def _references(app: Application) -> Iterator[tuple[Ref, Path_]]:
    for name, component in app.components.items():
        yield from ((ref, ("components", name, "inputs", key)) for key, ref in component.inputs.items())
        if component.when is not None:
            yield component.when.ref, ("components", name, "when")
    for name, sink in app.sinks.items():
        yield from ((ref, ("sinks", name, "inputs", key)) for key, ref in sink.inputs.items())
    for name, constraint in app.constraints.items():
        if isinstance(constraint, ResidencyConstraint) and "." in constraint.value:
            yield Ref.model_construct(from_=constraint.value), ("constraints", name, "value")


def _undeclared(
    app: Document[Application], ref: Ref, path: Path_, signatures: Mapping[tuple[str, str], ModelSignature]
) -> Iterator[Issue]:
    """Each variant of the producer must give what is read, and what a gate looks at must be one boolean."""
    place = app.place(*path, "from") if (*path, "from") in app.yaml.places else app.place(*path)
    for (component, variant), signature in signatures.items():
        if component != ref.producer:
            continue
        given = signature.outputs.get(ref.output)
        model = app.value.components[component].realisations[variant].model
        if given is None:
            text = f"{component!r} has no output {ref.output!r}, says model {model}"
            yield Issue(text, place, near(ref.output, signature.outputs))
        elif path[-1] == "when" and not gate_can_be(given):
            yield Issue(f"a gate must be bool; {ref.from_} is {given}, says model {model}", place)


def _outputs(app: Document[Application], component: str, variant: str, signature: ModelSignature) -> Iterator[Issue]:
    model = app.value.components[component].realisations[variant].model
    for name, declared in app.value.components[component].outputs.items():
        place = app.place("components", component, "outputs", name)
        given = signature.outputs.get(name)
        if given is None:
            yield Issue(f"model {model} has no output {name!r}", place, near(name, signature.outputs))
        elif not compatible(given, declared):
            text = f"{component}.{name} is declared {declared}, but model {model} gives {given}"
            yield Issue(text, place, _without_batch(declared, given))


def _inputs(
    app: Document[Application],
    component: str,
    variant: str,
    signature: ModelSignature,
    signatures: Mapping[tuple[str, str], ModelSignature],
) -> Iterator[Issue]:
    spec = app.value.components[component]
    model = spec.realisations[variant].model
    for name in signature.inputs:
        if name not in spec.inputs:
            place = app.place("components", component, "inputs")
            yield Issue(f"input {name!r} of model {model} is not given", place, f"{name}: SOURCE.VALUE")
    for name, ref in spec.inputs.items():
        place = app.place("components", component, "inputs", name)
        taken = signature.inputs.get(name)
        if taken is None:
            yield Issue(f"model {model} has no input {name!r}", place, near(name, signature.inputs))
            continue
        for whole in _given(app.value, ref, signatures):
            given = taken_type(app.value, component, name, whole)
            if not compatible(given, taken):
                source = _declaration(app, ref)
                what = ref.from_ if given == whole else f"an item of {ref.from_}"
                message = f"{what} is {given} (line {source}), but input {name!r} of {component!r} takes {taken}"
                yield Issue(f"{message}, says model {model}", place, _without_batch(given, taken))


def _given(app: Application, ref: Ref, signatures: Mapping[tuple[str, str], ModelSignature]) -> list[TensorType]:
    """The type that `ref` has: as declared, else as each variant of its producer's models says."""
    declared = value_type(app, ref)
    if declared is not None:
        return [declared]
    known = {s.outputs.get(ref.output) for (component, _), s in signatures.items() if component == ref.producer}
    types = (value_type(app, ref, {ref.from_: kind}) for kind in known if kind is not None)
    return [t for t in types if t is not None]


def _declaration(app: Document[Application], ref: Ref) -> int:
    if ref.producer in app.value.sources:
        return app.place("sources", ref.producer, "values", ref.output).line
    return app.place("components", ref.producer, "outputs", ref.output).line

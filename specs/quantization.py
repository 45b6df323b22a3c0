"""Variants in int8: what they are made from, and what making them did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import Field

from specs.application import Application, Component, Dataset
from specs.base import Spec
from specs.digest import digest_file, digest_value
from specs.function_files import digest_function
from specs.graph import Graph
from specs.load import Document
from specs.model_source import digest_source

CALIBRATION: Final = "calibration"
"""What the requests of `calibrate` are called, where names of data are."""


class Quantization(Spec):
    """`model` was quantized into `file`, with `samples` of its real inputs.

    `integers` are the nodes that multiply integers. `floats` are the convolutions and products that were left in
    float32, each with the reason.
    """

    model: str
    file: str
    digest: str
    samples: int
    integers: tuple[str, ...]
    floats: dict[str, str] = Field(default_factory=dict)


def calibrating(app: Application, component: str, variant: str) -> Application:
    """The part of `app` that gives the inputs with which `variant` of `component` is quantized.

    It ends at the component, in the variant to quantize; before it are all variants that are not quantized themselves.
    """
    real = app.components[component].realisations[variant]
    assert real.quantize is not None
    before = set(_ancestors(Graph(app), component))
    parts = {name: _plain(spec) for name, spec in app.components.items() if name in before}
    spec = app.components[component]
    parts[component] = spec.model_copy(update={"variants": {real.quantize: spec.variants[real.quantize]}})
    data = app.data if real.calibrate is None else {CALIBRATION: Dataset(file=real.calibrate)}
    return app.model_copy(update={"components": parts, "sinks": {}, "constraints": {}, "data": data})


def digest_realisation(
    app: Document[Application], component: str, variant: str, digest: Callable[[Path], str] = digest_file
) -> str:
    """Digest of what a variant comes from, each file by `digest`: its model or function; of a quantized one, the model
    that is quantized, all that computes its inputs, and the requests that it is calibrated with."""
    spec = app.value.components[component]
    real = spec.realisations[variant]
    if real.function is not None:
        return digest_function(app.folder, real.function, spec.environment, spec.secrets, spec.state_size)
    if real.api is not None:
        return real.api.digest
    if real.model is not None:
        return digest_source(app.folder, real.model, real.reads, digest)
    part = replace(app, value=calibrating(app.value, component, variant))
    made_by = {
        f"{name}/{other}": digest_realisation(part, name, other, digest)
        for name, spec in part.value.components.items()
        for other in spec.realisations
    }
    return digest_value(["int8", made_by, [digest(app.folder / data.file) for data in part.value.data.values()]])


def _ancestors(graph: Graph, component: str) -> Iterator[str]:
    for producer, _ in graph.takes(component):
        if producer in graph.app.components:
            yield producer
            yield from _ancestors(graph, producer)


def _plain(component: Component) -> Component:
    """`component` without its quantized variants."""
    plain = {name: real for name, real in component.variants.items() if real.quantize is None}
    return component.model_copy(update={"variants": plain})

"""Variants in int8: made before anything is profiled, with inputs from the application's own reference pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from specs.quantization import calibrating, digest_realisation

if TYPE_CHECKING:
    from compiler.given import Given
    from compiler.samples import Sample
    from compiler.store import Store
    from specs.application import Application
    from specs.artefact import ModelSignature
    from specs.load import Document

Key = tuple[str, str]
"""(component, variant)."""


def quantize_all(
    app: Document[Application],
    models: Mapping[Key, Given],
    signatures: Mapping[Key, ModelSignature],
    store: Path,
    make: bool,
    step: Callable[[str], None] | None = None,
) -> dict[Key, Given]:
    """Every quantized variant of `app`, from the store or made now; without `make`, those that are there.

    `models` and `signatures` are those of the variants that they are made from. Raises InputError where the data give
    a component no inputs, EnvironmentFailed where what computes them cannot be built.
    """
    from compiler.quantize import quantize, quantized
    from compiler.store import Store
    from planner.cli.profiling.targets import buckets_of

    found: dict[Key, Given] = {}
    for component, variant, base in _all(app.value):
        name = f"{component}/{variant}"
        source = digest_realisation(app, component, variant)
        known = quantized(name, source, Store(store))
        if known is None and make and (component, base) in models:
            if step is not None:
                step(f"quantizing {name}")
            samples = _samples(app, component, variant, models, signatures, Store(store))
            buckets = buckets_of(app.value.components[component])
            known = quantize(name, models[component, base], source, samples, Store(store), buckets=buckets)
        if known is not None:
            found[component, variant] = known
    return found


def _all(app: Application) -> Iterator[tuple[str, str, str]]:
    """(component, variant, the variant that it quantizes)."""
    for name, component in app.components.items():
        for variant, real in component.variants.items():
            if real.quantize is not None:
                yield name, variant, real.quantize


def _samples(
    app: Document[Application],
    component: str,
    variant: str,
    models: Mapping[Key, Given],
    signatures: Mapping[Key, ModelSignature],
    store: Store,
) -> list[Sample]:
    """Inputs of a component, as the reference pipeline up to it computes them from the requests to calibrate with."""
    from compiler.build import build_all
    from planner.cli.profiling.reality import Reality
    from planner.cli.profiling.targets import Targets
    from specs.artefact import WHOLE

    part = replace(app, value=calibrating(app.value, component, variant))
    targets = Targets(part, models)
    built: dict[str, Path] = {}
    for result in build_all([target.job for target in targets.references()], store):
        if result.error is not None:
            raise result.error
        assert result.folder is not None
        built[result.job.key] = result.folder
    base = app.value.components[component].variants[variant].quantize
    assert base is not None
    found = Reality(part, signatures, targets, built).samples()[component, base, WHOLE]
    return list(found)

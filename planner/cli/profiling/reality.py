"""What really happens on the application's data: behaviour, and real inputs for every part that is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Final

from planner.cli.profiling.targets import Targets
from runtime.behaviour import measure_behaviour
from runtime.executors import open_executor
from runtime.fan_out import split
from runtime.items import Item, read_items
from runtime.reference import Memo, Reference
from runtime.secrets import NO_SECRETS, Secrets
from runtime.values import Value, filled, with_batch
from runtime.work import Work, open_function, open_model
from specs.application import Application
from specs.artefact import WHOLE, ModelSignature, Segment
from specs.artefact_folder import read_artefact
from specs.behaviour import Behaviour, PayloadSize
from specs.errors import InputError, Issue
from specs.fan_out import item_inputs
from specs.load import Document
from specs.tensors import TensorType

SAMPLES: Final = 128
"""Real inputs that each measurement goes round."""
ITEMS_TRIED: Final = 512
"""Items of the data that are run at most to find them."""

Part = tuple[str, str, Segment]
"""(component, variant, segment)."""
Sample = dict[str, Any]


@dataclass(frozen=True)
class Reality:
    """The reference pipeline of an application, over `built`: artefact folders by key."""

    document: Document[Application]
    signatures: Mapping[tuple[str, str], ModelSignature]
    targets: Targets
    built: Mapping[str, Path]
    secrets: Secrets = NO_SECRETS

    @property
    def app(self) -> Application:
        return self.document.value

    @property
    def combinations(self) -> list[dict[str, str]]:
        """Every choice of one variant for each component."""
        choices = product(*(c.realisations for c in self.app.components.values()))
        return [dict(zip(self.app.components, choice, strict=True)) for choice in choices]

    @cached_property
    def types(self) -> dict[str, TensorType]:
        """Of every value by reference: as declared, else as the model says."""
        types = {f"{s}.{v}": value.type for s, source in self.app.sources.items() for v, value in source.values.items()}
        for (component, _), signature in self.signatures.items():
            types |= {f"{component}.{name}": kind for name, kind in signature.outputs.items()}
        for name, spec in self.app.components.items():
            types |= {f"{name}.{output}": kind for output, kind in spec.outputs.items()}
        return types

    def work(self, component: str, variant: str, segment: Segment = WHOLE) -> Work:
        """One part of a component, ready to run."""
        if self.app.components[component].realisations[variant].function is not None:
            return open_function(self.app, component, variant, self.document.folder, self.types, self.secrets)
        folder = self.built[self.targets.reference(component, variant, segment).key]
        return open_model(self.app, component, folder, open_executor, 1)

    def behaviours(self, on_progress: Callable[[int, int], None]) -> Iterator[Behaviour]:
        """Of every combination of variants, the bytes of tensors at cuts included. Raises InputError for wrong data."""
        for behaviour in measure_behaviour(self.document, self.work, on_progress):
            payloads = {**behaviour.payloads, **self._cut_sizes(behaviour.variants)}
            yield behaviour.model_copy(update={"payloads": payloads})

    def _cut_sizes(self, variants: Mapping[str, str]) -> dict[str, PayloadSize]:
        """Each tensor at a declared cut of a chosen variant has one size, as the artefacts say."""
        sizes: dict[str, PayloadSize] = {}
        for component, variant in variants.items():
            for segment in self.targets.atoms(component, variant):
                if segment.end and (component, variant) not in self.targets.found:
                    made = read_artefact(self.built[self.targets.reference(component, variant, segment).key])
                    for name, kind in made.outputs.items():
                        sizes[f"{component}@{name}"] = PayloadSize.constant(float(kind.size or 0))
        return sizes

    def samples(self) -> dict[Part, list[Sample]]:
        """Inputs of every part, from items spread over all of the data. Raises InputError for a part that none runs."""
        chains = {
            (name, variant): [self.work(name, variant, segment) for segment in self.targets.atoms(name, variant)]
            for name, component in self.app.components.items()
            for variant in component.realisations
        }
        references = [(v, Reference(self.app, {c: chains[c, x] for c, x in v.items()}, v)) for v in self.combinations]
        found: dict[Part, list[Sample]] = {(c, v, s): [] for c, v in chains for s in self.targets.segments(c, v)}
        for item in self._items():
            memo: Memo = {}
            # A variant runs in many combinations: each gives one item's inputs once.
            seen: set[Part] = set()
            for variants, reference in references:
                outcome = reference.run(item, memo)
                for component in outcome.runs:
                    variant = variants[component]
                    for segment in self.targets.segments(component, variant):
                        part = (component, variant, segment)
                        if len(found[part]) < SAMPLES and part not in seen:
                            found[part] += self._inputs(component, segment, outcome.values)
                            seen.add(part)
            if all(len(kept) >= SAMPLES for kept in found.values()):
                break
        missing = sorted({f"{c}/{v}" for (c, v, _), kept in found.items() if not kept})
        if missing:
            place = self.document.place("data")
            raise InputError(Issue(f"no item of the data runs {', '.join(missing)}", place, "add items that do"))
        return found

    def _items(self) -> Iterator[Item]:
        refs = [ref for data in self.app.data for ref in read_items(self.app, data, self.document.folder)]
        step = max(1, len(refs) // ITEMS_TRIED)
        spread = [ref for start in range(step) for ref in refs[start::step]]
        yield from (ref.read() for ref in spread[:ITEMS_TRIED])

    def _inputs(self, component: str, segment: Segment, values: Mapping[str, Value]) -> list[Sample]:
        """What a part takes of one request's `values`, each item of a fan-out on its own; models take a batch."""
        if segment.begin:
            return [{tensor: with_batch(values[f"{component}@{tensor}"]) for tensor in segment.begin}]
        spec = self.app.components[component]
        given: dict[str, Value] = {}
        for name, ref in spec.inputs.items():
            skipped = ref.from_ not in values
            given[name] = filled(self.types[ref.from_], ref.if_skipped or 0.0, name) if skipped else values[ref.from_]
        items = item_inputs(self.app, component)
        every = split(given, items, component) if items else [given]
        if any(v.function for v in spec.realisations.values()):
            return [dict(each) for each in every]
        return [{name: with_batch(value) for name, value in each.items() if value is not None} for each in every]

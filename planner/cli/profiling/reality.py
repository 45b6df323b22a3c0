"""What really happens on the application's data: behaviour, and real inputs for every part that is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final

from planner.cli.profiling.targets import Target, Targets, sides_of
from runtime.executors import open_executor
from runtime.fan_out import split
from runtime.reference.behaviour import Choice, LeftOut, measure_behaviour, measure_choices
from runtime.reference.items import Item, read_items
from runtime.reference.pipeline import Memo, Reference
from runtime.stages.encoding import as_on_wire
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.stages.work import Work, open_function, open_model
from runtime.values import Value, filled, with_batch
from specs.application import Application
from specs.artefact import WHOLE, ModelSignature, Segment
from specs.artefact_folder import read_artefact
from specs.behaviour import Behaviour, PayloadSize
from specs.codec import codec_of_cut, on_wire, plain_names
from specs.errors import InputError, Issue
from specs.fan_out import item_inputs
from specs.load import Document
from specs.support import MOST_COMBINATIONS
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
        if not self.app.components[component].realisations[variant].is_model:
            return open_function(self.app, component, variant, self.document.folder, self.types, self.secrets)
        folder = self.built[self.targets.reference(component, variant, segment).key]
        return open_model(self.app, component, folder, open_executor, 1)

    def behaviours(self, on_progress: Callable[[int, int], None]) -> Iterator[Behaviour]:
        """Of every combination of variants, the bytes of tensors at cuts included. Raises InputError for wrong data."""
        for behaviour in measure_behaviour(self.document, self.work, on_progress):
            payloads = {**behaviour.payloads, **self._cut_sizes(behaviour)}
            yield behaviour.model_copy(update={"payloads": payloads})

    def chain(self, component: str, variant: str, wire: tuple[str, ...]) -> list[Work]:
        """A component whole, or in two parts with the tensors of `wire` encoded between."""
        if not wire:
            return [self.work(component, variant)]
        parts = zip(sides_of(plain_names(wire)), sides_of(wire), strict=True)
        return [self._encoded(component, variant, plain, coded) for plain, coded in parts]

    def _encoded(self, component: str, variant: str, plain: Segment, coded: Segment) -> Work:
        folder = self.built[self.targets.reference(component, variant, plain).key]
        return as_on_wire(open_model(self.app, component, folder, open_executor, 1), coded)

    def wires(self, component: str, variant: str) -> list[tuple[str, ...]]:
        """What may cross the encoded cuts of a model, by its names on the wire."""
        codecs = self.app.components[component].encodings
        cuts = self.targets.cuts(component, variant) if codecs else ()
        found: list[tuple[str, ...]] = []
        for cut in cuts:
            made = read_artefact(self.built[self.targets.reference(component, variant, sides_of(cut)[0]).key])
            named = (on_wire({tensor: made.outputs[tensor] for tensor in cut}, codec) for codec in codecs)
            found += [wire for wire in named if wire is not None]
        return found

    @cached_property
    def encoded_choices(self) -> list[dict[str, Choice]]:
        """Every choice of a variant, and of an encoded cut or none, for each component, with one at least.

        Raises InputError for a codec that takes none of a component's tensors, and where there are too many.
        """
        choices: dict[str, list[Choice]] = {}
        for name, component in self.app.components.items():
            wires = {v: self.wires(name, v) for v in component.realisations}
            choices[name] = [(v, wire) for v in wires for wire in [(), *wires[v]]]
            for codec in component.codecs:
                used = any(codec_of_cut(wire) == codec for _, wire in choices[name])
                if codec != "none" and not used and any(self.targets.cuts(name, v) for v in wires):
                    place = self.document.place("components", name, "split", "codec")
                    hint = "fp16 and int8 take f32 tensors"
                    raise InputError(Issue(f"no tensor at a cut of {name} is one that {codec} takes", place, hint))
        count = prod(map(len, choices.values()))
        if count > MOST_COMBINATIONS:
            most = f"at most {MOST_COMBINATIONS:,}"
            what = f"not supported yet: {count:,} combinations of variants and encoded cuts ({most})"
            raise InputError(Issue(what, self.document.place("components"), "leave variants or codecs out"))
        every = [dict(zip(choices, chosen, strict=True)) for chosen in product(*choices.values())]
        return [choice for choice in every if any(wire for _, wire in choice.values())]

    def encoded_behaviours(
        self, choices: Sequence[Mapping[str, Choice]], on_progress: Callable[[int, int], None], on_left_out: LeftOut
    ) -> Iterator[Behaviour]:
        """Of these choices, the bytes of encoded tensors included, but for those that some item's tensors rule out.

        Raises InputError for wrong data.
        """
        return measure_choices(self.document, choices, self.chain, on_progress, on_left_out)

    def on_wire(self, target: Target) -> list[Target]:
        """The same artefact once for each way in which what crosses its cut may be encoded."""
        segment = target.job.segment
        if segment.is_whole or (segment.begin and segment.end):
            return []
        wires = [w for w in self.wires(target.component, target.variant) if segment in sides_of(plain_names(w))]
        return [replace(target, on_wire=sides_of(wire)[bool(segment.begin)]) for wire in wires]

    def _cut_sizes(self, behaviour: Behaviour) -> dict[str, PayloadSize]:
        """Each tensor at a declared cut of a chosen variant has one size in each run, as the artefacts say."""
        sizes: dict[str, PayloadSize] = {}
        for component, variant in behaviour.variants.items():
            for segment in self.targets.atoms(component, variant):
                if segment.end and (component, variant) not in self.targets.found:
                    made = read_artefact(self.built[self.targets.reference(component, variant, segment).key])
                    for name, kind in made.outputs.items():
                        sizes[f"{component}@{name}"] = behaviour.cut_size(component, float(kind.size or 0))
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
                        if len(found[part]) < self._enough(component) and part not in seen:
                            found[part] += self._inputs(component, segment, outcome.values)
                            seen.add(part)
            if all(len(kept) >= self._enough(c) for (c, *_), kept in found.items()):
                break
        missing = sorted({f"{c}/{v}" for (c, v, _), kept in found.items() if not kept})
        if missing:
            place = self.document.place("data")
            raise InputError(Issue(f"no item of the data runs {', '.join(missing)}", place, "add items that do"))
        return found

    def _enough(self, component: str) -> int:
        """What remembers is as slow as it has seen much: it sees all."""
        return SAMPLES if self.app.components[component].state is None else ITEMS_TRIED

    def _items(self) -> Iterator[Item]:
        refs = [ref for data in self.app.data for ref in read_items(self.app, data, self.document.folder)]
        step = max(1, len(refs) // ITEMS_TRIED)
        spread = [ref for start in range(step) for ref in refs[start::step]]
        yield from (ref.read() for ref in spread[:ITEMS_TRIED])

    def _inputs(self, component: str, segment: Segment, values: Mapping[str, Value]) -> list[Sample]:
        """What a part takes of one request's `values`, each item of a fan-out on its own; models take a batch."""
        spec = self.app.components[component]
        if segment.begin:
            crossed: dict[str, Value | None] = {tensor: values[f"{component}@{tensor}"] for tensor in segment.begin}
            parts = split(crossed, frozenset(crossed), component) if spec.per else [crossed]
            return [
                {tensor: with_batch(value) for tensor, value in part.items() if value is not None} for part in parts
            ]
        given: dict[str, Value] = {}
        for name, ref in spec.inputs.items():
            skipped = ref.from_ not in values
            given[name] = filled(self.types[ref.from_], ref.if_skipped or 0.0, name) if skipped else values[ref.from_]
        items = item_inputs(self.app, component)
        every = split(given, items, component) if items else [given]
        if not spec.is_models:
            return [dict(each) for each in every]
        return [{name: with_batch(value) for name, value in each.items() if value is not None} for each in every]

"""What there is to build: every model of an application, in parts between its cuts, by backend and threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, product

from compiler.backends import BACKENDS, backend, installed
from compiler.given import Given
from compiler.job import Job, job
from compiler.remote.place import RemoteClass, for_device
from compiler.store import Store
from compiler.tuning.records import as_tuned
from planner.situation import CutPoints
from specs.application import Application, Component, Cuts
from specs.artefact import WHOLE, Buckets, ModelBackend, Segment
from specs.codec import plain_segment
from specs.load import Document
from specs.plan import Assignment


@dataclass(frozen=True, slots=True)
class Target:
    """One artefact to build and measure; with tensors encoded at its ends, as `on_wire` names them."""

    component: str
    variant: str
    job: Job
    on_wire: Segment | None = None

    @property
    def segment(self) -> Segment:
        """As plans name it."""
        return self.job.segment if self.on_wire is None else self.on_wire

    @property
    def name(self) -> str:
        part = "" if self.segment.is_whole else f"[{self.segment}]"
        threads = f", {self.job.threads} threads" if self.job.threads > 1 else ""
        batch = f", {self.job.batch} at once" if self.job.batch > 1 else ""
        return f"{self.component}/{self.variant}{part} {self.job.backend}{threads}{batch}"


def buckets_of(component: Component) -> Buckets | None:
    """What the models of a component are compiled for, where it has ``dims``."""
    if component.dimension is None:
        return None
    name, spec = component.dimension
    return Buckets(name=name, sizes=tuple(spec.buckets), pad=spec.pad)


def sides_of(cut: tuple[str, ...]) -> tuple[Segment, Segment]:
    """The two parts of a model that is cut here alone."""
    return Segment(end=cut), Segment(begin=cut)


@dataclass(frozen=True)
class Targets:
    """The targets of an application on this machine. By (component, variant), `models` are its models, and `found` the
    cuts of those that may be split anywhere. With a `store`, jobs have the choices that tuning left there."""

    app: Document[Application]
    models: Mapping[tuple[str, str], Given]
    found: Mapping[tuple[str, str], CutPoints] = field(default_factory=dict)
    store: Store | None = None

    def planned(self, a: Assignment, backend: ModelBackend, lent: Mapping[str, RemoteClass]) -> Job:
        """What a plan runs by `backend`, for the devices of its class where they are `lent`."""
        asked = self.job(a.component, a.variant, backend, a.threads, plain_segment(a.segment), a.batch)
        return for_device(asked, lent.get(a.hardware))

    def cuts(self, component: str, variant: str) -> CutPoints:
        """Where a variant may be cut: as declared, or as found."""
        split = self.app.value.components[component].split
        return split.tensors(variant) if isinstance(split, Cuts) else self.found.get((component, variant), ())

    @cached_property
    def _bases(self) -> dict[tuple[str, str, ModelBackend], Job]:
        found: dict[tuple[str, str, ModelBackend], Job] = {}
        for name, component in self.app.value.components.items():
            for variant, real in component.realisations.items():
                if real.is_model:
                    first = job(self.models[name, variant], BACKENDS[0], buckets=buckets_of(component))
                    for kind in BACKENDS:
                        update = {"backend": kind, "target": backend(kind).target()}
                        found[name, variant, kind] = first.model_copy(update=update)
        return found

    def job(
        self, component: str, variant: str, kind: ModelBackend, threads: int, segment: Segment, batch: int = 1
    ) -> Job:
        base = self._bases[component, variant, kind]
        asked = base.model_copy(update={"threads": threads, "segment": segment, "batch": batch})
        return asked if self.store is None else as_tuned(asked, self.store)

    def reference(self, component: str, variant: str, segment: Segment = WHOLE) -> Job:
        """What all others are compared with: ONNX Runtime on one thread."""
        return self.job(component, variant, "onnxruntime", 1, segment)

    def references(self) -> Iterator[Target]:
        """The reference of every part of every model."""
        for name, component in self.app.value.components.items():
            for variant, real in component.realisations.items():
                if real.is_model:
                    for segment in self.known_segments(name, variant):
                        yield Target(name, variant, self.reference(name, variant, segment))

    def measured(self, cores: int, only: tuple[str, ...]) -> Iterator[Target]:
        """What to measure for devices of up to `cores`; threads are powers of two."""
        threads = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= cores]
        for name, component in self.app.value.components.items():
            backends = [b for b in installed() if component.backends is None or b in component.backends]
            for variant, real in component.realisations.items():
                if real.is_model and (not only or name in only):
                    known = (WHOLE,) if component.cut_anywhere else self.segments(name, variant)
                    for segment, kind, count, batch in product(known, backends, threads, component.batch_sizes):
                        yield Target(name, variant, self.job(name, variant, kind, count, segment, batch))

    def segments(self, component: str, variant: str) -> tuple[Segment, ...]:
        """Every contiguous part of a variant between its cuts, the whole first."""
        edges = self._edges(component, variant)
        parts = [Segment(begin=a, end=b) for i, a in enumerate(edges[:-1]) for b in edges[i + 1 :]]
        return tuple(sorted(parts, key=lambda part: not part.is_whole))

    def known_segments(self, component: str, variant: str) -> tuple[Segment, ...]:
        """What is built before it is known what a plan would like: every part between declared cuts, the whole and
        the atoms between found ones, and both sides of each where codecs are asked for."""
        if not self.app.value.components[component].cut_anywhere:
            return self.segments(component, variant)
        sides = [side for cut in self.cuts(component, variant) for side in sides_of(cut)]
        encoded = sides if self.app.value.components[component].encodings else []
        return tuple(dict.fromkeys((WHOLE, *self.atoms(component, variant), *encoded)))

    def atoms(self, component: str, variant: str) -> tuple[Segment, ...]:
        """The parts between neighbouring cuts, from the model's inputs to its outputs."""
        return tuple(Segment(begin=a, end=b) for a, b in pairwise(self._edges(component, variant)))

    def _edges(self, component: str, variant: str) -> list[tuple[str, ...]]:
        return [(), *self.cuts(component, variant), ()]

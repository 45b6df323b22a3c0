"""Estimates for hardware that this machine can stand for in no way: of an application's parts, or of one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Final

import onnx

from compiler.cut import extract
from compiler.estimate.estimate import Place, backends_for, estimate, function_record, place_of, record
from compiler.estimate.operators import work_of
from compiler.given import Given
from compiler.host import clock
from compiler.model import load_model, prepare
from planner.cli.ledger import Ledger
from planner.cli.profiling.targets import Targets
from planner.situation import source_digests, standing
from specs.application import Application
from specs.artefact import Segment
from specs.catalogue import entry_of
from specs.errors import InputError
from specs.infrastructure import Hardware, Infrastructure
from specs.load import Document
from specs.profile import Record, read_records, winners

ESTIMATES_FILE: Final = "estimates.jsonl"
THREADS: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Estimator:
    """Of one application. `problem` is told what happened, and of what: here what cannot be estimated."""

    app: Document[Application]
    infra: Infrastructure
    models: Mapping[tuple[str, str], Given]
    only: tuple[str, ...]
    problem: Callable[[str, str], None]

    @cached_property
    def places(self) -> list[tuple[Place, Hardware]]:
        """Classes in use, by sites or fleets, that this machine can stand for in no way."""
        used = self.infra.hardware_in_use
        found: list[tuple[Place, Hardware]] = []
        for name in sorted(used & self.infra.hardware.keys()):
            spec = self.infra.hardware[name]
            if spec.emulate is None and spec.device != "here":
                try:
                    found.append((place_of(name, spec), spec))
                except InputError as error:
                    self.problem("not estimated", str(error))
        return found

    def records(self, measured: Sequence[Record]) -> Iterator[Record]:
        """Of every model, segment, backend and number of threads; of functions, from those `measured` here."""
        if not self.places:
            return
        digests = source_digests(self.app)
        for name, component in self.app.value.components.items():
            if self.only and name not in self.only:
                continue
            for variant, real in component.realisations.items():
                source = digests[f"{name}/{variant}"]
                if real.quantize is not None:
                    self.problem("not estimated", f"{name}/{variant}: the estimates are not calibrated for int8")
                elif real.api is not None:
                    if real.api.latency is None:
                        self.problem("not estimated", f"{name}: a hosted API: declare its latency")
                elif real.model is not None:
                    for segment in Targets(self.app, self.models).segments(name, variant):
                        yield from self._model(source, name, variant, segment)
                else:
                    yield from self._function(f"{name}/{variant}", source, measured)

    def _model(self, source: str, name: str, variant: str, segment: Segment) -> Iterator[Record]:
        given = self.models[name, variant]
        component = self.app.value.components[name]
        if component.dims:
            text = f"{name}/{variant}: an estimate is of one size, not of the buckets in dims"
            self.problem("not estimated", text)
            return
        work = work_of(extract(_prepared(given.file, given.name), segment, given.name))
        allowed = self.app.value.components[name].backends
        for place, spec in self.places:
            entry = entry_of(spec)
            known = backends_for(entry.target if entry else "")
            backends = [b for b in known if allowed is None or b in allowed]
            if not backends:
                self.problem("not estimated", f"{name}/{variant} on {place.name}: none of its backends is calibrated")
            for backend, threads in product(backends, (n for n in THREADS if n <= place.cores)):
                yield record(source, str(segment), backend, threads, place, estimate(work, backend, threads, place))

    def _function(self, name: str, source: str, measured: Sequence[Record]) -> Iterator[Record]:
        here = next((r for r in measured if r.source == source and r.provenance != "estimated"), None)
        hertz = clock()
        if here is None or hertz is None:
            lacking = "its time on this machine" if here is None else "this machine's clock"
            self.problem("not estimated", f"{name}: a function's estimate rests on {lacking}, which is not known")
            return
        slowed = here.emulated_by.cpu if here.emulated_by else 1.0
        for place, _ in self.places:
            yield function_record(here, place, slowed * hertz)


@cache
def _prepared(file: Path, name: str) -> onnx.ModelProto:
    return prepare(load_model(file), {}, name)


def add_estimates(estimator: Estimator, folder: Path) -> int:
    """Write the estimates of what was not measured and that `folder` does not hold yet; how many those are."""
    records = read_records(folder)
    won = standing(records, estimator.infra)
    known = {_said(r) for r in won}
    measured = {r.way for r in won if r.provenance != "estimated"}
    found = estimator.records(list(winners(records).values()))
    fresh = [r for r in found if r.way not in measured and _said(r) not in known]
    ledger = Ledger(folder / ESTIMATES_FILE)
    for each in fresh:
        ledger.append(each)
    return len(fresh)


def _said(record: Record) -> str:
    """What a record says, but for when."""
    return record.model_copy(update={"measured_at": ""}).model_dump_json()

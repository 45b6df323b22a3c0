"""Models of an application on the devices that a tracker lends: compiled for them, checked and measured there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.cut import extract
from compiler.estimate.estimate import memory_of
from compiler.estimate.operators import work_of
from compiler.model import load_model, prepare
from compiler.remote.measure import RemoteSubject, measure_remotely
from compiler.remote.place import BACKEND, RemoteClass, for_device
from planner.cli.ending import ended
from planner.cli.ledger import Ledger
from planner.cli.profiling.targets import Target, Targets
from runtime.executors import open_executor
from specs.artefact import Segment
from specs.errors import EnvironmentFailed, Issue
from specs.profile import Record
from specs.selector import matching_sites

if TYPE_CHECKING:
    from compiler.remote.tracker import Tracker
    from planner.cli.profiling.profiler import Outcome, Profiler
    from planner.cli.profiling.reality import Part, Sample


@dataclass(frozen=True, slots=True)
class LentTarget:
    """A target whose job is for the devices of a class."""

    place: RemoteClass
    target: Target

    @property
    def name(self) -> str:
        return f"{self.target.name} on {self.place.name}"


def lent_targets(targets: Iterable[Target], place: RemoteClass) -> Iterator[LentTarget]:
    """Of `targets` those that RPC can run, for the devices of `place`."""
    for t in targets:
        if t.job.backend == BACKEND and t.job.buckets is None and t.job.threads <= place.cores:
            yield LentTarget(place, Target(t.component, t.variant, for_device(t.job, place)))


def left_out(profiler: Profiler, places: Collection[RemoteClass]) -> Iterator[Issue]:
    """What RPC cannot run on those of these classes on which it may run, at the line that asks for it."""
    infra = profiler.infra.value
    for name, component in profiler.app.value.components.items():
        sites = infra.sites if component.at is None else matching_sites(component.at, infra)
        used = {pool.hardware for site in sites for pool in infra.sites[site].pools.values()}
        names = ", ".join(place.name for place in places if place.name in used)
        if not names or (profiler.only and name not in profiler.only):
            continue
        for variant, real in component.realisations.items():
            inside = ("variants", variant) if component.variants else ()
            if real.function is not None:
                what, at = "functions", (*inside, "function")
            elif real.api is not None and real.api.latency is None:
                place = profiler.app.place("components", name, "api")
                text = f"{name} on {names}: RPC cannot call hosted APIs"
                yield Issue(text, place, "declare its latency, or pin it elsewhere with at")
                continue
            elif component.backends is not None and BACKEND not in component.backends:
                what, at = f"artefacts for {' and '.join(component.backends)}", ("backends",)
            elif component.dims:
                what, at = "models with buckets yet", ("dims",)
            else:
                continue
            place = profiler.app.place("components", name, *at)
            hint = "pin it elsewhere with at; --estimate gives a plan, but no bundle"
            yield Issue(f"{name}/{variant} on {names}: RPC cannot run {what}", place, hint)
        if component.encodings:
            place = profiler.app.place("components", name, "split", "codec")
            yield Issue(f"{name} on {names}: RPC cannot run codecs", place, "its parts there cross plain")


def measure_lent(
    profiler: Profiler,
    tracker: Tracker,
    wanted: Sequence[LentTarget],
    built: Mapping[str, Path],
    samples: Mapping[Part, Sequence[Sample]],
    of: tuple[Targets, Ledger],
    known: Collection[Record],
    outcome: Outcome,
) -> None:
    """Measure what is built and not `known`; `of` are the targets of the references, and where records go."""
    targets, records = of
    have = {(r.artefact, r.hardware, r.rpc) for r in known}
    subjects: list[RemoteSubject] = []
    names: dict[int, str] = {}
    for lent in wanted:
        job, place = lent.target.job, lent.place
        if job.key not in built:
            continue
        if (job.key, place.name, place.key) in have:
            outcome.kept += 1
            continue
        part = (lent.target.component, lent.target.variant, job.segment)
        reference = built[targets.reference(*part).key]
        memory = _memory(Path(job.file or job.model), job.model, job.segment, job.batch)
        subjects.append(RemoteSubject(place, built[job.key], reference, samples[part], memory))
        names[id(subjects[-1])] = lent.name
    try:
        with ended(measure_remotely(subjects, tracker, open_executor, profiler.budget, profiler.say)) as outcomes:
            for done, found in enumerate(outcomes, 1):
                name = names[id(found.subject)]
                if found.record is None:
                    profiler.problem(outcome, "not measured", f"{name}: {found.error}")
                    continue
                records.append(found.record)
                outcome.measured += 1
                p50 = 1000 * found.record.latency.quantiles["0.5"]
                where = f"{name}, {found.record.host}"
                profiler.step(f"measured {done} of {len(subjects)}: {where}: p50 {p50:.3g} ms")
    except EnvironmentFailed as error:
        profiler.problem(outcome, "not measured", f"{', '.join(sorted({s.place.name for s in subjects}))}: {error}")


@cache
def _memory(file: Path, name: str, segment: Segment, batch: int) -> float:
    """Bytes that a part of a model is estimated to hold at the peak, on any device."""
    return memory_of(work_of(extract(prepare(load_model(file), {}, name, batch), segment, name)), BACKEND)

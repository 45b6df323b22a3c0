"""Profiles an application: builds, checks, measures. What is known already is left out, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from compiler.build import build_all
from compiler.given import Given
from compiler.host import host
from compiler.measure import (
    ArtefactSubject,
    Budget,
    FunctionSubject,
    HardwareClass,
    Subject,
    classes,
    measure_all,
)
from compiler.measure import Outcome as Measurement
from compiler.numerics import check
from compiler.remote.place import RemoteClass
from compiler.remote.tracker import Tracker
from compiler.samples import in_groups, joined
from compiler.store import Store
from planner.cli.devices import lent_classes
from planner.cli.ending import ended
from planner.cli.ledger import Ledger
from planner.cli.profiling.again import Again
from planner.cli.profiling.calls import CALL_BUDGET, announce_calls, measured_apis
from planner.cli.profiling.confirm import confirm
from planner.cli.profiling.estimates import Estimator, add_estimates
from planner.cli.profiling.found import found_cuts
from planner.cli.profiling.lengths import by_bucket
from planner.cli.profiling.reality import Part, Reality, Sample
from planner.cli.profiling.remote import left_out, lent_targets, measure_lent
from planner.cli.profiling.targets import Target, Targets
from planner.hub.rows import fresh
from planner.inputs.mixes import knows_lengths, mixes_of
from planner.situation import source_digests
from runtime.executors import open_executor
from runtime.machine import host_name
from runtime.reference.behaviour import Choice, combination_of
from runtime.stages.codec import NotEncodable
from runtime.stages.encoding import sample_on_wire
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.stages.served import open_served_function, open_served_model
from runtime.stages.work import environment_of, token_of
from specs.application import DEFAULT_VARIANT, Application
from specs.artefact import WHOLE, ModelSignature
from specs.artefact_folder import read_artefact
from specs.behaviour import Behaviour
from specs.emulation import NOT_HERE
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, Issue, NotKnown
from specs.infrastructure import Infrastructure, RpcDevice
from specs.load import Document
from specs.profile import BEHAVIOUR_FILE, HOPS_FILE, HopOverhead, Record, read_jsonl, read_records, winners

RECORDS_FILE: Final = "profiles.jsonl"
HOP_SIZES: Final = (1_000, 10_000, 100_000, 1_000_000, 4_000_000)
"""Bytes of the messages whose overhead is measured."""

Say = Callable[[str], None]


def _both(first: Iterator[Measurement], second: Iterator[Measurement]) -> Iterator[Measurement]:
    yield from first
    yield from second


@dataclass
class Outcome:
    """What a profile did, and what it could not do, in words."""

    measured: int = 0
    kept: int = 0
    estimated: int = 0
    behaviours: int = 0
    hops: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """What a profile stands on: what can be built (`built`, folders by key, grows), and real inputs of every part."""

    targets: Targets
    reality: Reality
    built: dict[str, Path]
    samples: Mapping[Part, Sequence[Sample]]
    hardware: Sequence[HardwareClass]
    lent: Sequence[RemoteClass] = ()


@dataclass(frozen=True)
class Profiler:
    """Profiles one application into `folder`; with `only`, measures those components alone.

    `confirming` bounds the seconds in which parts of models are measured that the solver would choose. `say` tells a
    line that stays, `step` how far it is. With `estimate`, classes that this machine can stand for in no way get
    estimates. With a `tracker`, classes with `device: {rpc: KEY}` are measured on the devices that it lends.
    `again` measures what was disturbed once more. Calls of hosted APIs may cost `most_spend`, in the infrastructure's
    currency.
    """

    app: Document[Application]
    infra: Document[Infrastructure]
    signatures: Mapping[tuple[str, str], ModelSignature]
    models: Mapping[tuple[str, str], Given]
    folder: Path
    store: Store
    budget: Budget
    confirming: float
    only: tuple[str, ...]
    say: Say
    step: Say
    most_spend: float
    estimate: bool = False
    again: bool = False
    secrets: Secrets = NO_SECRETS
    tracker: Tracker | None = None

    def run(self) -> Outcome:
        """Do what is missing. Raises InputError where the data, a model or a function is wrong, or calls cost more."""
        outcome = Outcome()
        lent = self._lent()
        hardware = self._hardware(outcome, lent)
        for issue in left_out(self, lent):
            self.problem(outcome, "left out", str(issue))
        announce_calls(self.app, self.infra.value, self.most_spend, self.say)
        self._behaviour(outcome)
        found = found_cuts(self)
        targets = Targets(self.app, self.models, found, self.store)
        measured = list(targets.measured(min(max((h.cores for h in hardware), default=0), host().cores), self.only))
        abroad = [t for p in lent for t in lent_targets(targets.measured(p.cores, self.only), p)]
        built = self._build([*measured, *(t.target for t in abroad)], list(targets.references()), outcome)
        reality = Reality(self.app, self.signatures, targets, built, self.secrets)
        self._encoded_behaviour(reality, outcome)
        mixes = self._mixes()
        samples = reality.samples()
        records = Ledger(self.folder / RECORDS_FILE)
        # A record of an artefact that would now be made otherwise (by a newer compiler, say) is measured again.
        current = {"", *built}
        before = winners(read_records(self.folder))
        known = {k: r for k, r in before.items() if r.artefact in current and not self.is_repeated(r)}
        proven = {record.artefact for record in known.values()}
        sound = [t for t in measured if t.job.key in built]
        sound = [t for t in sound if t.job.key in proven or self._sound(t, reality, samples, outcome)]
        sound += [t for plain in sound if self._cut_as_declared(plain) for t in reality.on_wire(plain)]
        self._measure(hardware, dict(self._subjects(sound, built, samples, mixes)), known.keys(), records, outcome)
        if self.tracker is not None:
            measure_lent(self, self.tracker, abroad, built, samples, (targets, records), known.values(), outcome)
        self._hops(outcome)
        if self.estimate:
            estimator = Estimator(self.app, self.infra.value, self.models, self.only, partial(self.problem, outcome))
            outcome.estimated = add_estimates(estimator, self.folder)
        if any(found.values()):
            confirm(self, Measured(targets, reality, built, samples, hardware, lent), outcome)
        return outcome

    def measure_parts(self, parts: Sequence[Target], of: Measured, outcome: Outcome) -> None:
        """Build, check and measure parts of models, each beside its reference."""
        references = [
            Target(p.component, p.variant, of.targets.reference(p.component, p.variant, p.job.segment)) for p in parts
        ]
        plain = [p for p in parts if p.on_wire is None]
        abroad = [t for place in of.lent for t in lent_targets(plain, place)]
        of.built.update(self._build([*parts, *(t.target for t in abroad)], references, outcome))
        built = {p.job.key: p for p in parts if p.job.key in of.built}
        checked = {key for key, p in built.items() if self._sound(p, of.reality, of.samples, outcome)}
        sound = [p for p in parts if p.job.key in checked]
        subjects = dict(self._subjects(sound, of.built, of.samples, {}, functions=False))
        ledger = Ledger(self.folder / RECORDS_FILE)
        self._measure(of.hardware, subjects, (), ledger, outcome)
        if self.tracker is not None:
            measure_lent(self, self.tracker, abroad, of.built, of.samples, (of.targets, ledger), (), outcome)

    def is_repeated(self, record: Record) -> bool:
        """Whether `record` is to be measured once more."""
        return self.again and self._again.is_for(record)

    @cached_property
    def _again(self) -> Again:
        return Again(self.app.value, self.tracker is not None)

    def _lent(self) -> list[RemoteClass]:
        """Classes in use whose devices the tracker lends. Raises InputError as `lent_classes`."""
        known = lent_classes(self.infra)
        return [known[name] for name in sorted(self.infra.value.hardware_in_use & known.keys()) if self.tracker]

    def _hardware(self, outcome: Outcome, lent: Sequence[RemoteClass]) -> list[HardwareClass]:
        """Classes in use that this machine can stand for; says which it cannot, and are not `lent` either."""
        used = self.infra.value.hardware_in_use
        found = [c for c in classes(self.infra.value.hardware) if c.name in used]
        if self.estimate:
            return found
        for name in sorted(used - {c.name for c in found} - {place.name for place in lent}):
            spec = self.infra.value.hardware.get(name)
            by_rpc = spec is not None and isinstance(spec.device, RpcDevice)
            why = "its devices are lent: say --tracker HOST:PORT" if by_rpc else f"it says {NOT_HERE}"
            self.problem(outcome, "not measured here", f"hardware {name}: {why}; or say --estimate")
        if not found and not lent:
            raise InputError(Issue("this machine can stand for no hardware in use", None, "add emulate: {cpu: ...}"))
        return found

    def problem(self, outcome: Outcome, kind: str, text: str) -> None:
        outcome.problems.append(f"{kind}: {text}")
        self.say(outcome.problems[-1])

    def _build(self, measured: Sequence[Target], references: Sequence[Target], outcome: Outcome) -> dict[str, Path]:
        """Folders by key. Raises the error of a reference that cannot be built: without it nothing can be known."""
        named = {t.job.key: t for t in [*measured, *references]}
        vital = {t.job.key for t in references}
        built: dict[str, Path] = {}
        refused: dict[str, None] = {}
        with ended(build_all([t.job for t in named.values()], self.store)) as results:
            for number, result in enumerate(results, 1):
                target = named[result.job.key]
                if result.folder is not None:
                    built[result.job.key] = result.folder
                    if not result.cached:
                        self.step(f"compiled {number} of {len(named)}: {target.name}")
                elif result.error is not None and result.job.key in vital:
                    raise result.error
                elif result.job.batch > 1 and isinstance(result.error, InputError):
                    refused[f"{target.component}/{target.variant}: {result.error}"] = None
                else:
                    self.problem(outcome, "not compiled", f"{target.name}: {result.error}")
        for text in refused:  # one reason for all sizes, and mostly for all backends and threads
            self.problem(outcome, "not in batches", text)
        return built

    def _behaviour(self, outcome: Outcome) -> None:
        """Measure how requests behave, unless it is known of exactly these models, functions and data.

        It needs the references alone, which are there in seconds: a mistake in a function or in the data shows before
        anything is compiled or measured.
        """
        ledger = Ledger(self.folder / BEHAVIOUR_FILE)
        fresh = [b.variants for b in self._known_behaviours() if knows_lengths(b, self.app.value)]
        targets = Targets(self.app, self.models)
        if all(variants in fresh for variants in Reality(self.app, self.signatures, targets, {}).combinations):
            return
        built = self._build([], list(targets.references()), outcome)
        reality = Reality(self.app, self.signatures, targets, built, self.secrets)

        def tell(done: int, total: int) -> None:
            if done % 25 == 0 or done == total:
                self.step(f"reference pipeline: {done} of {total} items")

        for behaviour in reality.behaviours(tell):
            ledger.append(behaviour)
            outcome.behaviours += 1

    def _known_behaviours(self) -> list[Behaviour]:
        """Those measured with the models, functions and all the data that there are now."""
        file, digests = self.folder / BEHAVIOUR_FILE, source_digests(self.app)
        data = {key for key in digests if key.startswith("data:")}
        known = read_jsonl(file, Behaviour) if file.exists() else []
        return [b for b in known if data <= set(b.inputs) and b.is_of(digests)]

    def _encoded_behaviour(self, reality: Reality, outcome: Outcome) -> None:
        """As `_behaviour`, of what is not known of requests whose tensors cross cuts encoded."""
        known = {b.combination for b in self._known_behaviours()}
        missing = [choice for choice in reality.encoded_choices if combination_of(choice) not in known]

        def tell(done: int, total: int) -> None:
            if done % 25 == 0 or done == total:
                self.step(f"reference pipeline with codecs: {done} of {total} items")

        told: set[tuple[str, tuple[str, ...]]] = set()

        def leave_out(choice: Mapping[str, Choice], why: NotEncodable) -> None:
            _, wire = choice[why.component]
            if (why.component, wire) not in told:
                told.add((why.component, wire))
                self.problem(outcome, "left out", f"{why.component} cut at {'+'.join(wire)}: {why}")

        ledger = Ledger(self.folder / BEHAVIOUR_FILE)
        for behaviour in reality.encoded_behaviours(missing, tell, leave_out) if missing else ():
            ledger.append(behaviour)
            outcome.behaviours += 1

    def _cut_as_declared(self, target: Target) -> bool:
        return not self.app.value.components[target.component].cut_anywhere

    def _mixes(self) -> dict[str, dict[int, float]]:
        """The shares of requests in each bucket, by component with ``dims``."""
        file = self.folder / BEHAVIOUR_FILE
        app = self.app.value
        known = read_jsonl(file, Behaviour) if file.exists() and any(c.dims for c in app.components.values()) else []
        return mixes_of(app, fresh(known, source_digests(self.app)))

    def _sound(
        self, target: Target, reality: Reality, samples: Mapping[Part, Sequence[Sample]], outcome: Outcome
    ) -> bool:
        """Whether an artefact computes on real inputs what ONNX Runtime does with each of them alone.

        Its record proves that it was checked.
        """
        if target.job.backend == "onnxruntime" and target.job.batch == 1:
            return True
        part = (target.component, target.variant, target.job.segment)
        reference = reality.built[reality.targets.reference(*part).key]
        try:
            found = check(reality.built[target.job.key], reference, samples[part], open_executor)
        except (AnswerIsNo, NotKnown, EnvironmentFailed) as error:
            self.problem(outcome, "left out", f"{target.name}: {error}")
            return False
        self.step(f"checked {target.name}: largest relative difference {found.relative:.1e}")
        return True

    def _subjects(
        self,
        targets: Sequence[Target],
        built: Mapping[str, Path],
        samples: Mapping[Part, Sequence[Sample]],
        mixes: Mapping[str, Mapping[int, float]],
        functions: bool = True,
    ) -> Iterator[tuple[str, Subject]]:
        """What is measured, by the name that progress calls it; `mixes` are the shares of buckets by component."""
        for target in targets:
            real = samples[target.component, target.variant, target.job.segment]
            if target.job.buckets is not None:
                parts = by_bucket(real, read_artefact(built[target.job.key]), target.job.buckets)
                shares = mixes[target.component]
                yield target.name, ArtefactSubject(built[target.job.key], (), shares, parts)
                continue
            together = [joined(group) for group in in_groups(real, target.job.batch)]
            if target.on_wire is not None and target.on_wire.begin:
                try:
                    together = [sample_on_wire(sample, target.on_wire.begin) for sample in together]
                except NotEncodable:  # no behaviour has this cut either, which was told
                    continue
            yield target.name, ArtefactSubject(built[target.job.key], together, on_wire=target.on_wire)
        digests = source_digests(self.app)
        for name, component in self.app.value.components.items() if functions else ():
            for variant, made in component.realisations.items():
                if made.function is not None and (not self.only or name in self.only):
                    source = digests[f"{name}/{variant}"]
                    real = samples[name, variant, WHOLE]
                    own = environment_of(self.app.value, name, self.secrets) if component.has_environment else None
                    types = {output: str(kind) for output, kind in component.outputs.items()}
                    folder, kept = self.app.folder, component.state_size
                    subject = FunctionSubject(folder, made.function, source, real, own, component.secrets, types, kept)
                    yield f"{name}/{variant}", subject
        for name, component in measured_apis(self.app.value).items() if functions else ():
            if component.api is not None and (not self.only or name in self.only):
                token = token_of(component.api, name, self.secrets)
                own = {str(component.api.token): token} if token else {}
                real = samples[name, DEFAULT_VARIANT, WHOLE]
                types = {output: str(kind) for output, kind in component.outputs.items()}
                source = digests[f"{name}/{DEFAULT_VARIANT}"]
                yield (
                    f"{name}/{DEFAULT_VARIANT}",
                    FunctionSubject(
                        self.app.folder,
                        component.api.endpoint,
                        source,
                        real,
                        own,
                        tuple(own),
                        types,
                        timeout=component.api.timeout,
                    ),
                )

    def _measure(
        self,
        hardware: Sequence[HardwareClass],
        subjects: Mapping[str, Subject],
        known: Collection[tuple[object, ...]],
        records: Ledger,
        outcome: Outcome,
    ) -> None:
        names = {id(subject): name for name, subject in subjects.items()}
        wanted = sum(h.cores >= s.threads for s in subjects.values() for h in hardware)
        done = 0
        measured = partial(
            measure_all,
            hardware=hardware,
            open_executor=open_served_model,
            load_function=open_served_function,
            known=frozenset(known),
        )
        hosted = [s for s in subjects.values() if isinstance(s, FunctionSubject) and s.is_hosted]
        others = [s for s in subjects.values() if not (isinstance(s, FunctionSubject) and s.is_hosted)]
        with ended(_both(measured(others, budget=self.budget), measured(hosted, budget=CALL_BUDGET))) as outcomes:
            for done, found in enumerate(outcomes, 1):
                name = f"{names[id(found.subject)]} on {found.hardware}"
                if found.record is None:
                    self.problem(outcome, "not measured", f"{name}: {found.error}")
                    continue
                records.append(found.record)
                outcome.measured += 1
                p50 = 1000 * found.record.latency.quantiles["0.5"]
                self.step(f"measured {done} of {wanted}: {name}: p50 {p50:.3g} ms")
        outcome.kept += wanted - done

    def _hops(self, outcome: Outcome) -> None:
        """Measure what handing over between nodes costs, unless it is known of this machine."""
        if len(self.infra.value.sites) < 2:
            return
        from runtime.channel import CHANNEL

        file = self.folder / HOPS_FILE
        ledger = Ledger(file)
        here = [h for h in read_jsonl(file, HopOverhead) if h.host == host_name()] if file.exists() else []
        known = {hop.bytes for hop in here if hop.channel == CHANNEL}
        missing = [size for size in HOP_SIZES if size not in known]
        if not missing:
            return
        from runtime.running.hops import measure_hops  # loads Ray

        self.step("measuring what a hop between two nodes costs")
        for hop in measure_hops(missing):
            ledger.append(hop)
            outcome.hops += 1

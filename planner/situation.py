"""The Situation: everything a decision rests on, loaded and checked to belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Final

from planner.inputs.declared import declared_records
from planner.inputs.flows import Flow, flows_of
from planner.inputs.mixes import knows_lengths, mixes_of, with_mixes
from planner.inputs.network import Network
from specs.application import Application, Component, Cuts, Trace
from specs.artefact import Segment
from specs.behaviour import Behaviour, Combination
from specs.changes import Changes
from specs.codec import codec_of_cut, on_wire, plain_names
from specs.cuts import CUTS_FILE, FoundCuts
from specs.digest import digest_file
from specs.digest_cache import remembered
from specs.emulation import METHOD, NOT_HERE
from specs.errors import InputError, Issue, Place
from specs.function_files import digest_function, is_function_name
from specs.graph import Graph
from specs.infrastructure import Hardware, Infrastructure, RpcDevice
from specs.load import Document, load_application, load_infrastructure
from specs.model_source import digest_source
from specs.profile import BEHAVIOUR_FILE, HOPS_FILE, HopOverhead, Record, read_jsonl, read_records, winners
from specs.quantization import digest_realisation
from specs.recorded import Recording
from specs.selector import capable, matching_sites
from specs.support import unsupported

NO_CHANGES: Final = Changes()


@dataclass(frozen=True)
class Situation:
    """Specs, and the facts about them.

    `records` are the winning ones that speak of this application on this infrastructure. `digests` is the digest of
    each ``COMPONENT/VARIANT`` (its model or function), each ``data:NAME`` and each source's ``trace:NAME``. `found` are
    the cuts of models that may be split anywhere, `recordings` those traces.
    """

    app: Document[Application]
    infra: Document[Infrastructure]
    records: tuple[Record, ...]
    behaviours: tuple[Behaviour, ...]
    hops: tuple[HopOverhead, ...]
    digests: Mapping[str, str]
    found: tuple[FoundCuts, ...] = ()
    recordings: Mapping[str, Recording] = field(default_factory=dict)

    @property
    def changes(self) -> tuple[str, ...]:
        """What-ifs that the files do not say."""
        return (*self.app.changes, *self.infra.changes)

    @cached_property
    def graph(self) -> Graph:
        return Graph(self.app.value)

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        return flows_of(self.app, self.infra, self.graph)

    @cached_property
    def network(self) -> Network:
        return Network(self.infra)

    @cached_property
    def _records_of(self) -> dict[tuple[str, str, str], list[Record]]:
        found: dict[tuple[str, str, str], list[Record]] = {}
        for record in self.records:
            found.setdefault((record.source, record.segment, record.hardware), []).append(record)
        return found

    def records_of(self, component: str, variant: str, segment: Segment, hardware: str) -> list[Record]:
        """The ways to run a segment on a class of hardware; none where it was not profiled there.

        A device that shares its time takes one request at a time. Times of a model with buckets are of the component's
        own mix of lengths.
        """
        source = self.digests[f"{component}/{variant}"]
        spec = self.app.value.components[component]
        together = self.infra.value.hardware[hardware].sharing == "cores"
        sizes = spec.batch_sizes if together else (1,)
        found = self._records_of.get((source, str(segment), hardware), [])
        mix = self._mixes.get(component, {})
        known = [r for r in found if r.batch in sizes and r.shares == mix]
        return [r for r in known if spec.backends is None or r.backend in spec.backends]

    @cached_property
    def _mixes(self) -> dict[str, dict[int, float]]:
        return mixes_of(self.app.value, self.behaviours)

    def cuts(self, component: str, variant: str, wire: tuple[str, ...] = ()) -> CutPoints:
        """The tensors of each cut of `variant`, in order: declared, or found and an end of something profiled.

        With encoded tensors between, `wire`, that is its only cut; tensors cross as they are where the user says so.
        """
        spec = self.app.value.components[component]
        if wire:
            return (wire,)
        if "none" not in spec.codecs:
            return ()
        if isinstance(spec.split, Cuts):
            return spec.split.tensors(variant)
        return self._used_cuts.get(self.digests[f"{component}/{variant}"], ()) if spec.cut_anywhere else ()

    @cached_property
    def choices(self) -> tuple[Behaviour, ...]:
        """The behaviours that a plan may have: of their encoded cuts, both sides were profiled somewhere."""
        return tuple(filter(self._profiled, self.behaviours))

    def _profiled(self, behaviour: Behaviour) -> bool:
        return all(
            {f"..{'+'.join(wire)}", f"{'+'.join(wire)}.."}
            <= self._segments[self.digests[f"{c}/{behaviour.variants[c]}"]]
            for c, wire in (behaviour.encoded or {}).items()
        )

    @cached_property
    def _segments(self) -> dict[str, set[str]]:
        """By digest of a model, its segments that were profiled."""
        found: dict[str, set[str]] = {source: set() for source in self.digests.values()}
        for record in self.records:
            found.setdefault(record.source, set()).add(record.segment)
        return found

    @cached_property
    def _used_cuts(self) -> dict[str, CutPoints]:
        """By digest of a model, of its found cuts those at which a record begins or ends."""
        ends: dict[str, set[str]] = {}
        for record in self.records:
            ends.setdefault(record.source, set()).update(record.segment.split(".."))
        return {
            f.source: tuple(c.names for c in f.cuts if "+".join(c.names) in ends.get(f.source, ())) for f in self.found
        }


CutPoints = tuple[tuple[str, ...], ...]
"""Where a model is cut, in order from its inputs: the tensors that cross at each."""


def segment_of(cuts: CutPoints, first: int, last: int) -> Segment:
    """The segment from task `first` to task `last` of a model cut at `cuts` (tasks count from 0)."""
    return Segment(begin=cuts[first - 1] if first > 0 else (), end=cuts[last] if last < len(cuts) else ())


def load_situation(
    app_file: str | Path,
    infra_file: str | Path,
    profiles: str | Path,
    host: str | None = None,
    changes: Changes = NO_CHANGES,
) -> Situation:
    """Load specs, with `changes` made, and profiles, and check that they belong together.

    `host` names this machine as profiles do: records emulated or measured on another one are then refused. Without it,
    all emulated records must come from one host. Raises InputError with every issue of the first stage that finds any.
    """
    app, infra = load_application(app_file, changes.app), load_infrastructure(infra_file, changes.infra)
    return load_facts(app, infra, profiles, host)


def load_facts(
    app: Document[Application], infra: Document[Infrastructure], profiles: str | Path, host: str | None = None
) -> Situation:
    """As `load_situation`, for specs that are loaded."""
    folder = Path(profiles)
    if not folder.is_dir():
        raise InputError(
            Issue(f"no profiles: {profiles} is not a folder", Place(str(profiles)), profile_command(app, infra))
        )
    behaviour_file, hops_file, cuts_file = (folder / name for name in (BEHAVIOUR_FILE, HOPS_FILE, CUTS_FILE))
    behaviours = read_jsonl(behaviour_file, Behaviour) if behaviour_file.exists() else []
    hops = read_jsonl(hops_file, HopOverhead) if hops_file.exists() else []
    found = read_jsonl(cuts_file, FoundCuts) if cuts_file.exists() else []
    digests = source_digests(app)
    records = read_records(folder)
    return situation_of(app, infra, records, behaviours, hops, digests, host, str(profiles), found)


def situation_of(
    app: Document[Application],
    infra: Document[Infrastructure],
    records: Iterable[Record],
    behaviours: Iterable[Behaviour],
    hops: Iterable[HopOverhead],
    digests: Mapping[str, str],
    host: str | None = None,
    profiles: str = "profiles",
    found: Iterable[FoundCuts] = (),
) -> Situation:
    """Check that facts and specs belong together. Raises InputError as `load_situation` does."""
    _refuse_cycles(app)
    if issues := unsupported(app, infra):
        raise InputError(*issues)
    ours = set(digests.values())
    of_ours = [r for r in records if r.source in ours]
    usable = standing(of_ours, infra.value, host)
    _one_host(usable, infra)
    cuts = {f.source: f for f in sorted(found, key=lambda f: f.measured_at) if f.source in ours}
    fresh = _fresh(behaviours, app, infra, digests, profiles, cuts)
    sized = tuple(_with_cuts(b, cuts, digests) for b in fresh)
    traces = _recordings(app, infra)
    usable += declared_records(app.value, infra.value)
    usable = with_mixes(usable, app.value, digests, mixes_of(app.value, sized))
    situation = Situation(app, infra, tuple(usable), sized, _one_channel(hops), digests, tuple(cuts.values()), traces)
    others = [r for r in winners(of_ours).values() if not stands_for(r, infra.value, host)]
    issues = _missing(situation, others, host)
    if not situation.hops and len(infra.value.sites) > 1:
        issues.append(Issue("hop overhead missing", infra.place("links")))
    if issues:  # one command mends them all: it is said once
        raise InputError(*issues[:-1], replace(issues[-1], hint=profile_command(app, infra, profiles)))
    return situation


def _recordings(app: Document[Application], infra: Document[Infrastructure]) -> dict[str, Recording]:
    if not app.value.has_traces:
        return {}
    from planner.inputs.traces import read_traces  # loads numpy

    return read_traces(app, infra)


def profile_command(app: Document[Application], infra: Document[Infrastructure], profiles: str = "profiles") -> str:
    return f"run: planner profile {app.file} --infra {infra.file} -o {profiles}"


def source_digests(app: Document[Application]) -> dict[str, str]:
    """Digests of every model, function file and data set that `app` names. Raises InputError where one is missing."""
    digests: dict[str, str] = {}
    issues: list[Issue] = []

    def add(key: str, what: str, file: str, place: Place, digest: Callable[[], str]) -> None:
        path = (app.folder / file).resolve()
        if not path.is_relative_to(app.folder):
            issues.append(Issue(f"{file!r} leaves the folder of the application", place))
        elif not path.is_file():
            issues.append(Issue(f"{what} file {file!r} is missing; looked in {app.folder}", place))
        else:
            digests[key] = digest()

    for name, component in app.value.components.items():
        for variant, realised in component.realisations.items():
            place = (
                app.place("components", name, "variants", variant)
                if component.variants
                else app.place("components", name, "model" if realised.model else "function")
            )
            key = f"{name}/{variant}"
            if realised.model is not None:
                factory = is_function_name(realised.model)
                what, file = ("model's", _module(app, realised.model)) if factory else ("model", realised.model)
                digest = partial(digest_source, app.folder, realised.model, realised.reads, _quickly)
                add(key, what, file, place, digest)
            elif realised.function is not None:
                digest = partial(
                    digest_function,
                    app.folder,
                    realised.function,
                    component.environment,
                    component.secrets,
                    component.state_size,
                )
                add(key, "function's", _module(app, realised.function), place, digest)
            elif realised.api is not None:
                digests[key] = realised.api.digest
            else:
                issues += _missing_calibration(app, name, variant)
    for name, component in app.value.components.items():
        for variant, realised in component.realisations.items():
            if realised.quantize is not None and not issues:
                digests[f"{name}/{variant}"] = digest_realisation(app, name, variant, _quickly)
    for name, data in app.value.data.items():
        add(
            f"data:{name}",
            "data",
            data.file,
            app.place("data", name, "file"),
            partial(_quickly, app.folder / data.file),
        )
    for name, source in app.value.sources.items():
        if isinstance(source.arrivals, Trace):
            file = source.arrivals.trace
            at = app.place("sources", name, "arrivals", "trace")
            add(f"trace:{name}", "trace", file, at, partial(_quickly, app.folder / file))
    if issues:
        raise InputError(*issues)
    return digests


def _missing_calibration(app: Document[Application], component: str, variant: str) -> Iterator[Issue]:
    file = app.value.components[component].realisations[variant].calibrate
    if file is not None and not (app.folder / file).is_file():
        place = app.place("components", component, "variants", variant, "calibrate")
        yield Issue(f"calibration file {file!r} is missing; looked in {app.folder}", place)


def _quickly(file: Path) -> str:
    return remembered(file, digest_file)


def _module(app: Document[Application], function: str) -> str:
    """The file of the module that ``module:function`` names, relative to the app's folder."""
    module = function.split(":")[0].replace(".", "/")
    package = f"{module}/__init__.py"
    return package if (app.folder / package).is_file() else f"{module}.py"


def _refuse_cycles(app: Document[Application]) -> None:
    graph = Graph(app.value)
    if graph.on_cycle:
        name = graph.on_cycle[0]
        raise InputError(
            Issue(f"{', '.join(graph.on_cycle)}: feed themselves (a cycle)", app.place("components", name))
        )


def stands_for(record: Record, infra: Infrastructure, host: str | None) -> bool:
    """Whether `record` was made as the infrastructure now says that its hardware is stood for."""
    hardware = infra.hardware.get(record.hardware)
    if hardware is None:
        return False
    if hardware.emulate is None:
        if isinstance(hardware.device, RpcDevice):
            lent = not record.is_sampled or record.rpc == hardware.device.rpc
            return record.emulated_by is None and lent
        at_home = hardware.device != "here" or host is None or record.host == host
        return record.emulated_by is None and at_home
    by = record.emulated_by
    if by is None or by.method != METHOD or abs(by.cpu - hardware.emulate.cpu) > 1e-9:
        return False
    return host is None or by.host == host


def standing(records: Iterable[Record], infra: Infrastructure, host: str | None = None) -> list[Record]:
    """The winners of those `records` that stand for the infrastructure's hardware."""
    return list(winners(r for r in records if stands_for(r, infra, host)).values())


def _one_host(records: list[Record], infra: Document[Infrastructure]) -> None:
    hosts = sorted({r.emulated_by.host for r in records if r.emulated_by})
    if len(hosts) > 1:
        names = " and ".join(repr(h) for h in hosts)
        raise InputError(
            Issue(
                f"profiles were emulated on different hosts: {names}",
                infra.place("hardware"),
                "profile again on one of them into an empty folder",
            )
        )


def _one_channel(hops: Iterable[HopOverhead]) -> tuple[HopOverhead, ...]:
    """The newest overhead of each size, of the channel that was measured last; by rising size."""
    known = sorted(hops, key=lambda h: h.measured_at)
    channel = known[-1].channel if known else ""
    newest = {h.bytes: h for h in known if h.channel == channel}
    return tuple(newest[size] for size in sorted(newest))


def _fresh(
    behaviours: Iterable[Behaviour],
    app: Document[Application],
    infra: Document[Infrastructure],
    digests: Mapping[str, str],
    profiles: str,
    found_cuts: Mapping[str, FoundCuts],
) -> tuple[Behaviour, ...]:
    """The newest behaviour of each combination of variants, and those with encoded cuts that the application allows.

    What is of older files is only taken where there is nothing of those there are now. Raises InputError where one is
    missing or stale, or a codec has none.
    """
    newest: dict[Combination, Behaviour] = {}
    for behaviour in sorted(behaviours, key=lambda b: (b.is_of(digests), b.measured_at)):
        newest[behaviour.combination] = behaviour
    issues: list[Issue] = []
    fresh: list[Behaviour] = []
    components = app.value.components
    for choice in product(*(c.realisations for c in components.values())):
        variants = dict(zip(components, choice, strict=True))
        found = newest.get((tuple(sorted(variants.items())), ()))
        named = (
            ", ".join(f"{c}/{v}" for c, v in variants.items() if len(components[c].realisations) > 1)
            or "this application"
        )
        way_out = profile_command(app, infra, profiles)
        if found is None:
            issues.append(Issue(f"behaviour missing for {named}", app.place("components"), way_out))
            continue
        needed = [f"{c}/{v}" for c, v in variants.items()] + [f"data:{name}" for name in app.value.data]
        changed = [k for k in {*found.inputs, *needed} if found.inputs.get(k) != digests.get(k)]
        changed += [] if knows_lengths(found, app.value) else ["dims"]
        if changed:
            what = ", ".join(sorted(changed))
            issues.append(
                Issue(f"behaviour of {named} is stale: {what} changed since", app.place("components"), way_out)
            )
        fresh.append(found)
    encoded = [b for b in newest.values() if b.encoded and _is_ours(b, app.value, digests, found_cuts)]
    for name, component in components.items():
        for codec in component.codecs:
            expected = codec != "none" and _can_encode(component, name, codec, digests, found_cuts)
            if expected and not any(codec_of_cut(b.wire(name)) == codec for b in encoded):
                place = app.place("components", name, "split", "codec")
                way_out = f"{profile_command(app, infra, profiles)}; if it leaves {codec} out, so must you"
                issues.append(Issue(f"behaviour missing for {name} with tensors encoded by {codec}", place, way_out))
    if issues:
        raise InputError(*issues[:8])
    return (*fresh, *encoded)


def _can_encode(
    component: Component, name: str, codec: str, digests: Mapping[str, str], found: Mapping[str, FoundCuts]
) -> bool:
    """Whether there is a cut with tensors that the codec takes; of declared ones profiling refuses the others."""
    if not component.cut_anywhere:
        return True
    sources = [digests[f"{name}/{variant}"] for variant in component.realisations]
    cuts = [cut for source in sources if source in found for cut in found[source].cuts]
    return any(on_wire(cut.tensors, codec) is not None for cut in cuts)


def _is_ours(
    behaviour: Behaviour, app: Application, digests: Mapping[str, str], found: Mapping[str, FoundCuts]
) -> bool:
    """Whether a behaviour with encoded cuts is of what the application now says and has."""
    if behaviour.variants.keys() != app.components.keys():
        return False
    expected = {f"{c}/{v}" for c, v in behaviour.variants.items()} | {f"data:{name}" for name in app.data}
    if expected != set(behaviour.inputs) or not behaviour.is_of(digests):
        return False
    for component, wire in (behaviour.encoded or {}).items():
        spec, variant = app.components[component], behaviour.variants[component]
        of = found.get(digests[f"{component}/{variant}"])
        places = (
            spec.split.tensors(variant)
            if isinstance(spec.split, Cuts)
            else tuple(c.names for c in of.cuts)
            if of
            else ()
        )
        if codec_of_cut(wire) not in spec.codecs or plain_names(wire) not in places:
            return False
    return True


def _with_cuts(behaviour: Behaviour, found: Mapping[str, FoundCuts], digests: Mapping[str, str]) -> Behaviour:
    """`behaviour` with the bytes of every tensor at which its models may be cut."""
    sizes = {
        f"{component}@{tensor}": behaviour.cut_size(component, float(kind.size or 0))
        for component, variant in behaviour.variants.items()
        if (of := found.get(digests[f"{component}/{variant}"])) is not None
        for cut in of.cuts
        for tensor, kind in cut.tensors.items()
    }
    return behaviour.model_copy(update={"payloads": {**behaviour.payloads, **sizes}}) if sizes else behaviour


def _missing(situation: Situation, refused: list[Record], host: str | None) -> list[Issue]:
    """Whole models and atomic declared segments without a record on hardware where they may run, and models that may
    be split anywhere whose cuts were not sought."""
    app, infra = situation.app, situation.infra
    issues: dict[str, Issue] = {}
    known = {f.source for f in situation.found}
    for name, component in app.value.components.items():
        for variant in component.realisations if component.cut_anywhere else ():
            if situation.digests[f"{name}/{variant}"] not in known:
                place = app.place("components", name, "split")
                issues[f"{name}/{variant}"] = Issue(f"profile missing: where {name}/{variant} can be cut", place)
    reachable = {site for flow in situation.flows for site in situation.network.sites_of(flow.site)}
    for name, component in app.value.components.items():
        sites = reachable if component.at is None else reachable & set(matching_sites(component.at, infra.value))
        classes = [
            p.hardware
            for s in infra.value.sites
            if s in sites
            for pool, p in infra.value.sites[s].pools.items()
            if p.devices[1] and capable(component.requires, infra.value, s, pool)
        ]
        for variant in component.realisations:
            cuts = situation.cuts(name, variant) if isinstance(component.split, Cuts) else ()
            segments = [segment_of(cuts, i, i) for i in range(len(cuts) + 1)] + (
                [segment_of(cuts, 0, len(cuts))] if cuts else []
            )
            for hardware in dict.fromkeys(classes):
                if hardware not in infra.value.hardware:
                    issues[hardware] = Issue(f"unknown hardware {hardware!r}", infra.place("sites"))
                    continue
                for segment in segments:
                    if not situation.records_of(name, variant, segment, hardware):
                        what = f"{name}/{variant}" + ("" if segment.is_whole else f" segment {segment}")
                        source = situation.digests[f"{name}/{variant}"]
                        other = next(
                            (
                                r
                                for r in refused
                                if (r.source, r.segment, r.hardware) == (source, str(segment), hardware)
                            ),
                            None,
                        )
                        issues[f"{what} {hardware}"] = _absent(situation, what, name, hardware, other, host)
    return list(issues.values())[:8]


def _absent(
    situation: Situation, what: str, component: str, hardware: str, other: Record | None, host: str | None
) -> Issue:
    place = situation.app.place("components", component)
    stands = situation.infra.value.hardware[hardware]
    alone = "" if stands.emulate or stands.device else f", which says {NOT_HERE}; profile --estimate estimates it"
    if isinstance(stands.device, RpcDevice):
        alone = "; its devices are lent: profile --tracker HOST:PORT"
    if other is None:
        return Issue(f"profile missing: {what} on hardware {hardware!r}{alone}", place)
    expected = describe_stand_in(stands, host)
    by = other.emulated_by
    given = (
        f"emulated at cpu {by.cpu:g} by {by.method} on {by.host!r}" if by else f"{other.provenance} on {other.host!r}"
    )
    return Issue(f"profile of {what} on hardware {hardware!r} was {given}; expected {expected}{alone}", place)


def describe_stand_in(hardware: Hardware, host: str | None) -> str:
    where = f" on {host!r}" if host else ""
    if hardware.emulate:
        return f"emulated at cpu {hardware.emulate.cpu:g} by {METHOD}{where}"
    if isinstance(hardware.device, RpcDevice):
        return f"measured by RPC on a device {hardware.device.rpc!r}"
    return f"measured{where if hardware.device == 'here' else ' on that hardware'}"

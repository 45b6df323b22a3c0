"""Cross references: that what a file names exists, fits and can run. All issues at once, each at its line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from specs.application import (
    AccuracyConstraint,
    Application,
    CostConstraint,
    Cuts,
    EnergyConstraint,
    LatencyObjective,
    MemoryConstraint,
    OverBranch,
    PathConstraint,
    Ref,
    ResidencyConstraint,
    Selector,
    ShareConstraint,
    ThroughputConstraint,
    Trace,
    Variant,
)
from specs.artefact import ModelSignature
from specs.codec import codec_of, plain_name
from specs.dimensions import check_dimensions
from specs.edges import check_edges, gate_can_be
from specs.errors import InputError, Issue, Place
from specs.fan_out import check_fan_outs, value_type
from specs.function_files import STATE_METHODS
from specs.graph import Graph
from specs.infrastructure import Infrastructure
from specs.load import Document
from specs.model_source import form_of
from specs.nearest import near
from specs.quantities import currency_of
from specs.selector import matching_sites
from specs.yamlfile import Path_

Signatures = Mapping[tuple[str, str], ModelSignature]
"""(component, variant) -> the signature that the compiler read from its model."""

_FUNCTION: Final = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
_MAX_SOURCE: Final = 1_000_000
"""Bytes of a Python file that is read to see whether it has the function."""


def check(
    app: Document[Application], infra: Document[Infrastructure] | None = None, signatures: Signatures | None = None
) -> list[Issue]:
    """Every broken reference and every edge whose two ends disagree, sorted by file and line.

    Without `infra` nothing is said of sites; types of models are checked for the `signatures` given.
    """
    issues = [*_names(app), *_references(app), *_cycles(app), *_realisations(app), *_skips(app)]
    issues += [*check_fan_outs(app, signatures), *check_edges(app, signatures or {})]
    issues += check_dimensions(app, signatures or {})
    if infra is not None:
        issues += [*_infrastructure(infra), *_placement(app, infra), *_powerless(app, infra), *_budgets(app, infra)]
    files = [app.file, infra.file if infra else ""]
    unique = {str(issue): issue for issue in issues}
    return sorted(unique.values(), key=lambda i: _position(i, files))


def check_infrastructure(infra: Document[Infrastructure]) -> list[Issue]:
    """Every broken reference of an infrastructure alone, sorted by line."""
    return sorted(_infrastructure(infra), key=lambda i: _position(i, [infra.file]))


def _position(issue: Issue, files: list[str]) -> tuple[int, int, int]:
    place = issue.place
    return (files.index(place.file) if place.file in files else 2, place.line, place.column) if place else (3, 0, 0)


def _names(app: Document[Application]) -> Iterator[Issue]:
    """Sources, components and sinks share one space of names, since inputs and constraints speak of all three."""
    seen: dict[str, str] = {}
    spaces: tuple[tuple[str, Iterable[str]], ...] = (
        ("sources", app.value.sources),
        ("components", app.value.components),
        ("sinks", app.value.sinks),
    )
    for space, names in spaces:
        for name in names:
            if name in seen:
                yield Issue(f"the name {name!r} is taken by one of the {seen[name]}", app.place(space, name))
            seen.setdefault(name, space)


def _references(app: Document[Application]) -> Iterator[Issue]:
    spec = app.value
    for name, source in spec.sources.items():
        for value, declared in source.values.items():
            if declared.type.is_blob and declared.size is None:
                place = app.place("sources", name, "values", value)
                message = f"{name}.{value} is {declared.type}: its size is missing"
                yield Issue(message, place, "add size: {p50: ..., p99: ...}")
    for name, component in spec.components.items():
        for key, ref in component.inputs.items():
            yield from _reference(app, ref, ("components", name, "inputs", key))
        if component.when is not None:
            yield from _reference(app, component.when.ref, ("components", name, "when"))
        if component.per is not None:
            yield from _reference(app, Ref.model_construct(from_=component.per), ("components", name, "per"))
        for word, others in (("with", component.with_), ("apart_from", component.apart_from)):
            yield from _partners(app, name, word, others)
    for name, sink in spec.sinks.items():
        for key, ref in sink.inputs.items():
            yield from _reference(app, ref, ("sinks", name, "inputs", key))
    yield from _constraints(app)


def _partners(app: Document[Application], name: str, word: str, others: list[str]) -> Iterator[Issue]:
    for i, other in enumerate(others):
        place = app.place("components", name, word, i)
        if other == name:
            yield Issue(f"{name!r} is {word} itself", place, "name another component")
        elif other not in app.value.components:
            yield Issue(f"unknown component {other!r}", place, near(other, app.value.components))


def _reference(app: Document[Application], ref: Ref, path: Path_) -> Iterator[Issue]:
    spec = app.value
    producers = [*spec.sources, *spec.components]
    place = app.place(*path, "from") if (*path, "from") in app.yaml.places else app.place(*path)
    if ref.producer not in producers:
        yield Issue(f"unknown source or component {ref.producer!r}", place, near(ref.producer, producers))
        return
    component = spec.components.get(ref.producer)
    outputs = component.outputs if component else spec.sources[ref.producer].values
    models_only = component is not None and component.is_models
    if ref.output not in outputs and not (models_only and not outputs):
        yield Issue(f"{ref.producer!r} has no output {ref.output!r}", place, near(ref.output, outputs))


def _constraints(app: Document[Application]) -> Iterator[Issue]:
    spec = app.value
    for name, constraint in spec.constraints.items():
        at: Path_ = ("constraints", name)
        if isinstance(constraint, PathConstraint):
            yield from _known(app, (*at, "from"), "source", constraint.from_, spec.sources)
            yield from _known(app, (*at, "to"), "sink or component", constraint.to, [*spec.sinks, *spec.components])
            if isinstance(constraint.over, OverBranch):
                yield from _branch(app, (*at, "over", "when"), constraint.over.when)
            if constraint.from_ in spec.sources and constraint.to in (*spec.sinks, *spec.components):
                yield from _joined(app, at, constraint)
        elif isinstance(constraint, ShareConstraint):
            yield from _known(app, (*at, "from"), "source", constraint.from_, spec.sources)
            yield from _known(app, (*at, "to"), "sink", constraint.to, spec.sinks)
            if constraint.from_ in spec.sources and constraint.to in spec.sinks:
                yield from _joined(app, at, constraint.path)
        elif isinstance(constraint, ThroughputConstraint):
            if constraint.from_ is not None:
                yield from _known(app, (*at, "from"), "source", constraint.from_, spec.sources)
            elif len(spec.sources) > 1:
                hint = f"add from: {next(iter(spec.sources))}"
                yield Issue("a throughput of which source? There are several", app.place(*at), hint)
        elif isinstance(constraint, AccuracyConstraint):
            yield from _known(app, (*at, "on"), "data", constraint.on, spec.data)
        elif isinstance(constraint, ResidencyConstraint):
            ref = Ref.model_construct(from_=constraint.value)
            if "." not in constraint.value:
                place = app.place(*at, "value")
                yield Issue(f"expected source.value or component.output, got {constraint.value!r}", place)
            else:
                yield from _reference(app, ref, (*at, "value"))
    for index, term in enumerate(spec.objective):
        if isinstance(term, LatencyObjective):
            paths = [n for n, c in spec.constraints.items() if isinstance(c, PathConstraint)]
            yield from _known(app, ("objective", index, "latency"), "path constraint", term.latency, paths)
        if term in spec.objective[:index]:
            said = term if isinstance(term, str) else f"latency of {term.latency}"
            hint = "leave it out: plans that are equal in it stay equal"
            yield Issue(f"the objective {said} is given twice", app.place("objective", index), hint)
    for name, source in spec.sources.items():
        if isinstance(source.arrivals, Trace):
            yield from _file(app, source.arrivals.trace, ("sources", name, "arrivals", "trace"), "trace")
    for name, data in spec.data.items():
        taken = [key for sink in spec.sinks.values() for key in sink.inputs]
        if data.label is not None:
            yield from _known(app, ("data", name, "label"), "input of a sink", data.label, taken)
        if data.source is not None:
            yield from _known(app, ("data", name, "source"), "source", data.source, spec.sources)
        yield from _file(app, data.file, ("data", name, "file"), "data")


def _branch(app: Document[Application], path: Path_, word: str) -> Iterator[Issue]:
    """`word` names a component that runs in some requests; the gate that it waits for is often written instead."""
    gate = word.removeprefix("not ").strip()
    producer = gate.partition(".")[0]
    if "." not in gate or producer not in app.value.components:
        yield from _known(app, path, "component", word, app.value.components)
        return
    gated = [n for n, c in app.value.components.items() if c.when is not None and str(c.when) == word]
    message = f"over: {{when: X}} means the requests in which component X runs; {word!r} is a value"
    instead = gated or [n for n, c in app.value.components.items() if c.when is not None] or [producer]
    yield Issue(message, app.place(*path), f"write over: {{when: {instead[0]}}}")


def _joined(app: Document[Application], at: Path_, constraint: PathConstraint) -> Iterator[Issue]:
    if _cycle(app.value) or _names_unknown(app.value):  # told elsewhere: what follows from it is not said again
        return
    if constraint.to not in Graph(app.value).descendants([constraint.from_]):
        yield Issue(f"nothing leads from {constraint.from_!r} to {constraint.to!r}", app.place(*at))


def _names_unknown(spec: Application) -> bool:
    """Whether some input is of nothing that there is."""
    refs = [ref for component in spec.components.values() for ref in component.inputs.values()]
    refs += [ref for sink in spec.sinks.values() for ref in sink.inputs.values()]
    refs += [c.when.ref for c in spec.components.values() if c.when is not None]
    return any(ref.producer not in spec.sources and ref.producer not in spec.components for ref in refs)


def _known(
    document: Document[Application] | Document[Infrastructure], path: Path_, kind: str, word: str, known: Iterable[str]
) -> Iterator[Issue]:
    names = list(known)
    if word not in names:
        yield Issue(f"unknown {kind} {word!r}", document.place(*path), near(word, names))


def _cycles(app: Document[Application]) -> Iterator[Issue]:
    if cycle := _cycle(app.value):
        chain = " -> ".join([*cycle, cycle[0]])
        yield Issue(f"components feed themselves: {chain}", app.place("components", cycle[0]), "expected a DAG")


def _cycle(app: Application) -> list[str]:
    """The members of one cycle, in the order in which they feed one another, from the first declared; else nothing."""
    graph = Graph(app)
    left = graph.on_cycle
    if not left:
        return []
    # Each component left over waits for another one left over: going up from any of them must come round.
    trail = [left[0]]
    while True:
        above = next(p for p, _ in graph.takes(trail[-1]) if p in left)
        if above in trail:
            ring = trail[trail.index(above) :][::-1]
            first = min(range(len(ring)), key=lambda i: list(app.components).index(ring[i]))
            return ring[first:] + ring[:first]
        trail.append(above)


def _realisations(app: Document[Application]) -> Iterator[Issue]:
    for name, component in app.value.components.items():
        for variant, real in component.realisations.items():
            at: Path_ = ("components", name, *(("variants", variant) if component.variants else ()))
            if real.model is not None:
                yield from model_issues(app, real.model, real.reads, at)
            if real.function is not None:
                yield from _function(app, real.function, (*at, "function"), keeps=component.state is not None)
            if real.quantize is not None:
                yield from _quantized(app, name, real, at)
        yield from _cuts(app, name)
        kind = "hosted API" if any(v.api is not None for v in component.realisations.values()) else "function"
        if component.split is not None and not component.is_models:
            article = "a function" if kind == "function" else "a hosted API"
            yield Issue(f"{name!r} is {article}; only models can be split", app.place("components", name, "split"))
        if not component.outputs and not component.is_models:
            yield Issue(f"the outputs of {kind} {name!r} are missing", app.place("components", name), "add outputs:")


def _cuts(app: Document[Application], component: str) -> Iterator[Issue]:
    """A cut for each variant names variants that there are, no tensor is called as encoded ones are, and each codec is
    named once."""
    spec = app.value.components[component]
    for index, codec in enumerate(spec.codecs):
        if codec in spec.codecs[:index]:
            yield Issue(
                f"the codec {codec} is given twice", app.place("components", component, "split", "codec", index)
            )
    for index, cut in enumerate(spec.split.at if isinstance(spec.split, Cuts) else ()):
        for variant in cut if isinstance(cut, dict) else ():
            place: Path_ = ("components", component, "split", "at", index, variant)
            yield from _known(app, place, f"variant of {component!r}", variant, spec.realisations)
        each = list(cut.values()) if isinstance(cut, dict) else [cut]
        for name in (n for names in each for n in ([names] if isinstance(names, str) else names)):
            if codec_of(name) != "none":
                where = app.place("components", component, "split", "at", index)
                message = f"{name!r} is what the tensor {plain_name(name)!r} is called once {codec_of(name)} encoded it"
                yield Issue(message, where, f"name {plain_name(name)!r}, and say codec: [none, {codec_of(name)}]")


def _quantized(app: Document[Application], component: str, real: Variant, at: Path_) -> Iterator[Issue]:
    """It must name a variant that is a model itself, and there must be requests to calibrate with."""
    variants = app.value.components[component].variants
    base = variants.get(str(real.quantize))
    if base is None:
        message = f"{component!r} has no variant {real.quantize!r} to quantize"
        yield Issue(message, app.place(*at, "quantize"), near(str(real.quantize), variants))
    elif base.model is None:
        given = "quantized itself" if base.is_model else "no model"
        message = f"{real.quantize!r} is {given}; only a variant that gives a model can be quantized"
        yield Issue(message, app.place(*at, "quantize"))
    if real.calibrate is not None:
        yield from _file(app, real.calibrate, (*at, "calibrate"), "calibration")
    elif not app.value.data:
        hint = "add calibrate: FILE, or data"
        yield Issue("there are no requests to calibrate with", app.place(*at, "quantize"), hint)


def inside(folder: Path, file: str) -> Path | None:
    """`file` under `folder`, or None where it would leave it (links are followed)."""
    path = (folder / file).resolve()
    return path if path.is_relative_to(folder.resolve()) else None


def model_issues(app: Document[Application], model: str, reads: Iterable[str], at: Path_) -> Iterator[Issue]:
    """The file must be one that is data; a function that returns the model must stand in the project."""
    try:
        form = form_of(model)
    except InputError as error:
        yield from (Issue(f"{model}: {i.message}", app.place(*at, "model"), i.hint) for i in error.issues)
        return
    if form != "factory":
        yield from _file(app, model, (*at, "model"), "model")
        return
    yield from _function(app, model, (*at, "model"))
    for index, text in enumerate(reads):
        real = inside(app.folder, text)
        if real is None:
            yield Issue(f"{text!r} leaves the folder of the application", app.place(*at, "reads", index))
        elif not real.exists():
            yield Issue(f"{text!r}, which {model} reads, is missing", app.place(*at, "reads", index))


def _file(app: Document[Application], file: str, path: Path_, kind: str) -> Iterator[Issue]:
    real = inside(app.folder, file)
    if real is None:
        yield Issue(f"{file!r} leaves the folder of the application", app.place(*path), "copy it there")
    elif real.is_dir():
        yield Issue(f"{kind} file {file!r} is a folder", app.place(*path), "name a file in it")
    elif not real.is_file():
        yield Issue(f"{kind} file {file!r} is missing", app.place(*path), "paths are relative to this file's folder")


def _function(app: Document[Application], text: str, path: Path_, *, keeps: bool = False) -> Iterator[Issue]:
    """The function must stand in the project; one that `keeps` state is a class. Its file is read, not run."""
    place = app.place(*path)
    if not _FUNCTION.match(text):
        module, dot, function = text.rpartition(".")
        hint = f"write {module}:{function}" if dot and _FUNCTION.match(f"{module}:{function}") else ""
        yield Issue(f"expected module:function, got {text!r}", place, hint)
        return
    module, _, function = text.partition(":")
    base = module.replace(".", "/")
    file = f"{base}/__init__.py" if (app.folder / base / "__init__.py").is_file() else f"{base}.py"
    real = inside(app.folder, file)
    if real is None or not real.is_file():
        named = module.endswith(".py")  # the file, where the module is expected
        hint = f"write {module[:-3]}:{function}" if named else "paths are relative to this file's folder"
        yield Issue(f"{text}: {file} is missing", place, hint)
        return
    try:
        tree = ast.parse(real.read_bytes()[:_MAX_SOURCE])
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield Issue(f"{text}: {file} is not Python: {error}", place)
        return
    if keeps:
        yield from _class(tree, function, file, place)
        return
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if function not in functions:
        yield Issue(f"{file} has no function {function!r}", place, near(function, functions))


def _class(tree: ast.Module, name: str, file: str, place: Place | None) -> Iterator[Issue]:
    """What keeps state is a class that can be called, saved and loaded; what it inherits is not looked at."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        hint = near(name, classes) or "state: the function is a class with __call__, save() and load()"
        yield Issue(f"{file} has no class {name!r}", place, hint)
        return
    methods = {node.name for node in classes[name].body if isinstance(node, ast.FunctionDef)}
    missing = [method for method in STATE_METHODS if method not in methods]
    if missing and not classes[name].bases:
        hint = "__call__(self, **inputs) gives outputs, save(self) bytes, load(self, saved) takes them back"
        yield Issue(f"the class {name!r} in {file}, which keeps state, has no {missing[0]}", place, hint)


def _skips(app: Document[Application]) -> Iterator[Issue]:
    """Gates must be booleans, and an answer must not depend on one being open."""
    spec = app.value
    graph = Graph(spec)
    maybe: set[str] = set()
    for name in graph.order:
        component = spec.components[name]
        gate = component.when
        if gate is not None or any(r.producer in maybe and r.if_skipped is None for r in component.inputs.values()):
            maybe.add(name)
        declared = value_type(spec, gate.ref) if gate else None
        if gate and declared is not None and not gate_can_be(declared):
            place = app.place("components", name, "when")
            yield Issue(f"a gate must be bool; {gate.ref.from_} is {declared}", place)
    consumers = [("components", n, c.inputs) for n, c in spec.components.items()]
    for space, name, inputs in [*consumers, *(("sinks", n, s.inputs) for n, s in spec.sinks.items())]:
        for key, ref in inputs.items():
            place = app.place(space, name, "inputs", key)
            declared = value_type(spec, ref)
            if space == "sinks" and ref.producer in maybe and ref.if_skipped is None:
                hint = "join the branches in a component before it"
                yield Issue(f"{name!r} gets no {key!r} when {ref.producer!r} is skipped", place, hint)
            if ref.if_skipped is not None and declared is not None and declared.is_blob:
                yield Issue(f"if_skipped is a number, but {ref.from_} is {declared}", place)


def _infrastructure(infra: Document[Infrastructure]) -> Iterator[Issue]:
    spec = infra.value
    for name, site in spec.sites.items():
        per = site.count.per
        if per is not None:
            yield from _known(infra, ("sites", name, "count"), "site", per, (s for s in spec.sites if s != name))
        for pool, devices in site.pools.items():
            yield from _known(infra, ("sites", name, "pools", pool), "hardware", devices.hardware, spec.hardware)
    for name, fleet in spec.fleets.items():
        for index, part in enumerate(fleet):
            yield from _known(infra, ("fleets", name, index), "hardware", part.hardware, spec.hardware)
        total = sum(part.share for part in fleet)
        if abs(total - 1) > 0.001:
            yield Issue(f"the shares of fleet {name!r} add up to {total:g}; expected 1", infra.place("fleets", name))
    chain = _per_cycle(spec)
    if chain:
        text = " -> ".join([*chain, chain[0]])
        yield Issue(f"sites are counted by each other: {text}", infra.place("sites", chain[0], "count"))
    for name, link in spec.links.items():
        for end in link.between:
            yield from _known(infra, ("links", name, "between"), "site", end, spec.sites)
        for way in ("up", "down"):
            shared = link.direction(way).shared
            if shared is not None:
                at = ("links", name, way, "shared")
                yield from _known(infra, at, "end of this link", shared.by, link.between)


def _per_cycle(infra: Infrastructure) -> list[str]:
    for name in infra.sites:
        trail: list[str] = []
        site: str | None = name
        while site in infra.sites and site not in trail:
            trail.append(site)
            site = infra.sites[site].count.per
        if site == name:
            return trail
    return []


def _placement(app: Document[Application], infra: Document[Infrastructure]) -> Iterator[Issue]:
    """Selectors that match no site, and sites that the requests of a source can never reach."""
    spec = app.value
    for name, source in spec.sources.items():
        yield from _selector(app, ("sources", name, "at"), source.at, infra.value)
        yield from _unreachable(infra, matching_sites(source.at, infra.value))
    for name, component in spec.components.items():
        if component.at is not None:
            yield from _selector(app, ("components", name, "at"), component.at, infra.value)
        yield from _capabilities(app, name, component.requires, infra.value)
    for name, sink in spec.sinks.items():
        if sink.at != "origin":
            yield from _selector(app, ("sinks", name, "at"), sink.at, infra.value)
    for name, constraint in spec.constraints.items():
        if isinstance(constraint, ResidencyConstraint):
            yield from _selector(app, ("constraints", name, "only_at"), constraint.only_at, infra.value)
        elif isinstance(constraint, MemoryConstraint) and constraint.at is not None:
            yield from _selector(app, ("constraints", name, "at"), constraint.at, infra.value)


def _powerless(app: Document[Application], infra: Document[Infrastructure]) -> Iterator[Issue]:
    """Energy is asked for, and of some device in reach nobody says how much it takes: it would count as none."""
    limits = app.value.constraints.items()
    asked: list[Path_] = [("constraints", name) for name, limit in limits if isinstance(limit, EnergyConstraint)]
    asked += [("objective", i) for i, term in enumerate(app.value.objective) if term == "energy"]
    if not asked:
        return
    for site, spec in infra.value.sites.items():
        for name, pool in spec.pools.items():
            hardware = infra.value.hardware.get(pool.hardware)
            if hardware is not None and pool.devices[1] > 0 and pool.power is None and hardware.power is None:
                text = f"no power of hardware {pool.hardware!r} is known, but {app.place(*asked[0])} asks for energy"
                yield Issue(text, infra.place("sites", site, "pools", name), "add power: IDLE..BUSY W to it")


def _budgets(app: Document[Application], infra: Document[Infrastructure]) -> Iterator[Issue]:
    """Limits on the cost, and prices of calls, in another currency than prices are in."""
    for name, limit in app.value.constraints.items():
        if isinstance(limit, CostConstraint):
            text = app.yaml.value["constraints"][name]["cost"]
            other = currency_of(text)
            if other is not None and other != infra.value.currency:
                place = app.place("constraints", name, "cost")
                yield Issue(f"{text!r} is in {other}, but prices are in {infra.value.currency}", place)
    for name, component in app.value.components.items():
        if component.api is not None:
            text = app.yaml.value["components"][name]["api"]["price"]
            other = currency_of(text)
            if other is not None and other != infra.value.currency:
                place = app.place("components", name, "api", "price")
                yield Issue(f"{text!r} is in {other}, but prices are in {infra.value.currency}", place)


def _unreachable(infra: Document[Infrastructure], entries: Iterable[str]) -> Iterator[Issue]:
    """Each site that no request of some entry can reach, once; an entry without any link instead of all others."""
    spec = infra.value
    ends = {end for link in spec.links.values() for end in link.between}
    if not ends <= set(spec.sites):  # a link that names no site is told already, and may be the way
        return
    told: set[str] = set()
    for entry in entries:
        reached = _reachable(spec, entry)
        missing = [s for s, site in spec.sites.items() if site.pools and s not in reached]
        if missing and entry not in ends:
            yield Issue(f"no link leads from site {entry!r}", infra.place("sites", entry), "add one under `links`")
            continue
        for site in missing:
            if site not in told:
                place = infra.place("sites", site)
                yield Issue(f"no route between sites {entry!r} and {site!r}", place, "add a link")
            told.add(site)


def _capabilities(app: Document[Application], name: str, required: list[str], infra: Infrastructure) -> Iterator[Issue]:
    """Words that no hardware and no site has a label for."""
    labels = [s.labels for s in infra.sites.values()] + [h.labels for h in infra.hardware.values()]
    known = sorted({word for of in labels for key, value in of.items() for word in (key, f"{key}={value}")})
    for i, word in enumerate(required):
        if "=".join(part.strip() for part in word.split("=")) not in known:
            hint = near(word, known) or "give the hardware or a site such a label"
            yield Issue(f"no hardware and no site has {word!r}", app.place("components", name, "requires", i), hint)


def _selector(app: Document[Application], path: Path_, selector: Selector, infra: Infrastructure) -> Iterator[Issue]:
    if matching_sites(selector, infra):
        return
    for key, word in selector.items():
        known = {"site": list(infra.sites), "tier": sorted({s.tier for s in infra.sites.values()})}.get(key)
        if known is None:
            known = sorted({s.labels[key] for s in infra.sites.values() if key in s.labels})
        if word not in known:
            place = app.place(*path, key)
            yield Issue(f"no site with {key} {word!r}", place, near(word, known) or f"no site has a label {key!r}")
            return
    yield Issue(f"no site matches all of {selector}", app.place(*path))


def _reachable(infra: Infrastructure, start: str) -> set[str]:
    found, todo = {start}, [start]
    while todo:
        site = todo.pop()
        for link in infra.links.values():
            if site in link.between:
                fresh = set(link.between) - found
                found |= fresh
                todo += fresh
    return found

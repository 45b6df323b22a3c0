"""What the grammar allows and this version does not do yet: refused with its line, never ignored."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Final

from specs.application import Application, Component
from specs.belonging import own_of, parents
from specs.errors import Issue
from specs.fan_out import item_inputs, items_of
from specs.graph import Graph
from specs.infrastructure import MOST_EXECUTORS, Infrastructure, Link
from specs.load import Document
from specs.selector import capable, matching_sites
from specs.state import several_places, varying_components
from specs.yamlfile import Path_

MOST_COMBINATIONS: Final = 4096
"""Each is run by the reference pipeline, and solved for."""
_Found = Iterator[tuple[Path_, str, str]]
"""(path in the file, what is not supported, the way out)."""


def unsupported(app: Document[Application], infra: Document[Infrastructure] | None = None) -> list[Issue]:
    """Every feature that the files use and this version cannot do, in the order of the files."""
    found = [_issue(app, *f) for f in _application(app.value)]
    if infra is not None:
        found += [_issue(app, *f) for f in _sinks(app.value, infra.value)]
        found += [_issue(app, *f) for f in _states(app.value, infra.value)]
        found += [_issue(infra, *f) for f in _infrastructure(infra.value)]
    return found


def _issue(document: Document[Application] | Document[Infrastructure], path: Path_, what: str, hint: str) -> Issue:
    return Issue(f"not supported yet: {what}", document.place(*path), hint)


def _application(app: Application) -> _Found:
    for name, component in app.components.items():
        for key, what, hint in _component(component):
            yield ("components", name, *key), what, hint
        yield from _fan_out(app, name, component)
    yield from _remembered(app)
    yield from _calibrated(app)
    combinations = prod(max(1, len(c.variants)) for c in app.components.values())
    if combinations > MOST_COMBINATIONS:
        what = f"{combinations:,} combinations of variants (at most {MOST_COMBINATIONS:,})"
        yield ("components",), what, "leave variants out"


def _sinks(app: Application, infra: Infrastructure) -> _Found:
    """Sinks at other sites: of one class of them each request has a member to go to."""
    graph = Graph(app)
    for name, sink in app.sinks.items():
        if sink.at == "origin":
            continue
        sites = matching_sites(sink.at, infra)
        sources = [s for s in app.sources if name in graph.descendants([s])] if not graph.on_cycle else []
        for origin in (o for source in sources for o in matching_sites(app.sources[source].at, infra)):
            own = own_of(infra, origin, sites)
            if sites and not own:
                what = f"a sink at {sites[0]!r}, of which requests that enter at {origin!r} have no one member to go to"
                yield ("sinks", name, "at"), what, f"say how they belong together with count: N per {sites[0]}"
            elif len(own) > 1:
                what = f"a sink at any of {', '.join(own)}, none of which requests that enter at {origin!r} belong to"
                hint = "name one with site:, or say where requests belong with count: N per SITE"
                yield ("sinks", name, "at"), what, hint


def _states(app: Application, infra: Infrastructure) -> _Found:
    """A state is in one pool of one class of sites, at each member its own."""
    for name, component in app.components.items():
        if component.state is not None and (places := several_places(component, infra)):
            what = f"state in several pools or classes of sites ({', '.join(places)})"
            yield (
                ("components", name, "at"),
                what,
                "name one with at: {site: NAME}, a pool of it with requires: [LABEL]",
            )
        elif component.state is not None and (pool := _shared_devices(component, infra)):
            what = f"state in {pool}, of whose devices each would have its own"
            yield ("components", name, "state"), what, "use devices: 1, or sharing: cores"


def _shared_devices(component: Component, infra: Infrastructure) -> str:
    """The pool of a component with state, where it may have several devices that share their time."""
    for site in matching_sites(component.at or {}, infra):
        for name, pool in infra.sites[site].pools.items():
            hardware = infra.hardware.get(pool.hardware)
            several = hardware is not None and hardware.sharing == "time" and pool.devices[1] > 1
            if several and capable(component.requires, infra, site, name):
                return f"{site}.{name}"
    return ""


def _fan_out(app: Application, name: str, component: Component) -> _Found:
    """A component that runs per item, and what those take of it that run once a request."""
    at = ("components", name)
    if component.per is not None and component.encodings:
        yield (*at, "split", "codec"), "codecs of a component that runs per item", "leave codec out"
    gate = component.when
    decides = app.components.get(gate.ref.producer) if gate is not None else None
    own = gate is not None and component.per is not None and gate.ref.from_ == items_of(app, component.per)
    if own or (decides is not None and decides.per is not None):
        yield (*at, "when"), "a gate for each item", "let a component that takes all items decide"
    takers = {("components", n): c.inputs for n, c in app.components.items()}
    takers |= {("sinks", n): s.inputs for n, s in app.sinks.items()}
    for key, ref in component.inputs.items():
        if ref.if_skipped is not None and key in item_inputs(app, name):
            yield (*at, "inputs", key), "a number in place of skipped items", "let the component be skipped"
    if component.per is not None:
        for (space, taker), inputs in takers.items():
            for key, ref in inputs.items():
                if ref.producer == name and ref.if_skipped is not None and taker != name:
                    hint = "join the branches in a component before it"
                    yield (space, taker, "inputs", key), "a number in place of a skipped stack", hint


def _remembered(app: Application) -> _Found:
    """Gates and labels that depend on state: what the data says of them holds for no other order of requests."""
    graph = Graph(app)
    varying = set() if graph.on_cycle else varying_components(app)
    keeps = any(c.state is not None for c in app.components.values())
    for name, component in app.components.items():
        if keeps and component.encodings:
            what = "codecs beside a component that keeps state"  # agreement runs each request twice
            yield ("components", name, "split", "codec"), what, "leave codec out"
        if component.when is not None and component.when.ref.producer in varying:
            yield ("components", name, "when"), "a gate that depends on state", "let the component run always"
    for data, of in app.data.items():
        sinks = [s for s in app.sinks.values() if of.label is not None and of.label in s.inputs]
        if any(s.inputs[str(of.label)].producer in varying for s in sinks):
            yield ("data", data, "label"), "accuracy of what depends on state", "label an answer that does not"


def _calibrated(app: Application) -> _Found:
    """Calibrating runs all that computes a model's inputs, and would call it unasked."""
    graph = Graph(app)
    hosted = [name for name, component in app.components.items() if component.api is not None]
    fed = frozenset() if graph.on_cycle else graph.descendants(hosted)
    for name, component in app.components.items():
        for variant, real in component.variants.items():
            if real.quantize is not None and name in fed:
                what = "quantizing a model that is fed by a hosted API"
                yield ("components", name, "variants", variant, "quantize"), what, "hand in a model that is in int8"


def _component(component: Component) -> _Found:
    if component.api is not None and component.per is not None:
        yield ("per",), "a hosted API that runs per item", "let it take all items at once"
    for variant, real in component.variants.items():
        if real.api is not None:
            yield ("variants", variant), "a hosted API among variants", "give the component api: alone"
    if component.state is not None and component.has_environment:
        yield ("state",), "state of a function with environment or secrets", "leave one of them out"
    if component.state is not None and component.per is not None:
        yield ("state",), "state of a component that runs per item", "let a component that takes all items remember"
    yield from _dims(component)
    if component.batch is not None and component.encodings:
        yield ("split", "codec"), "codecs of a model that runs in batches", "leave batch or codec out"


def _dims(component: Component) -> _Found:
    """Beside buckets of one dimension stands nothing else that makes several artefacts of one model."""
    if not component.dims:
        return
    first, *others = component.dims
    if others:
        what = f"buckets of several dimensions ({first} and {others[0]})"
        yield ("dims", others[0]), what, "export the model with a fixed size for all but one"
    if component.split is not None:
        yield ("split",), "cutting a model that has dims", "leave split out"
    if component.batch is not None:
        yield ("batch",), "batches of a model that has dims", "leave batch out"
    if component.per is not None:
        yield ("per",), "dims of a component that runs per item", "export the model with fixed sizes"


def _infrastructure(infra: Infrastructure) -> _Found:
    for site, spec in infra.sites.items():
        for pool, devices in spec.pools.items():
            at = ("sites", site, "pools", pool, "devices")
            used = infra.hardware.get(devices.hardware)
            if used is not None and used.sharing == "time" and devices.devices[1] > MOST_EXECUTORS:
                what = f"more than {MOST_EXECUTORS} devices in a pool with sharing: time"
                yield at, what, "make several pools of them"
    for name, link in infra.links.items():
        if _ambiguous(infra, link):
            what = f"a link between {link.between[0]!r} and {link.between[1]!r}, of which each has many members"
            yield ("links", name, "between"), what, "say how they belong together with count: N per SITE"


def _ambiguous(infra: Infrastructure, link: Link) -> bool:
    """Whether a member of one end does not say which member of the other end it is joined to."""
    a, b = link.between
    if a not in infra.sites or b not in infra.sites:
        return False
    above = {site: parents(infra, site) for site in (a, b)}
    many = all(any(infra.sites[s].count.count > 1 for s in (site, *above[site])) for site in (a, b))
    return many and b not in above[a] and a not in above[b]

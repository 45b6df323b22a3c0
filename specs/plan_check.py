"""Whether a plan can be about these files at all: names that exist, whole coverage, devices and routes that are there.

A plan is data that may have been edited. Figures are `planner verify`'s to recompute; everything that compiles, runs or
verifies a plan relies on what is checked here, with the spec files alone.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Final, get_args

from specs.application import Application, Component, Cuts
from specs.artefact import ModelBackend
from specs.codec import plain_names
from specs.errors import InputError, Issue, Place
from specs.graph import Graph
from specs.infrastructure import Infrastructure
from specs.nearest import near
from specs.plan import Assignment, Plan
from specs.selector import matching_sites

_ADDRESS: Final = re.compile(r"[0-9a-f]{64}")
MOST: Final = 20
"""Issues told at once."""


def refuse_impossible(plan: Plan, app: Application, infra: Infrastructure, file: str = "") -> None:
    """Raises InputError, naming the fields, where `plan` (read from `file`) cannot be about `app` and `infra`."""
    issues = impossible(plan, app, infra)
    if issues:
        place = Place(file) if file else None
        hint = "a plan is not edited by hand: solve again"
        raise InputError(*(Issue(text, place, "" if i else hint) for i, text in enumerate(issues[:MOST])))


def impossible(plan: Plan, app: Application, infra: Infrastructure) -> list[str]:
    """What `plan` says that cannot be, each with its field; nothing for a plan that places nothing."""
    if plan.status not in ("optimal", "feasible"):
        return []
    found = list(_names(plan, app, infra))
    if not found:  # what follows relies on names that are known
        graph = Graph(app)
        found += [*_coverage(plan, app, infra, graph), *_devices(plan, infra)]
        found += [*_routes(plan, infra), *_listed(plan, app)]
    return found


def chain_of(plan: Plan, flow: str, component: str) -> tuple[int, ...] | None:
    """Indices of the assignments that serve `component` for `flow`, in the order of its segments; None where they are
    not one chain from the model's inputs to its outputs."""
    mine = [(i, a) for i, a in enumerate(plan.assignments) if a.component == component and flow in a.flows]
    chain: list[int] = []
    after: tuple[str, ...] = ()
    for _ in mine:
        following = [i for i, a in mine if a.segment.begin == after and i not in chain]
        if len(following) != 1:
            return None
        chain.append(following[0])
        after = plan.assignments[following[0]].segment.end
        if not after:
            break
    return tuple(chain) if chain and not after and len(chain) == len(mine) else None


def flows_in(app: Application, infra: Infrastructure) -> dict[str, tuple[str, str]]:
    """(source, site) of each flow, by its name."""
    sources = app.sources.items()
    return {f"{s}@{site}": (s, site) for s, source in sources for site in matching_sites(source.at, infra)}


# Names and numbers of each assignment


def _names(plan: Plan, app: Application, infra: Infrastructure) -> Iterator[str]:
    if plan.application != app.name:
        yield f"application: {plan.application!r}, but the application is {app.name!r}"
    if not plan.assignments:
        yield "assignments: nothing is placed"
    flows = flows_in(app, infra)
    for i, a in enumerate(plan.assignments):
        for text in _assignment(a, app, infra, flows):
            yield f"assignments[{i}].{text}"
    for i, d in enumerate(plan.devices):
        yield from _known(f"devices[{i}].site", "site", d.site, infra.sites)
        if d.site in infra.sites:
            yield from _known(f"devices[{i}].pool", "pool", d.pool, infra.sites[d.site].pools)
    for i, route in enumerate(plan.routes):
        yield from _known(f"routes[{i}].from", "site", route.from_, infra.sites)
        yield from _known(f"routes[{i}].to", "site", route.to, infra.sites)
        for origin in route.origins:
            yield from _known(f"routes[{i}].origins", "site", origin, infra.sites)
        for j, hop in enumerate(route.hops):
            yield from _known(f"routes[{i}].hops[{j}].link", "link", hop.link, infra.links)
    for i, load in enumerate(plan.links):
        yield from _known(f"links[{i}].name", "link", load.name.removesuffix(" shared"), infra.links)
    for i, cut in enumerate(plan.cuts):
        yield from _known(f"cuts[{i}].component", "component", cut.component, app.components)
    for i, path in enumerate(plan.paths):
        yield from _known(f"paths[{i}].flow", "flow", path.flow, flows)


def _known(field: str, kind: str, word: str, known: Iterable[str]) -> Iterator[str]:
    names = list(known)
    if word not in names:
        way_out = near(word, names)
        yield f"{field}: unknown {kind} {word!r}" + (f" ({way_out})" if way_out else "")


def _assignment(
    a: Assignment, app: Application, infra: Infrastructure, flows: Mapping[str, tuple[str, str]]
) -> Iterator[str]:
    yield from _known("component", "component", a.component, app.components)
    yield from _known("site", "site", a.site, infra.sites)
    for flow in a.flows:
        yield from _known("flows", "flow", flow, flows)
    if not a.flows or len(set(a.flows)) != len(a.flows):
        yield "flows: each flow served is named once, and there is one"
    elif all(f in flows for f in a.flows):
        members = sum(infra.members(flows[f][1]) for f in a.flows)
        if a.members != members:
            yield f"members: {a.members}, but its flows have {members}"
    if a.component in app.components:
        yield from _realised(a, app)
        yield from _batched(a, app.components[a.component])
    if a.site in infra.sites:
        yield from _device(a, infra)


def _batched(a: Assignment, component: Component) -> Iterator[str]:
    if a.batch not in component.batch_sizes:
        yield f"batch: {a.batch}, expected {' or '.join(map(str, component.batch_sizes))}"
    longest = component.batch.wait * 1e3 if component.batch else 0.0
    if a.batch_wait_ms > longest * (1 + 1e-9) or (a.batch == 1 and a.batch_wait_ms):
        yield f"batch_wait_ms: {a.batch_wait_ms:g}, expected at most {longest if a.batch > 1 else 0:g}"


def _realised(a: Assignment, app: Application) -> Iterator[str]:
    component = app.components[a.component]
    if a.variant not in component.realisations:
        yield from _known("variant", "variant", a.variant, component.realisations)
        return
    is_model = component.realisations[a.variant].is_model
    backends = (component.backends or get_args(ModelBackend)) if is_model else ("python",)
    yield from _known("backend", "backend", a.backend, backends)
    compiled = is_model and a.provenance != "estimated"  # what nobody ran was not compiled either
    if not _ADDRESS.fullmatch(a.artefact) and (compiled or a.artefact):
        yield f"artefact: expected a content address, got {a.artefact!r}"
    if component.cut_anywhere and is_model:  # what is cut where stands in the artefacts, by their addresses
        return
    declared = component.split.tensors(a.variant) if isinstance(component.split, Cuts) else ()
    for end in (a.segment.begin, a.segment.end):
        if end and plain_names(end) not in declared:
            yield f"segment: {'+'.join(end)!r} is no declared cut of {a.component}/{a.variant}"


def _device(a: Assignment, infra: Infrastructure) -> Iterator[str]:
    pools = infra.sites[a.site].pools
    yield from _known("pool", "pool", a.pool, pools)
    if a.pool not in pools:
        return
    name = pools[a.pool].hardware
    if a.hardware != name:
        yield f"hardware: {a.hardware!r}, but {a.site}.{a.pool} is of {name!r}"
    hardware = infra.hardware[name]
    if not 1 <= a.threads <= hardware.cores:
        yield f"threads: {a.threads}, but {name} has {hardware.cores} cores"
    if a.batch > 1 and hardware.sharing == "time":
        yield f"batch: {a.batch}, expected 1: {name} shares its time"
    if a.replicas < 1:
        yield f"replicas: {a.replicas}, expected at least 1"


# Coverage


def _coverage(plan: Plan, app: Application, infra: Infrastructure, graph: Graph) -> Iterator[str]:
    for flow, (source, _) in flows_in(app, infra).items():
        below = graph.descendants([source])
        for component in graph.order:
            if component not in below:
                continue
            chain = chain_of(plan, flow, component)
            if chain is None:
                yield f"assignments: {component!r} is not covered exactly once for {flow!r}"
            elif len({plan.assignments[i].variant for i in chain}) > 1:
                yield f"assignments: {component!r} has more than one variant for {flow!r}"


# Devices and routes


def _devices(plan: Plan, infra: Infrastructure) -> Iterator[str]:
    bought = {(d.site, d.pool): d.bought for d in plan.devices}
    threads: dict[tuple[str, str], int] = {}
    for a in plan.assignments:
        threads[a.site, a.pool] = threads.get((a.site, a.pool), 0) + a.threads * (a.replicas + a.standby)
    for i, d in enumerate(plan.devices):
        pool = infra.sites[d.site].pools[d.pool]
        low, high = pool.devices
        hardware = infra.hardware[pool.hardware]
        if not max(low, 1) <= d.bought <= high:
            yield f"devices[{i}].bought: {d.bought}, expected {max(low, 1)} to {high}"
        if (d.hardware, d.sharing) != (pool.hardware, hardware.sharing):
            yield f"devices[{i}].hardware: {d.hardware!r} shared by {d.sharing!r}, but the pool is not"
    for i, a in enumerate(plan.assignments):
        count = bought.get((a.site, a.pool), 0)
        if infra.hardware[a.hardware].sharing == "time" and a.replicas != count > 0:
            yield f"assignments[{i}].replicas: {a.replicas}, expected one on each of {count} devices"
    for (site, name), needed in threads.items():
        count = bought.get((site, name), 0)
        hardware = infra.hardware[infra.sites[site].pools[name].hardware]
        if count < 1:
            yield f"devices: {site}.{name} runs something and has no device"
        elif hardware.sharing == "cores" and needed > count * hardware.cores:
            yield f"devices: {site}.{name} has {count * hardware.cores} cores for {needed} threads"


def _routes(plan: Plan, infra: Infrastructure) -> Iterator[str]:
    for i, route in enumerate(plan.routes):
        at = route.from_
        for hop in route.hops:
            first, second = infra.links[hop.link].between
            start, end = (first, second) if hop.direction == "up" else (second, first)
            if at != start:
                yield f"routes[{i}]: {hop.link} {hop.direction} does not start at {at!r}"
                break
            at = end
        else:
            if at != route.to or not route.hops:
                yield f"routes[{i}]: ends at {at!r}, not at {route.to!r}"


# Lists whose entries have names


def _listed(plan: Plan, app: Application) -> Iterator[str]:
    keys: dict[str, list[Hashable]] = {
        "devices": [(d.site, d.pool) for d in plan.devices],
        "links": [(x.name, x.direction) for x in plan.links],
        "routes": [(r.from_, r.to, origin) for r in plan.routes for origin in r.origins],
        "cuts": [(c.component, c.tensors, c.codec) for c in plan.cuts],
        "paths": [p.key for p in plan.paths],
        "constraints": [c.name for c in plan.constraints],
        "cost.items": [item.name for item in plan.cost.items] if plan.cost else [],
        "behaviour": [(tuple(sorted(b.variants.items())), str(b.encoded)) for b in plan.behaviour],
        "inputs.records": list(plan.inputs.records),
        "inputs.behaviour": list(plan.inputs.behaviour),
    }
    for name, entries in keys.items():
        if len(set(entries)) != len(entries):
            yield f"{name}: an entry stands there twice"
    for name, values in (("objective", plan.objective), ("bound", plan.bound)):
        if len(values) != len(app.objective):
            yield f"{name}: {len(values)} values for {len(app.objective)} objectives"
    for name, what in (("conflict", plan.conflict), ("relaxations", plan.relaxations)):
        if what or (name == "conflict" and plan.further_conflicts):
            yield f"{name}: of a plan that exists there is none"

"""What the spec files add to a plan's report: tiers, members, links, emulation, and who waits for whom."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from planner.cli.report.page import Context
from planner.units import units_of
from specs.application import Application
from specs.changes import parse_changes
from specs.errors import InputError, Issue, Place
from specs.graph import Graph
from specs.load import Document, load_application, load_infrastructure
from specs.plan import Plan


def context_of(plan: Plan, app_file: Path | None, infra_file: Path | None) -> Context:
    """The context of `plan` from the files given. Raises InputError where they are not those that it was made from."""
    changes = parse_changes(plan.inputs.changes)
    app = load_application(app_file, changes.app) if app_file else None
    infra = load_infrastructure(infra_file, changes.infra) if infra_file else None
    _same("application", app, plan.inputs.app)
    _same("infrastructure", infra, plan.inputs.infra)
    edges = stage_edges(plan, app.value) if app else ()
    currency = infra.value.currency if infra else plan.cost.currency if plan.cost else ""
    units = units_of(app.value, currency) if app and plan.objective else ()
    sizes = {name: c.state_size for name, c in app.value.components.items()} if app else {}
    remembers = {name: size for name, size in sizes.items() if size is not None}
    hosted = {name: c.api for name, c in app.value.components.items()} if app else {}
    calls = {name: api.endpoint for name, api in hosted.items() if api is not None}
    if infra is None:
        return Context(edges=edges, units=units, remembers=remembers, calls=calls)
    spec = infra.value
    return Context(
        tiers={name: site.tier for name, site in spec.sites.items()},
        members={name: spec.members(name) for name in spec.sites},
        links={name: link.between for name, link in spec.links.items()},
        emulation={name: h.emulate.cpu for name, h in spec.hardware.items() if h.emulate},
        edges=edges,
        units=units,
        remembers=remembers,
        calls=calls,
    )


def _same(kind: str, document: Document[Any] | None, digest: str) -> None:
    if document is not None and document.digest != digest:
        raise InputError(Issue(f"not the {kind} that the plan was made for", Place(document.file), "solve again"))


def stage_edges(plan: Plan, app: Application) -> tuple[tuple[str, str], ...]:
    """(producer, consumer) by stage name: a component that is cut is the chain of its segments."""
    chains: dict[str, list[str]] = {}
    for a in plan.assignments:
        name = a.stage_name
        chain = chains.setdefault(a.component, [])
        if name not in chain:
            chain.insert(0 if not a.segment.begin else len(chain), name)
    between = [
        (chains.get(e.producer, [e.producer])[-1], chains.get(e.consumer, [e.consumer])[0]) for e in Graph(app).edges
    ]
    inside = [pair for chain in chains.values() for pair in pairwise(chain)]
    return (*between, *inside)

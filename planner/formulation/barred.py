"""Which constraints rule out a combination of variants, or a place for a component, whatever else is chosen."""

from __future__ import annotations

from planner.formulation.names import ConstraintTable
from planner.placement.pipeline import Pipeline
from planner.situation import Situation
from specs.application import AccuracyConstraint, ResidencyConstraint
from specs.errors import InputError, Issue
from specs.selector import capable, matching_sites


def barred_scenario(situation: Situation, constraints: ConstraintTable, pipeline: Pipeline) -> tuple[int, ...]:
    """Constraints that this combination breaks wherever it runs: accuracy, and sinks that data must not reach.

    Raises InputError where the accuracy that is asked for was not measured.
    """
    app = situation.app
    barred: list[int] = []
    for name, c in app.value.constraints.items():
        if isinstance(c, AccuracyConstraint):
            found = [a for a in pipeline.behaviour.accuracy if a.data == c.on]
            if not found:
                message = f"accuracy on {c.on!r} is not in the behaviour"
                raise InputError(Issue(message, app.place("constraints", name), "profile again with labelled data"))
            if found[0].value < c.accuracy:
                barred.append(constraints.index[name])
        elif isinstance(c, ResidencyConstraint):
            reached = takers_of(situation, c.value) & set(pipeline.flow.sinks)
            if not {pipeline.flow.end(sink) for sink in reached} <= {*matching_sites(c.only_at, situation.infra.value)}:
                barred.append(constraints.index[name])
    return tuple(barred)


def barred_option(
    situation: Situation, constraints: ConstraintTable, component: str, site: str, pool: str
) -> tuple[int, ...]:
    """Constraints that keep `component` from a pool: its pin, what it requires, and residency of what it takes."""
    app, infra = situation.app, situation.infra.value
    barred: list[int] = []
    spec = app.value.components[component]
    at = ("components", component)
    if spec.at is not None and site not in matching_sites(spec.at, infra):
        barred.append(constraints.add("pin", f"components.{component}.at", app.place(*at, "at")))
    if not capable(spec.requires, infra, site, pool):
        barred.append(constraints.add("capability", f"components.{component}.requires", app.place(*at, "requires")))
    for name, c in app.value.constraints.items():
        if not isinstance(c, ResidencyConstraint) or component not in takers_of(situation, c.value):
            continue
        if site not in matching_sites(c.only_at, infra):
            barred.append(constraints.index[name])
    return tuple(barred)


def takers_of(situation: Situation, value: str) -> set[str]:
    """Components and sinks that take `value` or anything derived from it that was not released."""
    app, graph = situation.app.value, situation.graph
    producer, output = value.split(".")
    takers = {e.consumer for e in graph.edges if e.producer == producer and output in e.outputs}
    todo, seen = list(takers), set(takers)
    while todo:
        node = todo.pop()
        if node in app.components and not app.components[node].release:
            new = {e.consumer for e in graph.consumers(node)} - seen
            seen |= new
            todo += new
    return seen

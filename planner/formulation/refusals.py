"""What a Problem cannot say of a pipeline, found once its options are known."""

from __future__ import annotations

from planner.placement.pipeline import Pipeline, Shape
from planner.problem import Step
from planner.situation import Situation
from specs.errors import InputError, Issue


def refuse_unreachable(situation: Situation, pipeline: Pipeline, step: Step) -> None:
    """Requests start at the flow's site, and links go both ways: a component must be reachable from there."""
    names = list(situation.infra.value.sites)
    home = pipeline.flow.site
    routes = situation.network.routes(home)
    allowed = [names[o.site] for o in step.options if not o.barred]
    if allowed and not any(site == home or (home, site) in routes for site in allowed):
        app = situation.app
        message = f"no route between sites {home!r} and {allowed[0]!r}, where {step.name!r} must run"
        raise InputError(Issue(message, app.place("components", step.name, "at"), "add a link under `links`"))


def refuse_unheard(situation: Situation, pipeline: Pipeline) -> None:
    """What takes a value that is skipped begins when it hears so from whoever decided it, and that message is not
    predicted: it must take something that comes after the decision too.
    """
    app = situation.app
    for shape in pipeline.shapes:
        before = _before(pipeline, shape)
        for name in [*(c for c in pipeline.flow.components if c in shape.runs), *pipeline.flow.sinks]:
            for skipped in _skipped(situation, shape, name):
                deciders = _deciders(situation, shape, skipped)
                if deciders and not deciders & before[name]:
                    decider = min(deciders)
                    message = f"not supported yet: where {skipped!r} is skipped, {name!r} waits for {decider!r} only"
                    section = "components" if name in app.value.components else "sinks"
                    hint = f"let it take a value of {decider!r} too"
                    raise InputError(Issue(message, app.place(section, name, "inputs"), hint))


def _skipped(situation: Situation, shape: Shape, taker: str) -> list[str]:
    """The components without whose values `taker` goes on."""
    app = situation.app.value
    refs = (app.components.get(taker) or app.sinks[taker]).inputs.values()
    gone = app.components.keys() - shape.runs
    return [r.producer for r in refs if r.if_skipped is not None and r.producer in gone]


def _before(pipeline: Pipeline, shape: Shape) -> dict[str, set[str]]:
    """By component or sink of the flow, those of which it waits for something, at once or by way of others."""
    found: dict[str, set[str]] = {}
    live = [pipeline.messages[i] for i in pipeline.live(shape)]
    for name in (*pipeline.situation.graph.order, *pipeline.flow.sinks):
        into = {m.producer.name for m in live if m.consumer.name == name} - {name}
        found[name] = into.union(*(found.get(p, set()) for p in into))
    return found


def _deciders(situation: Situation, shape: Shape, skipped: str) -> set[str]:
    """The components that run and made the gates by which `skipped` does not, at once or by way of others."""
    components = situation.app.value.components
    gate = components[skipped].when
    found = {gate.ref.producer} & shape.runs if gate is not None else set[str]()
    refs = [*components[skipped].inputs.values(), *([gate.ref] if gate is not None else [])]
    gone = {r.producer for r in refs if r.producer in components} - shape.runs
    return found.union(*(_deciders(situation, shape, p) for p in gone))

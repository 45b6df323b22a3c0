"""What a Problem cannot say of a pipeline, found once its options are known."""

from __future__ import annotations

from planner.formulation.stations import StationKey
from planner.pipeline import Pipeline
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


def refuse_meeting(
    situation: Situation, pipeline: Pipeline, steps: tuple[Step, ...], stations: list[StationKey]
) -> None:
    """Two branches of one request on one executor wait for each other, which no table here knows."""
    app, graph = situation.app, situation.graph
    shared = [
        {stations[o.station].site + "." + stations[o.station].pool for o in s.options if o.visits and not o.barred}
        for s in steps
    ]
    below = {step.name: graph.descendants([step.name]) for step in steps}
    for i, one in enumerate(steps):
        for j in range(i + 1, len(steps)):
            other = steps[j]
            together = any({one.name, other.name} <= s.runs for s in pipeline.shapes)
            if together and other.name not in below[one.name] and shared[i] & shared[j]:
                where = sorted(shared[i] & shared[j])[0]
                message = f"not supported yet: {one.name!r} and {other.name!r} run in parallel and may meet on {where}"
                hint = "pin one of them elsewhere with `at`"
                raise InputError(Issue(message, app.place("components", other.name), hint))

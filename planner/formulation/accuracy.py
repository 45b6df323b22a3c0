"""Accuracy as an objective: the share of all requests that a combination of variants answers wrong."""

from __future__ import annotations

from planner.placement.pipeline import Pipeline
from planner.problem import PPB
from planner.situation import Situation
from specs.application import AccuracyConstraint, Application
from specs.behaviour import Behaviour
from specs.errors import InputError, Issue


def wrong_of(situation: Situation, pipeline: Pipeline) -> int:
    """Wrong answers of the pipeline's flow by all requests of the application, in ppb; 0 where no objective asks.

    Raises InputError where accuracy was not measured, or on several data sets of which no constraint names one.
    """
    if "accuracy" not in situation.app.value.objective:
        return 0
    known = {a.data: a.value for a in pipeline.behaviour.accuracy}
    asked = sum(f.mean * f.members for f in situation.flows)
    flow = pipeline.flow
    part = flow.mean * flow.members / asked if asked else flow.members / sum(f.members for f in situation.flows)
    return round(part * (1 - known[data_of(situation)]) * PPB)


def data_of(situation: Situation) -> str:
    """The data set on which accuracy is an objective: the first that a constraint names, or the only one measured."""
    app = situation.app
    place = app.place("objective")
    known = measured_on(situation.behaviours)
    if not known:
        raise InputError(
            Issue("accuracy is an objective, but was not measured", place, "name labelled data and profile again")
        )
    named = _named(app.value)
    if not named and len(known) > 1:
        hint = f"add a constraint that names one, such as quality: {{accuracy: '>= 0', on: {known[0]}}}"
        raise InputError(Issue(f"accuracy is an objective, and was measured on {', '.join(known)}", place, hint))
    data = named[0] if named else known[0]
    if data not in known:
        raise InputError(
            Issue(f"accuracy on {data!r} is not in the behaviour", place, "profile again with labelled data")
        )
    return data


def measured_on(behaviours: tuple[Behaviour, ...]) -> list[str]:
    """The data sets on which the accuracy of every combination is known, by name."""
    sets = [{a.data for a in b.accuracy} for b in behaviours]
    return sorted(set.intersection(*sets)) if sets else []


def _named(app: Application) -> list[str]:
    return [c.on for c in app.constraints.values() if isinstance(c, AccuracyConstraint)]

"""JSON Schemas of every file that people or other programs read and write, for editors and checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from specs.application import Application
from specs.artefact import Artefact
from specs.base import Spec
from specs.behaviour import Behaviour
from specs.clusters import Clusters
from specs.errors import InputError, Issue
from specs.infrastructure import Infrastructure
from specs.manifest import Manifest
from specs.nearest import near
from specs.plan import Plan
from specs.profile import HopOverhead, Record
from specs.run_result import Prediction, RunResult
from specs.simulation_result import SimulationResult

T = TypeVar("T")

MODELS: Final[dict[str, type[Spec]]] = {
    "app": Application,
    "infra": Infrastructure,
    "clusters": Clusters,
    "profile": Record,
    "behaviour": Behaviour,
    "hop": HopOverhead,
    "plan": Plan,
    "artefact": Artefact,
    "bundle": Manifest,
    "prediction": Prediction,
    "run": RunResult,
    "simulation": SimulationResult,
}
"""Short name, as in ``tierplan.NAME/v1`` -> model."""


DRAFT: Final = {"$schema": "https://json-schema.org/draft/2020-12/schema"}


def json_schema(model: type[Spec]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what may stand in a file of `model`."""
    return DRAFT | model.model_json_schema(by_alias=True)


def find(name: str, known: Mapping[str, T]) -> T:
    """What is called `name` in `known`. Raises InputError, with the nearest name or all of them, where nothing is."""
    if name not in known:
        raise InputError(Issue(f"unknown schema {name!r}", None, near(name, known, most=len(known))))
    return known[name]

"""Kinds of files by the ``schema`` that they name, so that one given for another is said to be that."""

from __future__ import annotations

from typing import Any, Final, get_args

from specs.base import Spec
from specs.errors import Issue, Place

KINDS: Final[dict[str, tuple[str, str]]] = {
    "app": ("an application", "verbs that take one call it APP"),
    "infra": ("an infrastructure", "give it with --infra"),
    "plan": ("a plan", "it is the argument PLAN"),
    "run": ("the result of a run", "give it to planner report with --run"),
    "prediction": ("a prediction", "the result of the run is another file, named by planner run -o"),
    "simulation": ("the result of a simulation", ""),
    "bundle": ("the manifest of a bundle", "give the bundle's folder"),
    "export": ("what an export says of itself", ""),
    "artefact": ("the description of an artefact", ""),
    "problem": ("the numbers alone", "give it to planner solve with --problem"),
}
"""Short name, as in ``tierplan.NAME/v1`` -> what such a file is, and where it is to be given."""


def kind_of(model: type[Spec]) -> str:
    """The short name of the files of `model`, which names its ``schema``."""
    schema: str = get_args(model.model_fields["schema_"].annotation)[0]
    return _short(schema)


def another_kind(value: Any, expected: str, place: Place) -> Issue | None:
    """What to say where a file's plain `value` is of another known kind than `expected`; else nothing."""
    schema = value.get("schema") if isinstance(value, dict) else None
    name = _short(schema) if isinstance(schema, str) else ""
    if name == expected or name not in KINDS:
        return None
    what, where = KINDS[name]
    return Issue(f"this is {what}, not {KINDS[expected][0]}", place, where)


def _short(schema: str) -> str:
    return schema.removeprefix("tierplan.").partition("/")[0] if schema.startswith("tierplan.") else ""

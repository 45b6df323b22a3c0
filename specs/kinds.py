"""Kinds of files by the ``schema`` that they name, so that one given for another, or of another version, is said to be
that."""

from __future__ import annotations

import re
from typing import Any, Final, get_args

from specs.base import Spec
from specs.errors import Issue, Place

KINDS: Final[dict[str, tuple[str, str]]] = {
    "app": ("an application", "verbs that take one call it APP"),
    "infra": ("an infrastructure", "give it with --infra"),
    "plan": ("a plan", "it is the argument PLAN"),
    "run": ("the result of a run", "give it to planner report with --run"),
    "prediction": ("a prediction", "the result of the run is another file, named by planner run -o"),
    "status": ("the status of a deployment", ""),
    "error": ("the error of a command that ended without a result", ""),
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


AGAIN: Final[dict[str, str]] = {
    "plan": "make it again with `planner solve`",
    "run": "run again",
    "simulation": "simulate again",
    "bundle": "make it again with `planner compile`",
    "artefact": "remove the folder and compile again",
    "problem": "write it again with `planner solve --save-problem`",
}
"""Short name -> the way out where a file that tierplan wrote is of another version."""


def another_kind(value: Any, expected: str, place: Place) -> Issue | None:
    """What to say where a file's plain `value` is of another known kind than `expected`, or of another version of it;
    else nothing."""
    schema = value.get("schema") if isinstance(value, dict) else None
    name = _short(schema) if isinstance(schema, str) else ""
    if name == expected:
        return another_version(value, f"tierplan.{expected}/v1", place, AGAIN.get(expected, ""))
    if name not in KINDS:
        return None
    what, where = KINDS[name]
    return Issue(f"this is {what}, not {KINDS[expected][0]}", place, where)


def another_version(value: Any, expected: str, place: Place, way_out: str) -> Issue | None:
    """What to say where a file's plain `value` is of the kind of the schema `expected`, but not of its version."""
    schema = value.get("schema") if isinstance(value, dict) else None
    name = re.escape(_short(expected))
    if (
        not isinstance(schema, str)
        or schema == expected
        or not re.fullmatch(rf"tierplan\.{name}/v[0-9]{{1,6}}", schema)
    ):
        return None
    return Issue(f"this is of another version of tierplan: expected {expected!r}, got {schema!r}", place, way_out)


def _short(schema: str) -> str:
    return schema.removeprefix("tierplan.").partition("/")[0] if schema.startswith("tierplan.") else ""

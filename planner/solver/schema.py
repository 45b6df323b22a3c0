"""JSON Schemas of a Problem's file and of what is answered to it."""

from __future__ import annotations

from typing import Any

from planner.problem import LIMIT, Problem
from planner.problem.fields import FIELDS
from planner.problem.file import FORMAT, MAX_ITEMS, MAX_TEXT, SOLUTION_FORMAT
from specs.schema import DRAFT


def problem_schema() -> dict[str, Any]:
    """Of a Problem's file. What indices point at and the order of levels are beyond it: `read_problem` checks these."""
    made = _schema(Problem, FORMAT)
    meanings = {kind.__name__: of for kind, of in FIELDS.items()}
    for name, part in {"Problem": made, **made["$defs"]}.items():
        for key, value in part["properties"].items():
            if key in meanings[name]:
                value["description"] = meanings[name][key]
            value.pop("default", None)
            _bound(value, -1 if name == "End" else 0)
    return DRAFT | made


def solution_schema() -> dict[str, Any]:
    """Of what `planner solve --problem` answers. A schedule has orders, starts and ends beside."""
    from planner.solver.scheduling.schedule import Schedule

    made = _schema(Schedule, SOLUTION_FORMAT)
    of_schedules = ("orders", "starts", "ends")
    made["required"] = [key for key in made["properties"] if key not in of_schedules]
    for part in made["$defs"].values():
        part["required"] = list(part["properties"])
    return DRAFT | made


def _schema(kind: type, name: str) -> dict[str, Any]:
    """Of a dataclass that is written with its ``schema`` and its fields; those with a default may be absent."""
    from pydantic import TypeAdapter

    made: dict[str, Any] = TypeAdapter(kind).json_schema()
    for part in (made, *made.get("$defs", {}).values()):
        part["additionalProperties"] = False
        part.pop("description", None)
    made["properties"] = {"schema": {"const": name}, **made["properties"]}
    made["required"] = ["schema", *made["required"]]
    return made


def _bound(value: dict[str, Any], least: int) -> None:
    """Limits of size, of `value` and of the items of a list."""
    if value.get("type") == "integer":
        value |= {"minimum": least, "maximum": LIMIT}
    elif value.get("type") == "string" and "enum" not in value:
        value["maxLength"] = MAX_TEXT
    elif value.get("type") == "array":
        value["maxItems"] = MAX_ITEMS
        _bound(value["items"], least)

"""Rows filtered and sorted as the command line asks: `--where p99_ms<50 --where backend=tvm --sort -per_second`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from specs.base import Spec
from specs.errors import InputError, Issue
from specs.nearest import near

R = TypeVar("R", bound=Spec)

_CONDITION = re.compile(r"^\s*(\w+)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*$")


def select(rows: Sequence[R], model: type[R], where: Sequence[str], sort: Sequence[str]) -> list[R]:
    """The rows that keep every condition, in the order of the columns in `sort` (`-column`: the greatest first).

    Conditions are COLUMN and =, !=, <, <=, >, >= with a value, or ~ with a part of a text. A row without a value in a
    column keeps no condition on it, and comes last in its order. Raises InputError for an unknown column and for a
    number that is none.
    """
    kept = list(rows)
    for text in where:
        match = _CONDITION.match(text)
        if match is None:
            hint = "such as 'p99_ms<50', 'backend=tvm' or 'model~vision'"
            raise InputError(Issue(f"--where: not a condition: {text!r}", None, hint))
        column, sign, wanted = match.groups()
        _known(model, column)
        kept = [row for row in kept if _holds(getattr(row, column), sign, wanted, text)]
    for key in reversed(sort):
        column = key.removeprefix("-")
        _known(model, column)
        there = [row for row in kept if getattr(row, column) is not None]
        there.sort(key=lambda row: _order(getattr(row, column)), reverse=key.startswith("-"))
        kept = there + [row for row in kept if getattr(row, column) is None]
    return kept


def _known(model: type[Spec], column: str) -> None:
    if column not in model.model_fields:
        raise InputError(Issue(f"unknown column {column!r}", None, near(column, model.model_fields)))


def _holds(value: Any, sign: str, wanted: str, text: str) -> bool:
    if value is None:
        return False
    if sign == "~":
        return wanted.lower() in str(value).lower()
    if isinstance(value, (int, float)):
        try:
            number = float(wanted)
        except ValueError as error:
            raise InputError(Issue(f"--where: expected a number in {text!r}, got {wanted!r}")) from error
        order = (value > number) - (value < number)
    else:
        order = (str(value) > wanted) - (str(value) < wanted)
    return {"=": order == 0, "!=": order != 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[sign]


def _order(value: Any) -> Any:
    return value if isinstance(value, (int, float)) else str(value)

"""`planner schema`: JSON Schemas of the files, for editors and checks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner.cli.output import Format, FormatOption, emit, table

if TYPE_CHECKING:
    from rich.console import Console


def schema(
    name: Annotated[str, typer.Argument(help="Which: app, infra, plan, ... Without it, all names are listed.")] = "",
    fmt: FormatOption = Format.table,
) -> None:
    """Print the JSON Schema of a kind of file, or list the kinds.

    Example: planner schema app > app.schema.json
    """
    from specs.schema import find

    known = known_schemas()
    if name:
        # A schema is JSON whichever way it is asked for, unless YAML is.
        _, make = find(name, known)
        emit(make(), Format.yaml if fmt is Format.yaml else Format.json, lambda _: None)
        return
    rows = {key: what for key, (what, _) in known.items()}
    value = {"schema": "tierplan.schemas/v1", "names": rows}

    def show(out: Console) -> None:
        out.print(table(["name", "what"], [[k, v] for k, v in rows.items()]))

    emit(value, fmt, show)


def known_schemas() -> dict[str, tuple[str, Callable[[], dict[str, Any]]]]:
    """By short name: what such a file is, and what makes its schema."""
    from planner.cli import results
    from planner.solver.schema import problem_schema, solution_schema
    from specs.schema import MODELS, json_schema

    models = {name: (_what(model), partial(json_schema, model)) for name, model in (MODELS | results.MODELS).items()}
    return models | {
        "problem": ("What the solver sees: the numbers alone (`planner solve --save-problem`).", problem_schema),
        "solution": ("What the solver says of a problem (`planner solve --problem`).", solution_schema),
    }


def _what(model: type) -> str:
    """The first sentence of what is said about a model."""
    first = " ".join((model.__doc__ or model.__name__).split("\n\n")[0].split())
    return first.partition(". ")[0].removesuffix(".") + "."

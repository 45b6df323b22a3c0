"""`planner schema`: JSON Schemas of the files, for editors and checks."""

from __future__ import annotations

from typing import Annotated

import typer

from planner.cli.output import Format, FormatOption, emit

EPILOG = "Example: planner schema app > app.schema.json"


def schema(
    name: Annotated[str, typer.Argument(help="Which: app, infra, plan, ... Without it, all names are listed.")] = "",
    fmt: FormatOption = Format.table,
) -> None:
    """Print the JSON Schema of a kind of file, or list the kinds.

    Example: planner schema app > app.schema.json
    """
    from planner.cli import results
    from specs.schema import MODELS, find, json_schema

    known = MODELS | results.MODELS
    if name:
        # A schema is JSON whichever way it is asked for, unless YAML is.
        emit(json_schema(find(name, known)), Format.yaml if fmt is Format.yaml else Format.json, lambda _: None)
        return
    rows = {key: ((model.__doc__ or "").strip().splitlines() or [model.__name__])[0] for key, model in known.items()}
    value = {"schema": "tierplan.schemas/v1", "names": rows}

    def show(out: object) -> None:
        from planner.cli.output import console, table

        console().print(table(["name", "what"], [[k, v] for k, v in rows.items()]))

    emit(value, fmt, show)

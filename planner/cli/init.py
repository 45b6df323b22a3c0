"""`planner init`: a small application to start from, which is valid as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from planner.cli.output import Format, FormatOption, emit
from specs.errors import InputError, Issue, Place

if TYPE_CHECKING:
    from rich.console import Console

FILES: Final = ("app.yaml", "infra.yaml", "functions.py", "data/requests.jsonl")


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; made where it does not exist.")],
    fmt: FormatOption = Format.table,
) -> None:
    """Write a small, commented application that is valid as it stands. Overwrites nothing.

    Example: planner init shop && planner validate shop/app.yaml --infra shop/infra.yaml
    """
    from importlib.resources import files

    from planner.cli.results import InitResult

    starter = files("planner.cli") / "starter"
    taken = [folder / name for name in FILES if (folder / name).exists()]
    if taken:
        raise InputError(*(Issue("the file exists already", Place(str(f)), "choose another folder") for f in taken))
    for name in FILES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((starter / name).read_bytes())
    result = InitResult(folder=str(folder), files=FILES)

    def show(out: Console) -> None:
        for name in FILES:
            out.print(f"wrote {folder / name}")
        out.print(f"next: planner validate {folder / 'app.yaml'} --infra {folder / 'infra.yaml'}")

    emit(result.dump(), fmt, show)

"""`planner init`: a small application to start from, which is valid as it stands."""

from __future__ import annotations

import re
import shlex
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
    """Write a small, commented application, named like DIR, that is valid as it stands. Overwrites nothing.

    Example: planner init shop && planner validate shop/app.yaml --infra shop/infra.yaml
    """
    from importlib.resources import files

    from planner.cli.results import InitResult
    from specs.output_file import write_whole

    starter = files("planner.cli") / "starter"
    taken = [folder / name for name in FILES if (folder / name).exists()]
    if taken:
        others = f" (and so do {', '.join(f.name for f in taken[1:])})" if taken[1:] else ""
        message = f"the file exists already{others}; nothing was written"
        raise InputError(Issue(message, Place(str(taken[0])), "choose another folder"))
    for name in FILES:
        text = (starter / name).read_text("utf-8")
        write_whole(folder / name, text.replace("name: starter\n", f"name: {application_of(folder)}\n"))
    result = InitResult(folder=str(folder), files=FILES)

    def show(out: Console) -> None:
        for name in FILES:
            out.print(f"wrote {folder / name}")
        out.print("next:")
        for step in road(folder):
            out.print(f"  {step}", soft_wrap=True)

    emit(result.dump(), fmt, show)


def application_of(folder: Path) -> str:
    """What an application in `folder` is called: like the folder, where that is a name."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-")[:63]
    return name if re.match(r"[A-Za-z_]", name) else "starter"


def road(folder: Path) -> tuple[str, ...]:
    """Every step from the files to a report of a run and to a deployment's end, as commands of a shell."""

    def named(file: str) -> str:
        return shlex.quote(str(folder / file))

    app, infra, plan, profiles = named("app.yaml"), named("infra.yaml"), named("plan.yaml"), named("profiles")
    bundle, run = named("bundle"), named("run.json")
    return (
        f"planner validate {app} --infra {infra}",
        f"planner profile {app} --infra {infra} -o {profiles}",
        f"planner solve {app} --infra {infra} --profiles {profiles} -o {plan}",
        f"planner verify {plan} {app} --infra {infra} --profiles {profiles}",
        f"planner compile {plan} {app} --infra {infra} -o {bundle}",
        f"planner run {bundle} --app {app} --profiles {profiles} -o {run}",
        f"planner report {plan} --run {run} --app {app} --infra {infra} -o {named('report.html')}",
        f"planner deploy {bundle} --app {app} --profiles {profiles}",
        f"planner undeploy {application_of(folder)}",
    )

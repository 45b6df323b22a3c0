"""Arguments and options that several verbs share, with the same words everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AppFile = Annotated[Path, typer.Argument(metavar="APP", help="The application (app.yaml).")]
InfraFile = Annotated[Path, typer.Option("--infra", "-i", metavar="INFRA", help="The infrastructure (infra.yaml).")]
ProfilesFolder = Annotated[
    Path, typer.Option("--profiles", "-p", metavar="DIR", help="Folder of profiles that `planner profile` made.")
]
StoreFolder = Annotated[
    Path, typer.Option("--store", metavar="DIR", help="Where compiled artefacts are kept, by content.")
]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan (plan.yaml).")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="What if: link.lte.delay=80ms. May be given many times."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of everything random.")]

PROFILES = Path("profiles")
STORE = Path(".tierplan/store")

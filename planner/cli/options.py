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
TimeLimit = Annotated[float, typer.Option("--time-limit", metavar="SECONDS", min=0.01, help="How long it may take.")]
Multiplier = Annotated[
    float,
    typer.Option("--multiplier", metavar="FACTOR", min=1e-6, help="Times its peak rate that each of them asks."),
]
Port = Annotated[int, typer.Option(metavar="PORT", min=0, max=65000, help="0 takes a free one.")]

PROFILES = Path("profiles")
STORE = Path(".tierplan/store")

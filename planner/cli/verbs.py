"""The verbs of the command by name: where each is, and what it answers. A verb is imported when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import typer


@dataclass(frozen=True, slots=True)
class Verb:
    """`name` is a function in the module of this name below `planner.cli`, or a Typer of subcommands."""

    module: str
    name: str
    help: str


VERBS: Final = {
    "init": Verb("init", "init", "Write a small application to start from."),
    "validate": Verb("validate", "validate", "Is what the files say right?"),
    "profile": Verb("profile", "profile", "Measure what every component costs, or one model."),
    "solve": Verb("solve", "solve", "Choose what runs where, with a proof."),
    "verify": Verb("verify", "verify", "Recompute a plan's numbers a second way."),
    "explain": Verb("explain", "explain", "Why here and not there: what each choice costs."),
    "pareto": Verb("pareto", "pareto", "All plans that none beats in latency and cost."),
    "sensitivity": Verb("sensitivity", "sensitivity", "How far inputs may change before the plan does."),
    "diff": Verb("diff.verb", "diff", "What differs between two plans, or two bundles."),
    "replan": Verb("replan.verb", "replan", "Solve again for what a run observed."),
    "compile": Verb("compile", "compile_bundle", "Assemble what a plan runs: a bundle."),
    "export": Verb("export.verb", "export", "A bundle as containers: Compose or Kubernetes."),
    "run": Verb("run", "run", "Run a bundle; measured beside predicted."),
    "deploy": Verb("deploy", "deploy", "Start a bundle and return; requests enter by HTTP and gRPC."),
    "status": Verb("status.verb", "status", "What a deployment does now."),
    "undeploy": Verb("deploy", "undeploy", "End a deployment; nothing is left."),
    "emulate": Verb("emulate", "emulate", "The sites and links of an infrastructure on this machine."),
    "report": Verb("report.verb", "report", "One HTML page on a plan and its run."),
    "simulate": Verb("simulate", "simulate", "What would happen under load, bursts and faults?"),
    "coverage": Verb("coverage", "coverage", "On which share of a fleet does it meet its constraint?"),
    "hub": Verb("hub.verb", "hub", "Models x hardware; the catalogue; care of the store."),
    "schema": Verb("schema", "schema", "JSON Schemas of the files."),
}

GROUPS: Final = frozenset({"emulate", "hub"})
"""Verbs with subcommands."""


def add_verb(app: typer.Typer, name: str) -> None:
    """Import a verb and make it one of `app`'s."""
    verb = VERBS[name]
    found = getattr(import_module(f"planner.cli.{verb.module}"), verb.name)
    if name in GROUPS:
        app.add_typer(found, name=name, short_help=verb.help)
    else:
        app.command(name, short_help=verb.help)(found)

"""Loads and checks spec files for the verbs: everything that is wrong with them, at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from specs.application import Application
from specs.artefact import ModelSignature
from specs.changes import Changes
from specs.check import check, inside
from specs.errors import InputError, Issue, Place
from specs.infrastructure import Infrastructure
from specs.load import Document, load_application, load_infrastructure
from specs.plan import Plan
from specs.support import unsupported

NO_CHANGES: Final = Changes()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Files that are right, with the signatures of the application's models by (component, variant)."""

    app: Document[Application]
    infra: Document[Infrastructure] | None
    signatures: dict[tuple[str, str], ModelSignature]


def load_checked(app_file: Path, infra_file: Path | None, *, models: bool, changes: Changes = NO_CHANGES) -> Loaded:
    """Load and check the files, with `changes` made; with `models`, the types of every model too (which reads them
    all).

    Raises InputError with every issue of both files.
    """
    issues: list[Issue] = []
    app = infra = None
    try:
        app = load_application(app_file, changes.app)
    except InputError as error:
        issues += error.issues
    try:
        infra = load_infrastructure(infra_file, changes.infra) if infra_file is not None else None
    except InputError as error:
        issues += error.issues
    signatures: dict[tuple[str, str], ModelSignature] = {}
    if app is not None:
        issues += unsupported(app, infra)
        signatures, unread = read_signatures(app) if models else ({}, [])
        issues += [*unread, *check(app, infra, signatures)]
    if app is None or issues:
        raise InputError(*issues)
    return Loaded(app, infra, signatures)


def read_signatures(app: Document[Application]) -> tuple[dict[tuple[str, str], ModelSignature], list[Issue]]:
    """Signatures of all models that can be read, and an issue, at the model's line, for each that cannot."""
    from compiler.signature import read_signature

    signatures: dict[tuple[str, str], ModelSignature] = {}
    issues: list[Issue] = []
    for name, component in app.value.components.items():
        for variant, real in component.realisations.items():
            file = inside(app.folder, real.model) if real.model else None
            if file is None or not file.is_file():
                continue  # `check` says so
            path = ("components", name, *(("variants", variant) if component.variants else ()), "model")
            try:
                signatures[name, variant] = read_signature(file)
            except InputError as error:
                issues += [Issue(f"{real.model}: {i.message}", app.place(*path), i.hint) for i in error.issues]
    return signatures, issues


def refuse_what_if(plan: Plan, file: Path) -> None:
    """What ships or runs must rest on the files themselves. Raises InputError for a plan made with ``--set``."""
    if plan.inputs.changes:
        said = " ".join(f"--set '{change}'" for change in plan.inputs.changes)
        message = f"the plan answers a what-if ({said}), which the files do not say"
        raise InputError(Issue(message, Place(str(file)), "change the files and solve again"))

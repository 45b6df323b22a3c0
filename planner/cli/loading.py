"""Loads and checks spec files for the verbs: everything that is wrong with them, at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from planner.cli.options import STORE
from specs.application import Application
from specs.artefact import ModelSignature
from specs.changes import Changes
from specs.check import check
from specs.errors import InputError, Issue, Place
from specs.infrastructure import Infrastructure
from specs.load import Document, load_application, load_infrastructure
from specs.plan import Plan, read_plan
from specs.plan_check import refuse_impossible
from specs.support import unsupported

if TYPE_CHECKING:
    from compiler.given import Given
    from planner.situation import Situation

NO_CHANGES: Final = Changes()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Files that are right, with the application's models and their signatures by (component, variant)."""

    app: Document[Application]
    infra: Document[Infrastructure] | None
    signatures: dict[tuple[str, str], ModelSignature]
    models: dict[tuple[str, str], Given]


def load_checked(
    app_file: Path,
    infra_file: Path | None,
    *,
    models: bool,
    changes: Changes = NO_CHANGES,
    store: Path = STORE,
    convert: bool = True,
    step: Callable[[str], None] | None = None,
) -> Loaded:
    """Load and check the files, with `changes` made; with `models`, the types of every model too (which reads them
    all).

    Models that are no ONNX files, and quantized ones, are taken from `store`, or made; without `convert`, what was not
    is left out.

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
    given: dict[tuple[str, str], Given] = {}
    signatures: dict[tuple[str, str], ModelSignature] = {}
    if app is not None:
        issues += unsupported(app, infra)
        if models:
            from planner.cli.models import cut_issues, hand_in_all, read_signatures

            right = not issues and not check(app, infra)  # what is wrong is said before anything is run
            given, unread = hand_in_all(app, store, convert and right, step)
            signatures, more = read_signatures(app, given)
            issues += [*unread, *more, *cut_issues(app, {key: given[key] for key in signatures})]
        issues += [*check(app, infra, signatures)]
        if models and infra is not None and not issues:
            issues += _traces(app, infra)  # without models the facts come next, which read them
    if app is None or issues:
        raise InputError(*issues)
    if models:
        from planner.cli.models import cut_issues
        from planner.cli.quantizing import quantize_all

        made = quantize_all(app, given, signatures, store, convert, step)
        wrong = cut_issues(app, made)
        if wrong:
            raise InputError(*wrong)
        given |= made
        signatures |= {(c, v): signatures[c, str(app.value.components[c].variants[v].quantize)] for c, v in made}
    return Loaded(app, infra, signatures, given)


def _traces(app: Document[Application], infra: Document[Infrastructure]) -> tuple[Issue, ...]:
    """What is wrong with the traces that sources name; nothing is read where none does."""
    if not app.value.has_traces:
        return ()
    from planner.inputs.traces import read_traces

    try:
        read_traces(app, infra)
    except InputError as error:
        return error.issues
    return ()


def load_situation_checked(app: Path, infra: Path, profiles: Path, changes: Changes = NO_CHANGES) -> Situation:
    """The files, whose errors come all at once, and the profiles that belong to them, with `changes` made.

    Raises InputError.
    """
    from planner.situation import load_facts

    loaded = load_checked(app, infra, models=False, changes=changes)
    assert loaded.infra is not None
    return load_facts(loaded.app, loaded.infra, profiles)


def load_planned(
    plan_file: Path, app_file: Path, infra_file: Path, profiles: Path, changes: Changes = NO_CHANGES
) -> tuple[Plan, Situation]:
    """A plan that places something and rests on exactly these files and profiles, with `changes` made.

    Raises InputError where a file is wrong, the plan is older than its inputs or cannot be about them, or there is
    nothing in it.
    """
    from planner.verification.inputs import check_inputs

    plan = read_plan(plan_file)
    situation = load_situation_checked(app_file, infra_file, profiles, changes)
    check_inputs(situation, plan)
    refuse_nothing(plan, plan_file)
    refuse_impossible(plan, situation.app.value, situation.infra.value, str(plan_file))
    return plan, situation


def refuse_nothing(plan: Plan, file: Path) -> None:
    """Raises InputError for a plan without a placement."""
    if plan.status not in ("optimal", "feasible"):
        raise InputError(Issue(f"the plan is {plan.status}: it places nothing", Place(str(file)), "solve again"))


def refuse_what_if(plan: Plan, file: Path) -> None:
    """What ships or runs must rest on the files themselves. Raises InputError for a plan made with ``--set``."""
    if plan.inputs.changes:
        said = " ".join(f"--set '{change}'" for change in plan.inputs.changes)
        message = f"the plan answers a what-if ({said}), which the files do not say"
        raise InputError(Issue(message, Place(str(file)), "change the files and solve again"))

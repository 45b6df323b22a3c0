"""Models as the user hands them in: which words name one, and what is compiled for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from specs.errors import InputError, Issue
from specs.model_source import form_of

if TYPE_CHECKING:
    from compiler.given import Given
    from planner.cli.output import Progress
    from specs.application import Application, Variant
    from specs.artefact import ModelSignature
    from specs.conversion import Conversion
    from specs.load import Document
    from specs.yamlfile import Path_

Models = dict[tuple[str, str], "Given"]
"""By (component, variant)."""

MODEL_ENDINGS: Final = (".onnx", ".json", ".ubj", ".txt")


def names_a_model(subject: Path) -> bool:
    """Whether a word of the command line names a model. Raises InputError for a file that would run code."""
    return form_of(str(subject)) == "factory" or subject.suffix in MODEL_ENDINGS


def hand_in_alone(model: str, store: Path, progress: Progress) -> Given:
    """A model without an application: its files, or its project, are found from the working directory."""
    from compiler.convert import hand_in, handed_in
    from compiler.store import Store
    from runtime.stages.functions import load_function

    known = handed_in(Path(), model, Store(store), None)
    if known is None:
        progress.step(f"converting {model}")
        known = hand_in(Path(), model, Store(store), load_function, None)
    for text in said_of(known.conversion):
        progress.say(f"{model}: {text}")
    return known


def hand_in_all(
    app: Document[Application], store: Path, convert: bool, step: Callable[[str], None] | None = None
) -> tuple[Models, list[Issue]]:
    """All models that can be had, and an issue, at the model's line, for each that cannot.

    Without `convert`, what would have to be converted first is left out.
    """
    from compiler.convert import hand_in, handed_in
    from compiler.store import Store
    from runtime.stages.functions import load_function
    from specs.check import model_issues

    found: Models = {}
    issues: list[Issue] = []
    for key, real, path in _all(app):
        assert real.model is not None
        try:
            if any(model_issues(app, real.model, real.reads, path[:-1])):
                continue  # `check` says what
            known = handed_in(app.folder, real.model, Store(store), real.reads)
            if known is None and convert:
                if step is not None:
                    step(f"converting {real.model}")
                known = hand_in(app.folder, real.model, Store(store), load_function, real.reads)
            if known is not None:
                found[key] = known
        except InputError as error:
            issues += [replace(i, message=_named(real.model, i), place=app.place(*path)) for i in error.issues]
    return found, issues


def _all(app: Document[Application]) -> Iterator[tuple[tuple[str, str], Variant, Path_]]:
    for name, component in app.value.components.items():
        for variant, real in component.realisations.items():
            if real.model is not None:
                part: Path_ = ("variants", variant) if component.variants else ()
                yield (name, variant), real, ("components", name, *part, "model")


def _named(model: str, issue: Issue) -> str:
    """What is wrong, with the place in the user's code where it says one."""
    where = f" ({issue.place})" if issue.place is not None and issue.place.line else ""
    said = issue.message if issue.message.startswith(f"{model}: ") else f"{model}: {issue.message}"
    return f"{said}{where}"


def read_signatures(
    app: Document[Application], models: Mapping[tuple[str, str], Given]
) -> tuple[dict[tuple[str, str], ModelSignature], list[Issue]]:
    """Signatures of all models that can be read, and an issue, at the model's line, for each that cannot."""
    from compiler.signature import read_signature

    signatures: dict[tuple[str, str], ModelSignature] = {}
    issues: list[Issue] = []
    for key, real, path in _all(app):
        if key in models:
            try:
                signatures[key] = read_signature(models[key].file)
            except InputError as error:
                issues += [Issue(f"{real.model}: {i.message}", app.place(*path), i.hint) for i in error.issues]
    return signatures, issues


def cut_issues(app: Document[Application], models: Mapping[tuple[str, str], Given]) -> list[Issue]:
    """An issue, at its place, for each tensor of a declared cut that is not between two operators of its model."""
    from compiler.model import inner_tensors
    from specs.application import Cuts
    from specs.nearest import near

    issues: dict[str, Issue] = {}
    for (name, variant), given in models.items():
        component = app.value.components[name]
        if not isinstance(component.split, Cuts):
            continue
        known = inner_tensors(given.file)
        what = f"{name}/{variant}" if component.variants else name
        for index, cut in enumerate(component.split.at):
            at: Path_ = ("components", name, "split", "at", index)
            mine, at = (cut.get(variant, []), (*at, variant)) if isinstance(cut, dict) else (cut, at)
            for number, tensor in enumerate([mine] if isinstance(mine, str) else mine):
                if tensor not in known:
                    message = f"the model of {what} has no tensor {tensor!r} between two operators"
                    issue = Issue(message, app.place(*at, number), near(tensor, known))
                    issues[str(issue)] = issue
    return list(issues.values())


def said_of(conversion: Conversion | None) -> Iterator[str]:
    """What a user should know of a conversion, in lines."""
    if conversion is None:
        return
    if conversion.difference is None:
        yield f"made by the project with {conversion.library}; there is nothing to compare it with"
    else:
        edges = f"; {conversion.edges:,} on an edge, where rounding decides, are answered otherwise"
        yield (
            f"converted to ONNX from {conversion.library}: over {conversion.items:,} inputs, the greatest difference is"
            f" {conversion.difference:.1g} of the largest value{edges if conversion.edges else ''}"
        )
    if conversion.classes:
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(conversion.classes))
        yield f"its label is a number: {numbered}"
    yield from conversion.notes

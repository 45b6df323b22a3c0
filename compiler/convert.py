"""A model as the user has it becomes an ONNX file in the store; from there on, all models are alike.

Code of a library (and of the user, where a function returns the model) runs in a child process with limits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from compiler.child import Child, Limits
from compiler.given import Given
from compiler.made import publish
from compiler.model import source_digest
from compiler.store import Store
from specs.conversion import Conversion
from specs.digest import digest_bytes, digest_file, digest_value
from specs.errors import EnvironmentFailed, InputError, Issue, Place
from specs.input_file import read_input
from specs.model_source import digest_source, form_of, main_file

FOLDER: Final = "converted"
"""In the store."""
LIMITS: Final = Limits(seconds=600)
"""A function of the user's may train its model first."""
_WORKER: Final = "compiler.convert_worker"
_NOTE: Final = "conversion.json"
_MOST_BYTES: Final = 1 << 22
_PACKAGES: Final = (
    "scikit-learn",
    "skl2onnx",
    "onnxmltools",
    "xgboost",
    "xgboost-cpu",
    "lightgbm",
    "torch",
    "onnxscript",
    "onnx",
)

LoadFunction = Callable[[Path, str], Callable[..., Any]]
"""(project folder, "module:function") -> the function."""


def hand_in(
    project: Path,
    model: str,
    store: Store,
    load_function: LoadFunction,
    reads: Sequence[str] | None = (),
    limits: Limits = LIMITS,
) -> Given:
    """`model` (see `specs.model_source`) as an ONNX file; converted anew only where something about it changed.

    `load_function` must be a function of a module, which the child imports by name. `reads` are files that a function
    of the project may read; None allows all, and each is noticed when it changes.

    Raises InputError for what is wrong with the model, AnswerIsNo where ONNX cannot say what the model says,
    EnvironmentFailed for a missing library (naming the extra) and NotKnown beyond the limits.
    """
    if (known := handed_in(project, model, store, reads)) is not None:
        return known
    source, folder = _place(project, model, store, reads)
    made = _convert(project, model, store, folder, load_function, limits)
    _check_reads(made, project, reads)
    return Given(model, folder / made.file, source, made)


def handed_in(project: Path, model: str, store: Store, reads: Sequence[str] | None = ()) -> Given | None:
    """What `hand_in` gives, if nothing has to be converted for it. Raises InputError as it does."""
    if form_of(model) == "onnx":
        return Given(model, project / model, source_digest(project / model))
    source, folder = _place(project, model, store, reads)
    found = _find(folder, project)
    if found is None:
        return None
    _check_reads(found, project, reads)
    return Given(model, folder / found.file, source, found)


def _place(project: Path, model: str, store: Store, reads: Sequence[str] | None) -> tuple[str, Path]:
    """The digest of what `model` comes from, and the folder for what it becomes.

    Where files that it reads are not declared, no digest speaks of them, and another project is another place.
    """
    source = digest_source(project, model, reads or ())
    whose = str(project.resolve()) if reads is None else ""
    return source, _folder(source, whose, store)


def conversion_folder(source: str, store: Store) -> Path:
    """Where the model of an application whose digest is `source` lies, if it was converted for it."""
    return _folder(source, "", store)


def _folder(source: str, whose: str, store: Store) -> Path:
    return store.root / FOLDER / digest_value([source, whose, _versions()])


def _find(folder: Path, project: Path) -> Conversion | None:
    """What was made before, if it is whole and the files that it read are as they were."""
    try:
        found = Conversion.model_validate_json(read_input(folder / _NOTE, _MOST_BYTES))
    except (InputError, ValidationError):
        return None
    try:
        fresh = all(digest_file(project / name) == digest for name, digest in found.reads.items())
        whole = Path(found.file).name == found.file and digest_file(folder / found.file) == found.digest
    except InputError:
        return None
    return found if fresh and whole else None


def _convert(
    project: Path, model: str, store: Store, folder: Path, load_function: LoadFunction, limits: Limits
) -> Conversion:
    with store.workspace() as work:
        name = f"{_stem(model)}.onnx"
        request = {
            "project": str(project.resolve()),
            "place": str(main_file(project, model)),
            "model": model,
            "load": f"{load_function.__module__}:{load_function.__qualname__}",
            "file": str((work / name).resolve()),
        }
        answer = _ask(project, model, request, limits)
        made = Conversion(model=model, file=name, digest=digest_file(work / name), **answer)
        publish(work, folder, made, _NOTE)
    return made


def _ask(project: Path, model: str, request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    # The working directory is not where our own modules come from: the project may have some of the same names.
    with Child(_WORKER, limits, {"PYTHONSAFEPATH": "1"}) as child:
        try:
            return child.ask(request, f"converting {model}")
        except EnvironmentFailed as error:
            if child.alive or form_of(model) == "factory":
                raise
            message = f"not a model: the library of {form_of(model)} crashes where it reads it"
            raise InputError(Issue(message, Place(str(main_file(project, model))), "write it again")) from error


def _check_reads(found: Conversion, project: Path, reads: Sequence[str] | None) -> None:
    """Raises InputError for files that the model depends on and that nothing said, where they must be."""
    if reads is None:
        return
    declared = [(project / text).resolve() for text in reads]
    silent = [n for n in found.reads if not any((project / n).resolve().is_relative_to(d) for d in declared)]
    if silent:
        more = f" and {len(silent) - 1} more files" if len(silent) > 1 else ""
        message = f"{found.model} reads {silent[0]}{more}, whose change would not be noticed"
        hint = f"add reads: [{', '.join(silent[:4])}{', ...' if silent[4:] else ''}] beside model"
        raise InputError(Issue(message, Place(str(main_file(project, found.model))), hint))


def _stem(model: str) -> str:
    """What the ONNX file is called: like the function, or the file."""
    return model.split(":")[1] if form_of(model) == "factory" else Path(model).stem


@cache
def _versions() -> dict[str, str]:
    """Versions of all that decides what a conversion gives, our own code by its digest."""
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    here = Path(__file__).parent
    files = [*sorted((here / "frontends").glob("*.py")), here / "convert_worker.py", here / "equal.py"]
    return found | {"compiler": digest_bytes(b"".join(f.read_bytes() for f in files))[:16]}

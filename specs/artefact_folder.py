"""An artefact folder read, and verified before anything in it is loaded as code."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from specs.artefact import ARTEFACT_FILE, Artefact
from specs.digest import digest_file
from specs.errors import InputError, Issue, Place
from specs.input_file import read_input
from specs.refusal import refusal

_MAX_BYTES = 1 << 20
_HINT = "remove the folder and compile again"


def read_artefact(folder: Path, threads: int | None = None) -> Artefact:
    """The description in `folder`, after every file's digest was found to match.

    Raises InputError naming the file, the digest expected and the one found; and, if `threads` is given, where the
    artefact was compiled for another number of threads.
    """
    artefact = read_description(folder)
    file, hint = folder / ARTEFACT_FILE, _HINT
    for name, expected in artefact.files.items():
        path = folder / name
        found = digest_file(path)
        if found != expected:
            message = f"the file was changed: expected sha256 {expected[:16]}..., found {found[:16]}..."
            raise InputError(Issue(message, Place(str(path)), hint))
    if threads is not None and threads != artefact.threads:
        message = f"the artefact is for {artefact.threads} threads, not {threads}"
        raise InputError(Issue(message, Place(str(file)), "compile it for that number of threads"))
    return artefact


def read_description(folder: Path) -> Artefact:
    """The description in `folder` alone: to list artefacts, not to load them. Raises InputError where it is none."""
    file = folder / ARTEFACT_FILE
    hint = _HINT
    try:
        artefact = Artefact.model_validate_json(read_input(file, _MAX_BYTES, ARTEFACT_FILE))
    except InputError as error:
        raise InputError(*(Issue(f"no artefact: {i.message}", Place(str(file)), hint) for i in error.issues)) from error
    except ValidationError as error:
        raise InputError(Issue(f"not an artefact: {refusal(error.errors()[0])}", Place(str(file)), hint)) from error
    for name in artefact.files:
        if Path(name).name != name:
            raise InputError(Issue(f"file {name!r} is outside the artefact", Place(str(file)), hint))
    return artefact


def the_file(folder: Path, artefact: Artefact, suffix: str) -> Path:
    """The artefact's one file that ends in `suffix`. Raises InputError where there is none, or more."""
    names = [name for name in artefact.files if name.endswith(suffix)]
    if len(names) != 1:
        raise InputError(Issue(f"expected one file *{suffix}, found {len(names)}", Place(str(folder / ARTEFACT_FILE))))
    return folder / names[0]

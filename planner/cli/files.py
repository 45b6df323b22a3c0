"""Files that the verbs read and write. Written in one step: an interruption leaves no half file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from specs.base import Spec
from specs.errors import InputError, Issue, Place
from specs.output_file import output_path, write_whole
from specs.run_result import RunResult

MAX_JSON: Final = 50_000_000

T = TypeVar("T", bound=Spec)


def check_output(file: Path, *inputs: Path | None) -> None:
    """Before any work is done: raises InputError where `file` cannot be written, or is one of what is read."""
    path = output_path(file)
    for one in inputs:
        if one is not None and path == one.resolve():
            raise InputError(Issue("the output would replace this input", Place(str(one)), "give -o another name"))


def write_json(file: Path, value: Spec) -> None:
    """Write `value` as JSON that reads and diffs well."""
    write_whole(file, json.dumps(value.dump(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(file: Path, model: type[T]) -> T:
    """`file` as `model`. Raises InputError where it is missing, too large or something else."""
    place = Place(str(file))
    try:
        with open(file, "rb") as stream:
            data = stream.read(MAX_JSON + 1)
    except OSError as error:
        raise InputError(Issue(f"cannot read {file}: {error.strerror}", place)) from error
    if len(data) > MAX_JSON:
        raise InputError(Issue(f"the file is larger than {MAX_JSON} bytes", place))
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        issues = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}".removeprefix(": ") for e in error.errors()[:5])
        raise InputError(*(Issue(f"not a {model.__name__}: {text}", place) for text in issues)) from error


def read_run(file: Path) -> RunResult:
    """The result of a run. Raises InputError as `read_json` does."""
    return read_json(file, RunResult)

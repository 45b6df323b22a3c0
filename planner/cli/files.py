"""Files that the verbs read and write. Written in one step: an interruption leaves no half file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from specs.base import Spec
from specs.errors import InputError, Issue, Place
from specs.input_file import read_input
from specs.kinds import KINDS, another_kind, kind_of
from specs.output_file import output_path, write_whole
from specs.refusal import refusal
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
    data = read_input(file, MAX_JSON)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        kind = kind_of(model)
        try:
            other = another_kind(json.loads(data), kind, place)
        except (ValueError, RecursionError):
            other = None
        issues = [Issue(f"not {KINDS[kind][0]}: {refusal(e)}", place) for e in error.errors()[:5]]
        raise InputError(*([other] if other else issues)) from error


def prediction_file(result: Path) -> Path:
    """Where the prediction of the run whose result goes to `result` is saved: beside it, under its name."""
    return result.with_name(f"{result.stem}.prediction.json")


def read_run(file: Path) -> RunResult:
    """The result of a run. Raises InputError as `read_json` does."""
    return read_json(file, RunResult)

"""A copy of the profiles with what was observed: what the old plan rests on stays as it is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from specs.errors import InputError, Issue, Place
from specs.output_file import whole_folder
from specs.profile import Record, json_line

OBSERVED_FILE: Final = "observed.jsonl"
"""Of a folder of profiles: records that runs were promoted to."""


def check_copy(target: Path, profiles: Path) -> None:
    """Before any work: raises InputError where `target` is the original, or holds what would be lost."""
    if target.resolve() == profiles.resolve():
        hint = "planner profile PLAN --from-run RUN.json adds to them, if that is meant"
        raise InputError(Issue("these are the profiles that the old plan rests on", Place(str(target)), hint))
    if target.exists() and not (target.is_dir() and all(_is_copied(f, profiles) for f in target.iterdir())):
        message = "it is there, and holds what is not in the profiles that would be copied to it"
        raise InputError(Issue(message, Place(str(target)), "name another with --profiles-out"))


def _is_copied(file: Path, profiles: Path) -> bool:
    """Whether `file` was made by an earlier replan: what was observed then, or what stands in `profiles` still."""
    if file.name == OBSERVED_FILE:
        return True
    original = profiles / file.name
    return file.is_file() and original.is_file() and original.read_bytes().startswith(file.read_bytes())


def write_copy(target: Path, profiles: Path, promoted: Sequence[Record]) -> None:
    """The files of `profiles`, and `promoted` beside them, as `target`; whole or not at all.

    Raises EnvironmentFailed where the disk or its rights do not allow it.
    """
    with whole_folder(target) as work:
        for file in sorted(profiles.glob("*.jsonl")):
            shutil.copyfile(file, work / file.name)
        with (work / OBSERVED_FILE).open("a", encoding="utf-8") as stream:
            stream.writelines(json_line(record) for record in promoted)

"""The folder of an export: written whole, and replaced only where it is one of ours that nobody has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from planner.cli.export.image import Content
from planner.cli.files import read_json
from specs.digest import digest_bytes, digest_file
from specs.errors import InputError, Issue, Place
from specs.export import EXPORT_FILE, ExportResult
from specs.output_file import whole_folder

YOURS: Final = ("image/requirements-more.txt", "secrets", ".env")
"""What whoever runs an export fills in: it outlives the next one."""


def check_folder(folder: Path, bundle: Path) -> None:
    """Raises InputError where `folder` is in `bundle`, or holds what is no export, or changed files of one."""
    if folder.resolve().is_relative_to(bundle.resolve()) and folder.resolve() != bundle.resolve():
        raise InputError(Issue("the folder is in the bundle, which would be broken by it", Place(str(folder))))
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    place = Place(str(folder))
    if not (folder / EXPORT_FILE).is_file():
        raise InputError(Issue("the folder is there and is no export", place, "name another with -o"))
    before = read_json(folder / EXPORT_FILE, ExportResult)
    for name, digest in before.files.items():
        if name not in YOURS and (folder / name).is_file() and digest_file(folder / name) != digest:
            hint = "keep your change elsewhere, or remove the file"
            raise InputError(Issue("the file was changed since it was exported", Place(str(folder / name)), hint))


def digest_of(content: Content) -> str:
    return digest_bytes(content) if isinstance(content, bytes) else digest_file(content)


def write_folder(folder: Path, files: Mapping[str, Content], result: ExportResult) -> None:
    """`files` and what `result` says of them, in place of what was there; whole or not at all.

    Raises EnvironmentFailed where the disk or its rights do not allow it.
    """
    with whole_folder(folder) as work:
        for name, content in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (work / name).write_bytes(content)
            else:
                shutil.copyfile(content, work / name)
        for path in work.rglob("*"):  # whoever containers run as must be able to read them
            path.chmod(0o755 if path.is_dir() else 0o644)
        text = json.dumps(result.dump(), indent=1, ensure_ascii=False) + "\n"
        (work / EXPORT_FILE).write_text(text, "utf-8")
        _keep_yours(folder, work)


def _keep_yours(folder: Path, work: Path) -> None:
    for name in YOURS:
        if (folder / name).is_dir():
            shutil.copytree(folder / name, work / name)
        elif (folder / name).is_file():
            shutil.copy2(folder / name, work / name)

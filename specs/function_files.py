"""Where a Python function of the user's project stands, and what belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from specs.digest import digest_file, digest_value
from specs.errors import InputError, Issue, Place

_NAME: Final = re.compile(r"^(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)$")


def is_function_name(text: str) -> bool:
    """Whether `text` has the form ``module:name``."""
    return _NAME.match(text) is not None


def split_name(function: str) -> tuple[str, str]:
    """``blog.images:shrink`` as module and name. Raises InputError for anything else."""
    match = _NAME.match(function)
    if not match:
        raise InputError(Issue(f"expected a function as module:name, got {function!r}"))
    return match["module"], match["name"]


def module_file(project: Path, function: str) -> Path:
    """The file that defines `function`. Raises InputError where there is none inside `project`."""
    module, _ = split_name(function)
    base = project.joinpath(*module.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return _inside(file, project, function)
    wanted = base.with_suffix(".py")
    raise InputError(Issue(f"{function}: no such module", Place(str(wanted)), "functions live in the project's folder"))


def package_files(project: Path, function: str) -> list[Path]:
    """All Python files of the function's top-level package (or its one module), sorted: what a bundle carries."""
    module_file(project, function)
    top = project / split_name(function)[0].split(".")[0]
    if top.is_dir():
        return [_inside(file, project, function) for file in sorted(top.rglob("*.py"))]
    return [_inside(top.with_suffix(".py"), project, function)]


def _inside(file: Path, project: Path, function: str) -> Path:
    if not file.resolve().is_relative_to(project.resolve()):
        raise InputError(Issue(f"{function}: the file leaves the project's folder", Place(str(file))))
    return file


STATE_METHODS: Final = ("__call__", "save", "load")
"""Of a class that stands for a function which keeps state."""


def digest_function(
    project: Path,
    function: str,
    environment: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    state: float | None = None,
) -> str:
    """Of the function's name, of all that it may import of the project (its top-level package), its environment, and
    the bytes of its `state`, where it keeps any, which its profile counts as memory.

    The name counts, since functions of one file are measured one by one; of `secrets` their names do, for what they
    are is nobody's to keep. Raises InputError as `package_files` does.
    """
    files = package_files(project, function)
    parts: list[object] = [function, {str(f.relative_to(project)): digest_file(f) for f in files}]
    names = sorted(secrets)
    if environment or names:
        parts.append({"environment": dict(environment or {}), "secrets": names})
    if state is not None:
        parts.append({"state": state})
    return digest_value(parts)

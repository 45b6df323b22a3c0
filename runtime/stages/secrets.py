"""Secrets of functions and hosted APIs: named in app.yaml, read when something is about to run, for those alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from specs.application import Application
from specs.errors import InputError, Issue
from specs.input_file import read_input
from specs.load import Document
from specs.yamlfile import Path_

FOLDER: Final = "TIERPLAN_FUNCTION_SECRETS"
"""Names a folder with a file for each secret, as containers mount them; what is not there is looked up by its name."""
MAX_SECRET: Final = 65_536
"""Bytes of one: it travels inside a call, and in the environment of a process."""
HIDDEN: Final = "***"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Values by name, which no `repr` shows."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def of(self, names: Iterable[str]) -> Secrets:
        """Those of `names`, as far as they are known."""
        return Secrets({name: self.values[name] for name in names if name in self.values})

    def hide(self, text: str) -> str:
        """`text` with stars for whatever of it is a secret."""
        for value in sorted(self.values.values(), key=len, reverse=True):
            text = text.replace(value, HIDDEN) if value else text
        return text


NO_SECRETS: Final = Secrets()


def take_secrets(app: Document[Application]) -> Secrets:
    """Every secret that functions and hosted APIs of `app` name.

    Each is of a file in the folder that `FOLDER` names, else of the environment.

    They are then removed from this process's environment, so that nothing that it starts inherits them. Raises
    InputError for those that are nowhere, empty, too long, or hold a zero byte, each at its line.
    """
    found: dict[str, str] = {}
    issues: list[Issue] = []
    for component, path, name in _named(app.value):
        place = app.place("components", component, *path)
        try:
            value = _value(name)
        except InputError as error:
            issues += [Issue(f"the secret {name}: {i.message}", place, i.hint) for i in error.issues]
            continue
        if not value:
            hint = f"export {name}=..., or a file {name} in the folder that {FOLDER} names"
            issues.append(Issue(f"the secret {name} of {component!r} is not given", place, hint))
        elif "\0" in value or len(value.encode()) > MAX_SECRET:
            limit = f"expected at most {MAX_SECRET:,} bytes, none of them zero"
            issues.append(Issue(f"the secret {name} cannot be given to a process: {limit}", place))
        else:
            found[name] = value
    if issues:
        raise InputError(*issues)
    for name in found:
        os.environ.pop(name, None)
    return Secrets(found)


def _named(app: Application) -> Iterator[tuple[str, Path_, str]]:
    """(component, where in it, name)."""
    for name, component in app.components.items():
        yield from ((name, ("secrets", index), secret) for index, secret in enumerate(component.secrets))
        if component.api is not None and component.api.token is not None:
            yield name, ("api", "token"), component.api.token


def _value(name: str) -> str:
    """Empty where it is nowhere. One line break at its end is not counted as part of it."""
    folder = os.environ.get(FOLDER)
    if folder and (file := Path(folder) / name).is_file():
        try:
            text = read_input(file, MAX_SECRET + 2).decode()
        except UnicodeDecodeError as error:
            raise InputError(Issue(f"its file is no text: {error.reason}")) from None
        return text.removesuffix("\n").removesuffix("\r")
    return os.environ.get(name, "")

"""Items of the application's data: JSON lines, each a request's values by name and its label."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.values import Value, conform
from specs.application import Application
from specs.errors import InputError, Issue, Place
from specs.input_file import open_input, read_input
from specs.tensors import TensorType

MAX_LINE: Final = 1_000_000
MAX_BLOB: Final = 64_000_000
MAX_ITEMS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One request of `source`: its values by name, and the label that `data` gives it (None without one)."""

    source: str
    values: Mapping[str, Value]
    label: Any = None
    data: str = ""


@dataclass(frozen=True, slots=True)
class ItemRef:
    """An item as its line says it; `read` fetches what lies in files. `file` and `line` are where it stands."""

    source: str
    types: Mapping[str, TensorType]
    fields: Mapping[str, Any]
    label: Any
    data: str
    file: Path
    line: int

    def read(self) -> Item:
        """Raises InputError for a missing or too large file, a path that leaves the data's folder, or a wrong type."""
        values = {name: self._value(name, kind) for name, kind in self.types.items()}
        return Item(self.source, values, self.label, self.data)

    def _value(self, name: str, kind: TensorType) -> Value:
        found = self.fields[name]
        place = Place(str(self.file), self.line, 1)
        if not kind.is_blob or kind.dtype == "string":
            try:
                return conform(found, kind, name)
            except InputError as error:
                raise InputError(*(Issue(i.message, place, i.hint) for i in error.issues)) from error
        if not isinstance(found, str):
            raise InputError(Issue(f"{name}: expected the path of a file, got {type(found).__name__}", place))
        folder = self.file.resolve().parent
        path = (folder / found).resolve()
        if not path.is_relative_to(folder):
            raise InputError(Issue(f"{name}: {found!r} leaves the folder of the data", place))
        try:
            return read_input(path, MAX_BLOB, found)
        except InputError as error:
            raise InputError(*(Issue(f"{name}: {i.message}", place, i.hint) for i in error.issues)) from error


def read_items(app: Application, data: str, folder: Path) -> list[ItemRef]:
    """The items of the application's data called `data`, whose file is relative to `folder`.

    Each is for the source whose values it names.

    Blobs but strings are paths of files, relative to the data's own folder. Raises InputError with file and line.
    """
    dataset = app.data[data]
    file = folder / dataset.file
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(Issue(f"{dataset.file!r} leaves the project's folder", Place(str(file))))
    items = []
    try:
        with io.TextIOWrapper(open_input(file, dataset.file), encoding="utf-8") as stream:
            number = 0
            while line := stream.readline(MAX_LINE):
                number += 1
                if len(line) == MAX_LINE or number > MAX_ITEMS:
                    raise InputError(Issue("the line is too long, or there are too many", Place(str(file), number, 1)))
                if line.strip():
                    items.append(_item(app, data, file, number, line))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(Issue(f"cannot read the data {dataset.file}: {reason}", Place(str(file)))) from error
    if not items:
        raise InputError(Issue("the data has no items", Place(str(file))))
    return items


def _item(app: Application, data: str, file: Path, number: int, line: str) -> ItemRef:
    dataset = app.data[data]
    place = Place(str(file), number, 1)
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(Issue(f"not JSON: {error}", place)) from error
    if not isinstance(fields, dict):
        raise InputError(Issue("expected an object with a value for each of the source's values", place))
    if dataset.label is not None and dataset.label not in fields:
        raise InputError(Issue(f"the label {dataset.label!r} is missing", place))
    label = fields.get(dataset.label) if dataset.label else None
    asked = {n: s for n, s in app.sources.items() if dataset.source in (None, n)}
    fitting = [n for n, s in asked.items() if set(s.values) <= set(fields)]
    # A source whose values are all among another's is meant only where nothing more fits.
    fitting = [n for n in fitting if not any(set(asked[n].values) < set(asked[m].values) for m in fitting)]
    if len(fitting) == 1:
        types = {k: v.type for k, v in asked[fitting[0]].values.items()}
        return ItemRef(fitting[0], types, fields, label, data, file, number)
    if fitting:
        hint = f"say `source: {fitting[0]}` at the data {data!r}"
        raise InputError(Issue(f"the values fit the sources {' and '.join(fitting)}", place, hint))
    expected = " or ".join("{" + ", ".join(s.values) + "}" for s in asked.values())
    raise InputError(Issue(f"expected the values {expected}, got {', '.join(fields) or 'none'}", place))

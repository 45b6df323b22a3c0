"""What-if: values of app.yaml and infra.yaml replaced before they are checked, such as ``link.lte.delay=80ms``.

A change means what the file would mean if the value stood there: ``rate=80/h`` is both mean and peak, and
``delay=80ms`` has no jitter; ``constraint.budget=null`` leaves that constraint out. The first word says which file is
meant, in the singular or the plural.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from specs.errors import InputError, Issue, Place
from specs.nearest import near
from specs.yamlfile import Path_, YamlFile, parse_yaml

OPTION: Final = "--set"
APP_WORDS: Final = {
    "source": "sources", "component": "components", "sink": "sinks", "constraint": "constraints",
    "objective": "objective", "data": "data",
}  # fmt: skip
INFRA_WORDS: Final = {"hardware": "hardware", "site": "sites", "link": "links", "fleet": "fleets"}
SHORT: Final[dict[str, tuple[str, ...]]] = {
    "delay": ("mean",), "rate": ("mean", "peak"), "size": ("p50", "p99"), "up": ("rate",), "down": ("rate",),
}  # fmt: skip
"""Keys whose mapping may be written as one value, and what that value stands for."""


@dataclass(frozen=True, slots=True)
class Change:
    """`value` is to stand at `path`. `text` is what the user wrote."""

    text: str
    path: tuple[str, ...]
    value: Any

    @property
    def place(self) -> Place:
        return Place(f"{OPTION} {self.text}")


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of either file, in the order given: a later one counts where two meet."""

    app: tuple[Change, ...] = ()
    infra: tuple[Change, ...] = ()


def parse_changes(texts: Iterable[str]) -> Changes:
    """Read ``PATH=VALUE`` texts. Raises InputError with an issue for each that is not one."""
    app: list[Change] = []
    infra: list[Change] = []
    issues: list[Issue] = []
    for text in texts:
        try:
            change = _parse(text.strip())
        except InputError as error:
            issues += error.issues
        else:
            (app if change.path[0] in APP_WORDS.values() else infra).append(change)
    if issues:
        raise InputError(*issues)
    return Changes(tuple(app), tuple(infra))


def _parse(text: str) -> Change:
    place = Place(f"{OPTION} {text}")
    path, sign, value = text.partition("=")
    words = [word.strip() for word in path.split(".")]
    if not sign or not all(words) or not value.strip():
        raise InputError(Issue("expected PATH=VALUE", place, f"{OPTION} link.lte.delay=80ms"))
    known = APP_WORDS | INFRA_WORDS
    first = known.get(words[0], words[0])
    if first not in known.values():
        raise InputError(Issue(f"unknown word {words[0]!r}", place, near(words[0], [*known, *known.values()])))
    try:
        given = parse_yaml(value, place.file).value
    except InputError as error:
        raise InputError(*(Issue(i.message, place, i.hint) for i in error.issues)) from error
    return Change(text, (first, *words[1:]), given)


def changed(read: YamlFile, changes: Sequence[Change], keys: Any) -> YamlFile:
    """`read` with `changes` made, whose places name the option that said so.

    `keys` gives, for a path, the keys that may stand in the mapping there. Raises InputError for a name that is not in
    the file and a key that is not known, with the nearest that is.
    """
    value = copy.deepcopy(read.value)
    places = dict(read.places)
    issues: list[Issue] = []
    for change in changes:
        try:
            path = _replace(value, change, keys)
        except InputError as error:
            issues += error.issues
            continue
        # What was right before is wrong by this change, be it said of the value or of what it is part of.
        places = {p: change.place if path[: len(p)] == p or p[: len(path)] == path else at for p, at in places.items()}
        places[path] = change.place
    if issues:
        raise InputError(*issues)
    return YamlFile(value, places, read.file)


def _replace(value: Any, change: Change, keys: Any) -> Path_:
    """Puts the change's value where it belongs in `value`, and returns its path."""
    at = value
    path: Path_ = ()
    for word in change.path[:-1]:
        step = _step(at, path, word, change, keys)
        if not isinstance(at[step], (dict, list)):
            at[step] = _written_out(at[step], word, change)
        at, path = at[step], (*path, step)
    last = _step(at, path, change.path[-1], change, keys, new=True)
    if change.value is None and path == ("constraints",):
        del at[last]
    else:
        at[last] = change.value
    return (*path, last)


def _step(at: Any, path: Path_, word: str, change: Change, keys: Any, new: bool = False) -> str | int:
    """The key or index that `word` means in `at`; one that is `new` need not stand there yet if it is a known key."""
    where = ".".join(map(str, path)) or "the file"
    if isinstance(at, list):
        if word.isdecimal() and int(word) < len(at):
            return int(word)
        raise InputError(Issue(f"{where}: expected an index below {len(at)}, got {word!r}", change.place))
    known = sorted(keys(path))
    if word in at or (new and word in known):
        return word
    if word in known:
        raise InputError(Issue(f"{where}: {word!r} is not in the file", change.place, "give it a value there first"))
    names = list(dict.fromkeys([*at, *known]))
    raise InputError(Issue(f"{where}: unknown word {word!r}", change.place, near(word, names)))


def _written_out(value: Any, word: str, change: Change) -> dict[str, Any]:
    """The mapping that a value written in short stands for."""
    if word in SHORT and value is not None:
        return dict.fromkeys(SHORT[word], value)
    raise InputError(Issue(f"{word} is one value, {value!r}, with nothing below it", change.place))

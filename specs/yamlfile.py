"""Reads YAML that may be hostile into plain values, remembering where each one stands.

The scalars follow YAML 1.2's core schema (``on`` is a word, not a boolean). Tags, duplicate keys, documents beyond the
first, and files beyond the limits below are refused, so that a hostile file gives an error at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from specs.errors import InputError, Issue, Place
from specs.input_file import read_input

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 100_000
"""Values after aliases are expanded: a "billion laughs" file stops here."""
MAX_NUMBER: Final = 40
"""Characters of a number; a longer one is text."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_INT = re.compile(r"^[-+]?[0-9]{1,18}$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?$")
_BARE_TYPE = re.compile(r"(?<![\w\"'])[a-z]+[0-9]*\[[\w, ]*\](?![\"'])")
"""A word and its brackets, which YAML takes for the beginning of a list where it stands between braces."""
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None, "~": None, "": None}

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The plain `value` of a file, the `places` of its keys and items by path, and the file's own name."""

    value: Any
    places: dict[Path_, Place]
    file: str

    def place(self, *path: str | int) -> Place:
        """Where `path` stands; the nearest enclosing value where that path is not in the file."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(self.file))


def read_yaml(file: str | Path) -> YamlFile:
    """Read `file`. Raises InputError where it is missing, too large, not YAML, or uses what is refused."""
    name = str(file)
    data = read_input(file, MAX_BYTES)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(Issue(f"not UTF-8 at byte {error.start}", Place(name))) from error
    return parse_yaml(text, name)


def yaml_text(value: Mapping[str, Any]) -> str:
    """`value` as YAML, its keys in their order."""
    text: str = yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _way_out(text: str, mark: Any) -> str:
    """What most likely helps where the parser stopped at `mark`: it stops at the line after a missing colon."""
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return "is a bracket or a quote left open?"
    line = lines[mark.line]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "there is a tab here; indent with spaces"
    if _BARE_TYPE.search(line):
        return 'put a type with brackets in quotes: "f32[3,64,64]"'
    return "is this line, or the one above, without its colon, or indented otherwise than its neighbours?"


def parse_yaml(text: str, name: str = "<text>") -> YamlFile:
    """Parse `text`; `name` stands for the file in errors. Raises InputError as `read_yaml` does."""
    reader = _Reader(name)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            reader.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(Issue(f"not valid YAML: {problem}", place, _way_out(text, mark))) from error
    if not reader.done:
        raise InputError(Issue("the file is empty", Place(name)))
    places: dict[Path_, Place] = {}
    budget = [MAX_VALUES]
    value = _plain(reader.root, (), places, budget, name)
    return YamlFile(value, places, name)


@dataclass(slots=True)
class _Node:
    """A value under construction: a scalar's text, or the children of a list or mapping."""

    kind: str
    place: Place
    scalar: Any = None
    items: list[Any] | None = None


class _Reader:
    """Builds nodes from parser events with a stack of its own, so that depth is bounded before it is used."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stack: list[_Node] = []
        self.anchors: dict[str, _Node] = {}
        self.root = _Node("scalar", Place(name))
        self.done = False
        self.count = 0

    def take(self, event: yaml.Event) -> None:
        place = Place(self.name, event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else None
        if isinstance(event, yaml.DocumentStartEvent) and self.done:
            raise InputError(Issue("a second document in the file; expected one", place))
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise InputError(Issue(f"unknown or recursive alias *{event.anchor}", place))
            self._add(self.anchors[event.anchor], None)
        elif isinstance(event, yaml.ScalarEvent):
            self._refuse_tag(event, place)
            scalar = event.value if event.style in ("'", '"', "|", ">") else _scalar(event.value)
            self._add(_Node("scalar", place or Place(self.name), scalar), event.anchor)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._refuse_tag(event, place)
            if len(self.stack) >= MAX_DEPTH:
                raise InputError(Issue(f"nested deeper than {MAX_DEPTH} levels", place))
            kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
            node = _Node(kind, place or Place(self.name), event.anchor, [])
            self.stack.append(node)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            node = self.stack.pop()
            anchor, node.scalar = node.scalar, None
            self._add(node, anchor)

    def _refuse_tag(self, event: Any, place: Place | None) -> None:
        if event.tag is not None and event.tag != "!":
            hint = "put text that begins with ! in quotes; the opposite of a value is written: not component.output"
            raise InputError(Issue(f"YAML tags are refused, got {event.tag!r}", place, hint))

    def _add(self, node: _Node, anchor: str | None) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            raise InputError(Issue(f"more than {MAX_VALUES} values", node.place))
        if anchor:
            self.anchors[anchor] = node
        if self.stack:
            items = self.stack[-1].items
            assert items is not None
            items.append(node)
        else:
            self.root, self.done = node, True


def _scalar(text: str) -> Any:
    """A plain scalar's value under YAML 1.2's core schema. Numbers too long to be meant stay text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.match(text):
        return int(text)
    if len(text) > MAX_NUMBER or not _FLOAT.match(text):
        return text
    value = float(text)
    return value if math.isfinite(value) else text


def _plain(node: _Node, path: Path_, places: dict[Path_, Place], budget: list[int], name: str) -> Any:
    """`node` as plain Python values; fills `places` and spends `budget`, which bounds what aliases can expand to."""
    budget[0] -= 1
    if budget[0] < 0:
        raise InputError(Issue(f"more than {MAX_VALUES} values once aliases are expanded", node.place))
    places.setdefault(path, node.place)
    if node.kind == "scalar":
        return node.scalar
    items = node.items or []
    if node.kind == "list":
        return [_plain(item, (*path, i), places, budget, name) for i, item in enumerate(items)]
    result: dict[str, Any] = {}
    for key, item in zip(items[::2], items[1::2], strict=True):
        if key.kind != "scalar" or key.scalar is None:
            raise InputError(Issue("a key must be a word", key.place))
        word = key.scalar if isinstance(key.scalar, str) else str(key.scalar).lower()
        if word in result:
            raise InputError(Issue(f"the key {word!r} is given twice", key.place))
        places[(*path, word)] = key.place
        result[word] = _plain(item, (*path, word), places, budget, name)
    return result

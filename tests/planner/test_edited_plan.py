"""Whatever is changed in a plan is found, and never ends in anything but an answer or an InputError."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from pydantic import ValidationError

from planner import solve, verify
from planner.situation import Situation
from specs.errors import InputError
from specs.plan import Plan
from tests.planner.blog import situation

SAMPLES: Final = 20_000
Path_ = tuple[str | int, ...]

FREE: Final = {
    "seconds": "how long solving took",
    "binding": "found by solving again",
    "file": "how a path is written says nothing; its last part is compared",
}
"""What the verifier cannot know, and why."""

WORDS: Final = ("zzz", "", "phones", "vision", "__class__", "x" * 500)
TINY_MS: Final = 0.3
"""Differences of times below this are sampling error to the verifier."""
NUMBERS: Final = (0, -1, 1, 7, 1e9, 1e300, 0.5)


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every value that is no mapping, lists too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
        return
    yield path, value
    if isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*path, i))


def edits(old: Any, room: float = 0.0) -> list[Any]:
    """Other values that could stand there, numbers more than `room` away."""
    if isinstance(old, bool):
        return [not old]
    if isinstance(old, str):
        return [w for w in WORDS if w != old]
    if isinstance(old, int | float):
        return [n for n in NUMBERS if abs(n - old) > max(room, 0.3 * abs(old))]
    if isinstance(old, list) and old:
        return [[], old[1:], [*old, old[0]], [*old, old[-1]]]
    return []


def changed(value: dict[str, Any], path: Path_, to: Any) -> dict[str, Any]:
    copied = copy.deepcopy(value)
    inner: Any = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return copied


def found(given: Situation, value: dict[str, Any]) -> bool:
    """Whether an edited plan is refused or a claim of it does not hold."""
    try:
        return bool(verify(given, Plan.model_validate(value), SAMPLES).wrong)
    except (ValidationError, InputError):
        return True


def all_edits(value: dict[str, Any]) -> list[tuple[Path_, Any]]:
    kept = [(p, old) for p, old in leaves(value) if not FREE.keys() & set(p)]
    return [(p, to) for p, old in kept for to in edits(old, TINY_MS if str(p[-1]).endswith("_ms") else 0.0)]


def check(choose: Callable[[list[tuple[Path_, Any]]], list[tuple[Path_, Any]]]) -> None:
    given = situation()
    value = solve(given).dump()
    assert not found(given, value)
    missed = [(p, to) for p, to in choose(all_edits(value)) if not found(given, changed(value, p, to))]
    assert not missed


def test_an_edit_of_a_plan_is_found() -> None:
    check(lambda every: random.Random(7).sample(every, 200))


@pytest.mark.deep
def test_every_edit_of_a_plan_is_found() -> None:
    check(lambda every: every)

"""Each pair of what may be said of a component is refused with a message, or met in the worlds that tests solve.

This is the one place that says so of every pair. What is tested elsewhere is named with its test.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any, Final

import pytest
from pydantic import ValidationError

from planner import verify
from planner.formulation import formulate
from planner.situation import Situation
from specs.application import Application, Component
from specs.check import check
from specs.support import unsupported
from tests.planner.brute import TooLarge
from tests.planner.planned import planned
from tests.planner.test_hosted import hosted
from tests.planner.test_solver import compare
from tests.planner.test_standby import standing_by
from tests.planner.test_state import pinned
from tests.planner.worlds import (
    batching,
    busy,
    cramped,
    document,
    encoded,
    fanned,
    fanned_and_cut,
    fanned_behind_a_gate,
    fanned_in_batches,
    lengthy,
    together,
    world,
)

Pair = frozenset[str]
MODEL: Final = {"model": "c1.onnx"}
"""What the component is that a feature is said of, where it is not something else by that."""

SAID: Final[dict[str, dict[str, Any]]] = {
    "per": {"per": "c0.out"},
    "batch": {"batch": 4},
    "batch that waits": {"batch": {"max": 4, "wait": "5 ms"}},
    "split": {"split": {"at": ["cut"]}},
    "codec": {"split": {"at": ["cut"], "codec": ["none", "zlib"]}},
    "dims": {"dims": {"T": [16, 64]}},
    "state": {"function": "functions:f", "state": "1 MB", "at": {"tier": "edge"}},
    "api": {"api": {"url": "https://models.example/v2", "model": "m", "price": "0.001/call"}},
    "variants": {"variants": {"small": {"model": "small.onnx"}, "large": {"model": "large.onnx"}}},
    "when": {"when": "not c0.sure"},
    "standby": {"standby": 1},
}
"""How each is said in the file."""

HAS: Final[dict[str, Callable[[Component], object]]] = {
    "per": lambda c: c.per,
    "batch": lambda c: max(c.batch_sizes) > 1,
    "batch that waits": lambda c: c.batch is not None and c.batch.wait > 0,
    "split": lambda c: c.split,
    "codec": lambda c: c.encodings,
    "dims": lambda c: c.dims,
    "state": lambda c: c.state,
    "api": lambda c: next(iter(c.realisations.values())).api,
    "variants": lambda c: len(c.realisations) > 1,
    "when": lambda c: c.when,
    "standby": lambda c: c.standby,
}

SOLVED: Final[dict[Callable[[int], Situation | None], range]] = {
    world: range(40),
    together: range(40, 90),
    fanned: range(12),
    fanned_in_batches: range(10),
    fanned_and_cut: range(6),
    lengthy: range(12),
    lambda seed: standing_by((world, cramped, busy)[seed % 3](seed), seed): range(40, 52),
    lambda seed: (hosted(world(seed)) or [None])[0]: range(12),
    lambda seed: pinned(world(seed), seed): range(12),
}
"""Worlds that other tests solve, with seeds that those tests have."""


def standing_by_hosted(seed: int) -> Situation | None:
    found = hosted(world(seed))
    return standing_by(found[0], seed) if found else None


HERE: Final[dict[Callable[[int], Situation | None], range]] = {
    fanned_behind_a_gate: range(10),
    standing_by_hosted: range(10),
    lambda seed: standing_by(lengthy(seed), seed): range(6),
    lambda seed: standing_by(batching(seed, (2,), ("5 ms",), loose=3.0), seed): range(8),
    encoded: range(20),
}
"""Worlds with pairs that no other test has: solved below, beside brute force and the verifier."""


def said(*names: str) -> dict[str, Any]:
    """An application whose second component has all of these."""
    component: dict[str, Any] = {"inputs": {"x": "c0.out"}, "outputs": {"out": "f32[8]"}}
    kinds = {"function", "api", "variants"}
    if not any(kinds & SAID[name].keys() for name in names):
        component |= MODEL
    for name in names:
        for key, value in SAID[name].items():
            both = isinstance(value, dict) and isinstance(component.get(key), dict)
            component[key] = component[key] | value if both else component.get(key, value)
    first = {"model": "c0.onnx", "inputs": {"x": "s.v"}, "outputs": {"out": "f32[n,8]", "sure": "bool"}}
    last = {"model": "c2.onnx", "inputs": {"x": "c1.out", "sure": "c0.sure"}, "outputs": {"out": "f32[8]"}}
    return {
        "schema": "tierplan.app/v1",
        "name": "pair",
        "sources": {"s": {"at": {"tier": "edge"}, "rate": "1/s", "values": {"v": {"type": "jpeg", "size": "1 kB"}}}},
        "components": {"c0": first, "c1": component, "c2": last},
        "sinks": {"o": {"at": "origin", "inputs": {"y": {"from": "c2.out", "if_skipped": 0}}}},
    }


def refusals(*names: str) -> list[str]:
    """Why the grammar, its checks or what is built do not let these stand together; nothing where they do."""
    try:
        app = document(said(*names), Application, "app.yaml")
    except ValidationError as error:
        return [str(e["msg"]) for e in error.errors()]
    known = (issue.message for issue in check(app) if not issue.message.endswith("is missing"))  # models and functions
    return [*known, *(issue.message for issue in unsupported(app))]


@cache
def met() -> frozenset[Pair]:
    """Pairs that one component has in worlds that are solved."""
    worlds = (make(seed) for make, seeds in (*SOLVED.items(), *HERE.items()) for seed in seeds)
    return frozenset(
        frozenset(pair)
        for given in worlds
        if given is not None
        for component in given.app.value.components.values()
        for pair in combinations([name for name, has in HAS.items() if has(component)], 2)
    )


@pytest.mark.parametrize("name", SAID)
def test_each_is_allowed_alone(name: str) -> None:
    assert not refusals(name)


PAIRS: Final = [p for p in combinations(SAID, 2) if p not in (("batch", "batch that waits"), ("split", "codec"))]
"""Without those of which one is a form of the other."""


@pytest.mark.parametrize("pair", PAIRS, ids=" + ".join)
def test_each_pair_is_refused_with_a_message_or_solved(pair: tuple[str, str]) -> None:
    refused, solved = refusals(*pair), frozenset(pair) in met()
    assert bool(refused) + solved == 1, (pair, refused, solved)


@pytest.mark.parametrize("make", HERE, ids=range(len(HERE)))
def test_pairs_that_no_other_test_has_equal_brute_force_and_verify(make: Callable[[int], Situation | None]) -> None:
    compared = verified = 0
    for given in filter(None, map(make, HERE[make])):
        try:
            compare(formulate(given), 20_000)
        except TooLarge:
            continue
        compared += 1
        plan = planned(given)
        if plan is not None:
            verified += 1
            assert not (wrong := verify(given, plan, 60_000).wrong), wrong
    assert compared >= 3
    assert verified >= 1

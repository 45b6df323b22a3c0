"""All that can be asked for, asked for together: solver beside brute force, verifier beside plans."""

from __future__ import annotations

import pytest

from planner import solve, verify
from planner.formulation import formulate
from specs.errors import AnswerIsNo, InputError, NotKnown
from tests.planner.test_solver import family
from tests.planner.worlds import together

MOST = 20_000
"""Choices of a Problem that brute force looks at."""
FAST_AND_LOST = (46, 52, 53)
"""Messages take milliseconds here, and seconds where a packet is lost again and again."""


def equal(seeds: range) -> None:
    family(lambda seed: formulate(together(seed)), seeds, MOST, small=0.5)


def agree(seeds: tuple[int, ...] | range) -> int:
    planned = 0
    for seed in seeds:
        given = together(seed)
        try:
            plan = solve(given, proofs=False)
        except (AnswerIsNo, InputError, NotKnown):
            continue
        if plan.assignments:
            planned += 1
            assert not (wrong := verify(given, plan, 30_000).wrong), (seed, wrong)
    return planned


def test_status_and_objective_equal_brute_force() -> None:
    equal(range(40, 90))


@pytest.mark.deep
def test_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(90, 690))


def test_the_verifier_agrees_where_lost_packets_take_a_hundred_times_as_long() -> None:
    """The grid of times must be fine beside the mean of a message, not beside its largest value."""
    assert agree(FAST_AND_LOST) == len(FAST_AND_LOST)


@pytest.mark.deep
def test_the_verifier_agrees_with_many_plans() -> None:
    assert agree(range(300)) >= 80

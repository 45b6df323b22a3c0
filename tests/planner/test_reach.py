"""What limits leave of the candidates and of their own tables, before anything is searched."""

from __future__ import annotations

import random

import pytest

from benchmarks.instances import Kind, Shape, instance
from planner.solver.build import Reduced, reduced
from planner.solver.candidates import Candidate, Key, candidates
from planner.solver.evaluate import evaluate
from planner.solver.groups import groups_of
from planner.solver.solution import Choice

DRAWN = 150


@pytest.mark.parametrize(("kind", "slack"), [("tree", 2.5), ("network", 1.7)])
def test_no_choice_that_keeps_its_limits_uses_what_is_left_out(kind: Kind, slack: float) -> None:
    kept = left_out = 0
    for seed in range(4):
        problem = instance(Shape(kind, 4, 5, ways=4, slack=slack), seed)
        capacities = frozenset(i for i, c in enumerate(problem.constraints) if c.kind != "path")
        of = candidates(problem, groups_of(problem, capacities), capacities, None).of
        given = reduced(problem, capacities)
        left_out += sum(len(set(all_of) - set(given.candidates[key])) for key, all_of in of.items())
        draw = random.Random(seed)
        for _ in range(DRAWN):
            chosen = {key: draw.choice(all_of) for key, all_of in of.items()}
            choice = _choice(given, chosen, scenario=draw.randrange(len(problem.scenarios)))
            if evaluate(problem, choice, capacities).holds(capacities):
                kept += 1
                assert all(c in given.candidates[key] for key, c in chosen.items() if _is_of(given, key, choice))
    assert kept > 30
    assert left_out > 200


def test_rows_below_the_least_of_a_path_are_left_out_of_its_table() -> None:
    problem = instance(Shape("tree", 4, 5, ways=4, slack=1.3), 0)
    whole = problem.scenarios[0].limits[0].shapes[0]
    shapes = reduced(problem).groups[0].limits[0].shapes
    assert tuple(path for shape in shapes for path in shape.paths) == whole.paths
    assert all(set(shape.rows) < set(whole.rows) for shape in shapes)


def _is_of(given: Reduced, key: Key, choice: Choice) -> bool:
    """Whether the scenario of `choice` has the form of a step that `key` names."""
    g, i, j = key
    return choice.scenarios[0] in given.groups[g].slots[i][j].scenarios


def _choice(given: Reduced, chosen: dict[Key, Candidate], scenario: int) -> Choice:
    """What `chosen` says of the steps in the forms that `scenario` has; of one flow and one group."""
    problem = given.problem
    replicas = [0] * len(problem.stations)
    options: list[tuple[int, ...]] = []
    for (g, i, j), c in chosen.items():
        slot = given.groups[g].slots[i][j]
        if scenario in slot.scenarios:
            options.append((c.option,))
            replicas[slot.step.options[c.option].station] = max(1, c.replicas)
    return Choice((scenario,), (tuple(options),), problem.members, tuple(replicas))

"""Norms of paths: every answer of a model keeps them. The neighbourhood of a linear relaxation's answer."""

from __future__ import annotations

import pytest

from benchmarks.instances import Kind, Shape, instance
from planner.formulation import formulate
from planner.problem import Problem
from planner.solver import cpsat
from planner.solver.build import build, reduced
from planner.solver.draft import Scope
from planner.solver.linear import LinearRelaxation
from planner.solver.neighbourhood import LEAST, neighbourhood
from tests.planner.worlds import world

WAITS = Scope("pair", frozenset(range(1000)), frozenset())


def kept(problem: Problem) -> int:
    """Asserts that the answer with the largest deviations, and the cheapest one, keep all norms; how many there are."""
    draft = build(reduced(problem), WAITS)
    if draft.model.impossible:
        return 0
    found = 0
    for objective in ([(v, -f) for norm in draft.model.norms for v, f in norm.parts], draft.model.objectives[0]):
        answer = cpsat.run(draft.model, objective, time_limit=60.0, effort=0.5)
        for norm in draft.model.norms if answer.values else ():
            most = sum(n for v, n in norm.most if answer.values[v])  # one, or none of a scenario that is not taken
            assert sum((f * answer.values[v]) ** 2 for v, f in norm.parts) <= most
            found += most > 0
    return found


@pytest.mark.parametrize("kind", ["tree", "network"])
def test_the_loudest_answer_of_a_generated_problem_keeps_its_norms(kind: Kind) -> None:
    assert kept(instance(Shape(kind, 5, 5, slack=1.25), 1))


def test_the_loudest_answers_of_worlds_keep_their_norms() -> None:
    assert sum(kept(formulate(world(seed))) > 0 for seed in range(12)) >= 6


def test_a_neighbourhood_has_the_sites_of_the_answer_and_as_many_other_choices_as_asked_for() -> None:
    draft = build(reduced(instance(Shape("tree", 5, 5, slack=1.25), 1)), WAITS)
    bound = LinearRelaxation(draft.model, draft.model.objectives[0], []).solve([], 60.0)
    assert bound is not None
    left = neighbourhood(draft, bound, 2, draft.model.domains)
    smaller = 0
    for (g, i, j), picked in draft.picked.items():
        options = draft.groups[g].slots[i][j].step.options
        sites = {options[c.option].site for x, c in picked if bound.values[x] > LEAST}
        others = [x for x, c in picked if options[c.option].site not in sites]
        assert all(left[x] == (0, 1) for x, c in picked if options[c.option].site in sites)
        assert sum(left[x] == (0, 1) for x in others) == min(2, len(others))
        smaller += len(others) > 2
    assert smaller
    free = {x for picked in draft.picked.values() for x, _ in picked}
    assert all(a == b for v, (a, b) in enumerate(zip(left, draft.model.domains, strict=True)) if v not in free)

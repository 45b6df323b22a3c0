"""Accuracy as an objective: the plan with the fewest wrong answers is found, and says how many they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner import solve, verify
from planner.answers.again import vary
from planner.formulation import formulate
from specs.errors import InputError
from tests.planner.planned import planned
from tests.planner.test_example_plan import recorded
from tests.planner.test_solver import family
from tests.planner.worlds import careful


def equal(seeds: range) -> None:
    found = family(lambda seed: formulate(careful(seed)), seeds)
    differing = sum(len({s.wrong for s in problem.scenarios}) > 1 for problem, _ in found.solved)
    assert differing >= 0.3 * found.count


def test_with_accuracy_status_and_objective_equal_brute_force() -> None:
    equal(range(40, 80))


@pytest.mark.deep
def test_with_accuracy_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(80, 1040))


def test_the_verifier_agrees_with_the_wrong_answers_of_every_plan_and_finds_a_false_claim() -> None:
    seen = 0
    for seed in range(16):
        given = careful(seed)
        plan = planned(given)
        if plan is None:
            continue
        seen += 1
        k = given.app.value.objective.index("accuracy")
        assert not verify(given, plan, 60_000).wrong
        for value in (plan.objective[k] + 0.01, plan.objective[k] / 2):
            other = [value if i == k else v for i, v in enumerate(plan.objective)]
            assert verify(given, plan.model_copy(update={"objective": other, "bound": other}), 20_000).wrong
    assert seen >= 5


def test_no_plan_of_the_example_has_fewer_wrong_answers_than_the_most_accurate_one() -> None:
    given = recorded({}, {})
    cheapest, best = (
        solve(given),
        solve(vary(given, ["objective=[accuracy, cost]", "constraint.budget.cost=900 USD/month"])),
    )
    right = max(a.value for b in given.behaviours for a in b.accuracy)
    assert best.objective[0] == pytest.approx(1 - right, abs=1e-6)
    assert best.objective[1] >= cheapest.objective[0]


def test_accuracy_that_nobody_measured_is_refused_at_the_line_of_the_objective() -> None:
    given = vary(recorded({}, {}), ["objective=[accuracy]"])
    behaviours = tuple(b.model_copy(update={"accuracy": ()}) for b in given.behaviours)
    app = given.app.value
    free = {n: c for n, c in app.constraints.items() if n != "quality"}
    document = replace(given.app, value=app.model_copy(update={"constraints": free}))
    with pytest.raises(InputError, match="accuracy is an objective, but was not measured"):
        formulate(replace(given, app=document, behaviours=behaviours))

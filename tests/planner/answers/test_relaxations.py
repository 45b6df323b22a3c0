"""Where there is no plan, what is said to be enough is enough, and one step less is not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from planner.answers.again import vary
from planner.answers.dial import Dial, dial_of, nice
from planner.answers.relaxations import fewest_steps, with_relaxations
from planner.formulation import formulate, formulation
from planner.limits import with_limits
from planner.plan import solve
from planner.situation import Situation
from specs.errors import AnswerIsNo, InputError, NotKnown
from specs.plan import Plan, RelaxedLimit
from tests.planner.test_example_plan import recorded
from tests.planner.worlds import world


def exists(given: Situation) -> bool:
    try:
        return solve(given, proofs=False).status in ("optimal", "feasible")
    except (AnswerIsNo, InputError, NotKnown):
        return False


def one_step_less(given: Situation, change: RelaxedLimit) -> str:
    """The change as ``--set`` would say it, one step nearer to the limit."""
    constraint = next(c for c in formulate(given).constraints if c.name == change.name)
    dial = dial_of(given, constraint)
    assert isinstance(dial, Dial)
    assert change.relaxed is not None
    assert change.limit is not None
    assert change.step is not None
    return dial.text(change.relaxed - change.step if change.relaxed > change.limit else change.relaxed + change.step)


def holds(given: Situation, plan: Plan) -> int:
    """Check every relaxation of `plan`; returns how many amounts were checked."""
    checked = 0
    for relaxation in plan.relaxations:
        texts = [c.set for c in relaxation.changes]
        assert exists(vary(given, texts)), texts
        for i, change in enumerate(relaxation.changes):
            if change.step is not None:
                less = [*texts[:i], one_step_less(given, change), *texts[i + 1 :]]
                assert not exists(vary(given, less)), less
                checked += 1
    return checked


def relaxations_hold(seeds: Iterable[int]) -> int:
    checked = 0
    for seed in seeds:
        given = world(seed)
        try:
            plan = solve(given)
        except AnswerIsNo:
            continue
        if plan.status == "infeasible":
            relaxed = with_relaxations(given, plan)
            assert [r.cheapest for r in relaxed.relaxations] == [i == 0 for i in range(len(relaxed.relaxations))]
            checked += holds(given, relaxed)
    return checked


def test_the_stated_amount_gives_a_plan_and_one_step_less_does_not() -> None:
    assert relaxations_hold((7, 11, 12, 13)) >= 4


@pytest.mark.deep
def test_the_stated_amount_gives_a_plan_on_many_more() -> None:
    assert relaxations_hold(range(150)) >= 40


def test_a_budget_that_is_too_small_is_told_the_least_cost() -> None:
    given = recorded({"80 USD": "1 USD"}, {})
    (relaxation,) = with_relaxations(given, solve(given)).relaxations
    least = solve(recorded({}, {})).cost
    assert least is not None
    (change,) = relaxation.changes
    assert (change.name, change.limit, change.unit) == ("budget", 1.0, "USD/month")
    assert change.relaxed == pytest.approx(least.per_month, abs=0.021)


@pytest.mark.deep
def test_independent_conflicts_each_get_theirs_and_are_relaxed_together() -> None:
    given = recorded({"0.92": "0.99", "80 USD": "1 USD"}, {})
    plan = with_relaxations(given, solve(given))
    assert sorted(c.name for c in [*plan.conflict, *plan.further_conflicts[0]]) == ["budget", "quality"]
    (relaxation,) = plan.relaxations
    assert sorted(c.name for c in relaxation.changes) == ["budget", "quality"]
    assert holds(given, plan) == 2


@pytest.mark.deep
@pytest.mark.parametrize("limit", ["throughput: 1e6/s", "memory: 1 kB"])
def test_steps_suit_what_is_enough_however_far_the_limit_is_from_it(limit: str) -> None:
    given = recorded({"quality: {accuracy": f"far: {{{limit}}}\n  quality: {{accuracy"}, {})
    (relaxation,) = with_relaxations(given, solve(given), time_limit=600).relaxations
    (change,) = relaxation.changes
    assert change.name == "far"
    assert change.relaxed is not None
    assert change.step is not None
    assert 0.0005 <= change.step / change.relaxed <= 0.02
    assert exists(vary(given, [change.set]))
    assert not exists(vary(given, [one_step_less(given, change)]))


def test_a_pin_that_leaves_no_plan_is_told_where_else() -> None:
    given = vary(recorded({}, {}), ["component.language.at={tier: edge}", "hardware.phone.memory=100 MB"])
    plan = with_relaxations(given, solve(given))
    texts = {r.changes[0].set for r in plan.relaxations if len(r.changes) == 1}
    assert "component.language.at=null" in texts


def test_other_limits_give_the_problem_that_formulating_with_them_does() -> None:
    for seed in range(12):
        given = world(seed)
        base = formulation(given)
        names = [c.name for c in base.problem.constraints if c.kind == "path"]
        limits = {name: 0.05 * (i + 1) for i, name in enumerate(names)}
        assert with_limits(given, base, limits) == formulation(given, limits), seed


@pytest.mark.parametrize("answer", [1, 2, 7, 63, 64, 100])
@pytest.mark.parametrize("guess", [1, 6, 64, 500])
def test_the_fewest_steps_are_found_from_any_guess(answer: int, guess: int) -> None:
    assert fewest_steps(lambda steps: steps >= answer, 100, guess) == answer


def test_no_number_of_steps_is_enough_where_the_most_is_not() -> None:
    assert fewest_steps(lambda _: False, 100, 3) is None


def test_steps_are_round() -> None:
    assert [nice(x) for x in (5.0, 0.6, 3.0, 0.8, 1.0)] == [5.0, 0.5, 2.0, 0.5, 1.0]

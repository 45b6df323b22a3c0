"""Energy: as a limit and as an objective the solver's best is the best, and the plan says what it takes."""

from __future__ import annotations

import re

import pytest

from planner import solve, verify
from planner.answers.again import vary
from planner.answers.relaxations import with_relaxations
from planner.formulation import formulate
from planner.situation import Situation
from specs.changes import parse_changes
from specs.check import check
from specs.load import with_changes
from tests.planner.planned import planned
from tests.planner.test_example_plan import recorded
from tests.planner.test_solver import family
from tests.planner.worlds import thrifty


def equal(seeds: range) -> None:
    found = family(lambda seed: formulate(thrifty(seed)), seeds)
    assert sum(any(b.of == "energy" for b in problem.budgets) for problem, _ in found.solved) >= 0.2 * found.count


def test_with_energy_status_and_objective_equal_brute_force() -> None:
    equal(range(25, 75))


@pytest.mark.deep
def test_with_energy_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(75, 1000))


def agree(seeds: range) -> int:
    seen = 0
    for seed in seeds:
        plan = planned(thrifty(seed))
        if plan is not None and plan.energy is not None:
            seen += 1
            assert not verify(thrifty(seed), plan, 20_000).wrong
            more = plan.energy.model_copy(update={"per_month": plan.energy.per_month * 1.01})
            assert verify(thrifty(seed), plan.model_copy(update={"energy": more}), 20_000).wrong
            assert verify(thrifty(seed), plan.model_copy(update={"energy": None}), 20_000).wrong
    return seen


def test_the_verifier_agrees_with_the_energy_of_every_plan_and_finds_a_false_claim() -> None:
    assert agree(range(12)) >= 4


@pytest.mark.deep
def test_the_verifier_agrees_with_the_energy_of_many_more_plans() -> None:
    assert agree(range(12, 300)) >= 100


def example(*changes: str, constraint: str = "") -> Situation:
    """The example with the power of its cloud machine, and perhaps a limit of its energy."""
    app = {'quality: {accuracy: ">= 0.92"': f'power: {{energy: {constraint!r}}}\n  quality: {{accuracy: ">= 0.92"'}
    return vary(recorded(app if constraint else {}, {"price: 0.06/h": "price: 0.06/h, power: 20..60 W"}), changes)


def test_no_plan_takes_less_than_the_one_that_is_to_take_least() -> None:
    cheapest, thriftiest = solve(example()), solve(example("objective=[energy]"))
    assert cheapest.energy is not None
    assert thriftiest.energy is not None
    assert thriftiest.objective[0] == pytest.approx(thriftiest.energy.per_month)
    assert thriftiest.energy.per_month < cheapest.energy.per_month
    limit = (thriftiest.energy.per_month + cheapest.energy.per_month) / 2
    between = solve(example("constraint.budget.cost=500 USD/month", constraint=f"{limit} kWh/month"))
    (held,) = (c for c in between.constraints if c.name == "power")
    assert (held.unit, held.binding) == ("kWh/month", True)
    assert held.value <= limit
    assert between.objective[0] > cheapest.objective[0]


def test_too_little_energy_is_told_how_much_is_enough() -> None:
    least = solve(example("objective=[energy]")).objective[0]
    tight = example(constraint="1 W")
    plan = solve(tight)
    assert [c.name for c in plan.conflict] == ["power"]
    (relaxation,) = with_relaxations(tight, plan).relaxations
    (change,) = relaxation.changes
    assert change.relaxed is not None
    assert change.step is not None
    assert least <= change.relaxed + 1e-9 < least + change.step + 1e-6
    assert solve(vary(tight, [change.set])).status == "optimal"


def test_energy_of_hardware_whose_power_nobody_says_is_refused_at_its_line() -> None:
    given = recorded({}, {})
    changes = parse_changes(["objective=[energy]"])
    app, infra = with_changes(given.app, changes.app), given.infra
    (issue,) = [i for i in check(app, infra) if "power" in str(i)]
    said = r"infra\.yaml:\d+:\d+: no power of hardware 'c2' is known, but .*app\.yaml:\d+:\d+ asks for energy"
    assert re.search(said, str(issue))


@pytest.mark.parametrize(
    ("text", "kwh"),
    [("<= 20 kWh/month", 20.0), ("10 W", 7.3), ("1 MWh/year", 1000 / 12), ("500 Wh/day", 0.5 * 730 / 24)],
)
def test_energy_is_said_as_work_a_time_or_as_power(text: str, kwh: float) -> None:
    given = example(constraint=text)
    assert given.app.value.constraints["power"].energy == pytest.approx(kwh)  # type: ignore[union-attr]

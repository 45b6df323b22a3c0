"""What a hosted API asks for its calls is paid, by expected runs: in the solver's numbers, the plan, the verifier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner import verify
from planner.formulation import formulation
from planner.formulation.numbers import MICRO
from planner.pricing.prices import SECONDS_PER_MONTH
from planner.situation import Situation
from specs.api import Api
from tests.planner.brute import TooLarge
from tests.planner.planned import planned
from tests.planner.test_solver import compare
from tests.planner.worlds import world

PRICE = 0.003
API = Api.model_validate({"url": "https://api.example.com", "model": "m", "price": f"{PRICE} USD/call"})


def hosted(given: Situation, price: float = PRICE) -> tuple[Situation, str] | None:
    """`given` with its first plain model called as a hosted API instead, and which that is."""
    app = given.app.value
    for name, component in app.components.items():
        if component.model is not None and component.per is None and component.split is None:
            api = API.model_copy(update={"price": price})
            changed = component.model_copy(update={"model": None, "api": api, "backends": None})
            value = app.model_copy(update={"components": {**app.components, name: changed}})
            source = given.digests[f"{name}/default"]
            called = {"backend": "python", "artefact": ""}
            records = tuple(r.model_copy(update=called) if r.source == source else r for r in given.records)
            return replace(given, app=replace(given.app, value=value), records=records), name
    return None


def paid_for(seeds: range) -> tuple[int, int]:
    """(worlds with a hosted API, those of them with a plan)."""
    seen = plans = 0
    for seed in seeds:
        found, unpaid = hosted(world(seed)), hosted(world(seed), 0.0)
        if found is None or unpaid is None:
            continue
        given, name = found
        paid, free = formulation(given), formulation(unpaid[0])
        for now, before, pipeline in zip(paid.problem.scenarios, free.problem.scenarios, paid.scenarios, strict=True):
            flow = pipeline.flow
            calls = flow.mean * flow.members * pipeline.runs(name) * SECONDS_PER_MONTH
            for step, other in zip(now.steps, before.steps, strict=True):
                more = calls * PRICE * MICRO if step.name == name else 0
                for option, same in zip(step.options, other.options, strict=True):
                    assert option.cost - same.cost == pytest.approx(more, abs=2)
        try:
            compare(paid.problem, 20_000)
        except TooLarge:
            continue
        seen += 1
        plan = planned(given)
        if plan is None or plan.cost is None:
            continue
        plans += 1
        flows = {p.flow.name: p for p in paid.scenarios}
        expected = sum(p.flow.mean * p.flow.members * p.runs(name) for p in flows.values()) * SECONDS_PER_MONTH * PRICE
        items = {item.name: item.per_month for item in plan.cost.items}
        if len(flows) == len(paid.scenarios):  # one combination of variants: the share of runs does not depend on it
            assert items.get(f"calls {name}", 0.0) == pytest.approx(expected)
        report = verify(given, plan, 20_000)
        assert not report.wrong, report.wrong
        if f"calls {name}" in items:
            less = tuple(i for i in plan.cost.items if i.name != f"calls {name}")
            without = plan.cost.model_copy(update={"items": less})
            assert verify(given, plan.model_copy(update={"cost": without}), 20_000).wrong
    return seen, plans


def test_the_solver_the_plan_and_the_verifier_pay_for_calls() -> None:
    seen, plans = paid_for(range(12))
    assert seen >= 3
    assert plans >= 1


@pytest.mark.deep
def test_calls_are_paid_for_in_many_more_worlds() -> None:
    seen, plans = paid_for(range(12, 60))
    assert seen >= 15
    assert plans >= 8

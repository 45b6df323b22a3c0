"""The example's right plan is interesting: no single tier does as well, and what the user asks for decides it.

On recorded profiles (tests/planner/recorded), which stand for the models as they were when they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from planner.baseline import baselines
from planner.plan import solve
from planner.situation import Situation, situation_of
from planner.verification import verify
from specs.application import Application
from specs.behaviour import Behaviour
from specs.infrastructure import Infrastructure
from specs.plan import Plan
from specs.profile import BEHAVIOUR_FILE, HOPS_FILE, HopOverhead, read_jsonl, read_records
from tests.planner.test_variants import text

RECORDED = Path(__file__).with_name("recorded")
LIMIT, BUDGET, CELL = "p99: 500 ms", "<= 80 USD/month", "rate: 20 Mbit/s"


def recorded(app: Mapping[str, str], infra: Mapping[str, str]) -> Situation:
    behaviours = read_jsonl(RECORDED / BEHAVIOUR_FILE, Behaviour)
    digests = {key: digest for behaviour in behaviours for key, digest in behaviour.inputs.items()}
    return situation_of(
        text("app.yaml", Application, app),
        text("infra.yaml", Infrastructure, infra),
        read_records(RECORDED),
        behaviours,
        read_jsonl(RECORDED / HOPS_FILE, HopOverhead),
        digests,
    )


@cache
def planned(limit: str = LIMIT, budget: str = BUDGET, cell: str = CELL) -> Plan:
    return solve(recorded({LIMIT: limit, BUDGET: budget}, {CELL: cell}))


def sites(plan: Plan) -> dict[str, str]:
    return {a.component: f"{a.site}.{a.pool}" for a in plan.assignments}


def test_the_plan_is_proven_uses_all_three_tiers_and_holds() -> None:
    plan = planned()
    assert plan.status == "optimal"
    assert {a.site for a in plan.assignments} == {"phones", "bases", "frankfurt"}
    assert not verify(recorded({}, {}), plan).wrong


def test_each_single_tier_breaks_a_constraint_or_costs_more() -> None:
    best = planned().cost
    assert best is not None
    found = baselines(recorded({}, {}))
    assert [b.tier for b in found] == ["edge", "base_station", "cloud"]
    for baseline in found:
        if baseline.plan is not None and baseline.plan.cost is not None:
            assert baseline.plan.cost.per_month > best.per_month * 1.05
        else:
            assert baseline.reason or (baseline.plan is not None and baseline.plan.conflict)


def test_a_tighter_limit_brings_the_language_model_nearer_for_more_money() -> None:
    loose = planned()
    tight = planned(limit=f"p99: {loose.paths[0].predicted.p99_ms - 12:.0f} ms")
    assert tight.tightened
    assert tight.status == "feasible"  # the tables of the limit itself allow what its prediction does not
    assert tight.bound[0] == pytest.approx(loose.objective[0], rel=1e-3)
    assert loose.cost is not None
    assert tight.cost is not None
    assert (sites(loose)["language"], sites(tight)["language"]) == ("frankfurt.vm", "bases.rack")
    assert tight.cost.per_month > 1.2 * loose.cost.per_month


def test_a_tighter_budget_leaves_no_plan_and_names_the_budget() -> None:
    cost = planned().cost
    assert cost is not None
    poor = planned(budget=f"<= {cost.per_month - 5:.0f} USD/month")
    assert poor.status == "infeasible"
    assert "budget" in {c.name for c in poor.conflict}


def test_limit_and_budget_that_hold_one_by_one_may_not_hold_together() -> None:
    loose = planned()
    assert loose.cost is not None
    limit = f"p99: {loose.paths[0].predicted.p99_ms - 12:.0f} ms"
    both = planned(limit=limit, budget=f"<= {loose.cost.per_month + 5:.0f} USD/month")
    assert both.status == "infeasible"
    assert {"answer_time.p99", "budget"} <= {c.name for c in both.conflict}


def test_a_narrower_cell_moves_vision_to_the_phones() -> None:
    assert sites(planned())["vision"] == "bases.router"
    assert sites(planned(cell="rate: 400 kbit/s"))["vision"] == "phones.soc"


@pytest.mark.parametrize("tier", ["edge", "base_station", "cloud"])
def test_no_single_tier_is_the_plan(tier: str) -> None:
    infra = recorded({}, {}).infra.value
    assert {infra.sites[a.site].tier for a in planned().assignments} != {tier}


@pytest.mark.parametrize("quantile", ["p50", "p95", "p99"])
def test_a_limit_just_above_what_a_plan_promises_leaves_a_plan(quantile: str) -> None:
    """The solver's tables share what may be late between branch patterns, most of all at the median."""
    (path,) = planned().paths
    promised: float = getattr(path.predicted, f"{quantile}_ms")
    plan = planned(limit=f"{quantile}: {1.01 * promised:.2f} ms")
    assert plan.status == "optimal"
    assert getattr(plan.paths[0].predicted, f"{quantile}_ms") <= 1.01 * promised

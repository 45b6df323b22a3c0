"""Plans of worlds that were picked because something rarer happens in them."""

from __future__ import annotations

from pathlib import Path

from planner import solve, verify
from planner.placement.layout import plan_layout
from specs.plan import Plan, read_plan, write_plan
from tests.planner.dags import dag
from tests.planner.test_variants import changed
from tests.planner.worlds import world

SAMPLES = 60_000


def test_a_model_cut_between_two_sites_is_planned_whole() -> None:
    given = world(221)
    plan = solve(given)
    (cut,) = plan.cuts
    parts = [a for a in plan.assignments if a.component == cut.component]
    assert len({a.site for a in parts}) == 2
    assert cut.tensors == ("cut_a",)
    assert not verify(given, plan, SAMPLES).wrong


def test_flows_may_choose_differently_and_are_all_served() -> None:
    given = world(3)
    plan = solve(given)
    assert {f for a in plan.assignments for f in a.flows} == {f.name for f in given.flows}
    assert len({a.flows for a in plan.assignments}) > 1
    assert not verify(given, plan, SAMPLES).wrong


def test_a_limit_that_the_table_took_as_kept_is_tightened() -> None:
    given = world(60)
    plan = solve(given)
    assert plan.status == "optimal"
    (name,) = plan.tightened
    check = next(c for c in plan.constraints if c.name == name)
    assert check.slack >= 0
    assert plan.tightened[name] < check.limit
    assert not verify(given, plan, SAMPLES).wrong


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    given = changed()
    plan = solve(given)
    write_plan(plan, tmp_path / "plan.yaml")
    read = read_plan(tmp_path / "plan.yaml")
    assert isinstance(read, Plan)
    assert read.digest == plan.digest
    assert not verify(given, read, SAMPLES).wrong
    assert len(plan_layout(given, read).stages) == len(plan.assignments)


def test_replicas_grow_with_the_rate() -> None:
    """At fifteen times the rate the same application needs more than one replica somewhere, or has no plan."""
    plan = solve(changed(app={"peak: 60/h": "peak: 900/h"}, infra={"rate: 100 Mbit/s": "rate: 2 Gbit/s"}))
    assert plan.status == "infeasible" or any(a.replicas > 1 for a in plan.assignments)
    assert all(d.load <= 0.9 for d in plan.devices)


def test_a_limit_is_not_tightened_much_further_than_is_of_use() -> None:
    """Bimodal services, which the table of tails promises too much of: the answer for the user's limit misses it."""
    plan = solve(dag(12, cv=0.7, quantiles=(99,)).situation, proofs=False)
    (path,) = plan.paths
    assert plan.tightened["time.p99"] < path.limit_ms["p99"]
    assert 0.85 * path.limit_ms["p99"] < path.predicted.p99_ms <= path.limit_ms["p99"]

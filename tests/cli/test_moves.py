"""What moved between two plans, in words."""

from __future__ import annotations

from pathlib import Path

from planner.cli.diff.plans import compare_plans
from planner.cli.moves import moves, plan_that_stood
from specs.plan import Plan, RefinedPath, Refinement, write_plan
from tests.cli.samples import infeasible_plan, sample_plan


def with_assignment(plan: Plan, index: int, **changes: object) -> Plan:
    chosen = list(plan.assignments)
    chosen[index] = chosen[index].model_copy(update=changes)
    return plan.model_copy(update={"assignments": tuple(chosen)})


def test_nothing_is_said_where_nothing_moved() -> None:
    assert moves(sample_plan(), sample_plan(seconds=9.0)) == []


def test_a_component_that_moved_is_named_with_what_that_costs() -> None:
    before = sample_plan()
    assert before.cost is not None
    dearer = before.cost.model_copy(update={"per_month": before.cost.per_month + 12.5})
    after = with_assignment(before, 3, site="frankfurt").model_copy(update={"cost": dearer})
    found = moves(before, after)
    assert found[0] == "tokens moved from bases to frankfurt"
    assert found[1] == "cost +12.50 USD/month"
    assert found[2].startswith("p99 of upload -> answer over all 309 -> 309 ms")


def refined_plan() -> Plan:
    """The sample, of which a simulation found half of what sums predict."""
    plan = sample_plan()
    (path,) = plan.paths
    sums = path.predicted
    half = sums.model_copy(update={name: value / 2 for name, value in sums})
    refined = RefinedPath.model_validate(
        {"flow": path.flow, "from": path.from_, "to": path.to, "over": path.over, "sums": sums, "interval_ms": {}}
    )
    return plan.model_copy(
        update={
            "paths": (path.model_copy(update={"predicted": half}),),
            "refined": Refinement(rounds=1, requests=1000, seed=0, limits=(), paths=(refined,)),
        }
    )


def test_latency_by_sums_is_compared_with_sums_and_simulated_with_simulated() -> None:
    refined, moved = refined_plan(), with_assignment(sample_plan(), 3, site="frankfurt")
    assert moves(refined, moved)[-1].endswith(" 309 -> 309 ms")
    assert moves(moved, refined)[-1].endswith(" 309 -> 309 ms")
    assert moves(refined, with_assignment(refined, 3, site="frankfurt"))[-1].endswith(" 155 -> 155 ms")
    assert compare_plans(refined, moved).paths == ()
    slower = refined.model_copy(update={"paths": sample_plan().paths})
    (path,) = compare_plans(refined, slower).paths
    assert path.old is not None
    assert path.new is not None
    assert path.old.p99_ms == path.new.p99_ms / 2


def test_a_component_that_runs_otherwise_is_named() -> None:
    after = with_assignment(sample_plan(), 4, replicas=2, threads=1)
    said = "language stays at frankfurt: onnxruntime, 3 x 2 threads on c2 -> onnxruntime, 2 x 1 thread on c2"
    assert moves(sample_plan(), after)[0] == said


def test_a_model_that_is_cut_moves_by_segment() -> None:
    after = with_assignment(sample_plan(), 2, site="frankfurt")
    said = "vision moved from phones [..cut_a] and bases [cut_a..] to phones [..cut_a] and frankfurt [cut_a..]"
    assert moves(sample_plan(), after)[0] == said


def test_only_a_plan_that_places_something_is_compared_with(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    assert plan_that_stood(file) is None
    file.write_text("status: splendid\n")
    assert plan_that_stood(file) is None
    write_plan(infeasible_plan(), file)
    assert plan_that_stood(file) is None
    write_plan(sample_plan(), file)
    stood = plan_that_stood(file)
    assert stood is not None
    assert moves(stood, sample_plan()) == []

"""What `planner solve` says of accuracy that nothing limits."""

from __future__ import annotations

from planner.answers.again import vary
from planner.cli.solve import _unlimited
from planner.plan import solve
from tests.planner.blog import situation


def test_a_data_set_is_named_once_however_many_combinations_of_variants_the_plan_has() -> None:
    given = vary(situation(), ["constraint.quality=null"])
    plan = solve(given, proofs=False)
    (chosen,) = plan.behaviour
    best = max(a.value for b in given.choices for a in b.accuracy)
    worse = chosen.model_copy(update={"accuracy": {"held_out": best - 0.02}})
    right = chosen.model_copy(update={"accuracy": {"held_out": best}})
    (line,) = _unlimited(given, plan.model_copy(update={"behaviour": (right, worse)}))
    assert f"nothing limits the accuracy on held_out: with other variants it could be up to {best:.4f}" in line
    assert _unlimited(given, plan.model_copy(update={"behaviour": (right, right)})) == []

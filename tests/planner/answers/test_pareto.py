"""The front: no point of it is beaten, and no limit between its ends has a plan that is cheaper than its points."""

from __future__ import annotations

import pytest

from planner.answers.again import vary
from planner.answers.pareto import WORTH, Axis, Front, Point, pareto, undominated
from planner.plan import solve
from specs.errors import AnswerIsNo, InputError, NotKnown
from tests.planner.test_example_plan import recorded
from tests.planner.worlds import world

AXES: tuple[Axis, Axis] = ("latency", "cost")


def beats(a: Point, b: Point, axes: tuple[Axis, ...]) -> bool:
    return all(a.on(x) <= b.on(x) for x in axes) and any(a.on(x) < b.on(x) for x in axes)


def check(seed: int) -> tuple[int, int]:
    """Returns how many points there are, and how many plans were compared with them."""
    given = world(seed)
    front = pareto(given, AXES)
    assert front.complete
    assert not any(beats(a, b, AXES) for a in front.points for b in front.points)
    if front.step_ms is None:
        return 0, 0
    compared = 0
    free = ["constraint.budget.cost=1000000 USD/month"] if "budget" in given.app.value.constraints else []
    name = front.latency
    low, high = front.points[0].latency_ms, front.points[-1].latency_ms
    for k in range(4):
        limit = low + (high - low) * (k + 0.5) / 4
        try:
            plan = solve(vary(given, ["objective=[cost]", *free, f"constraint.{name}={limit:.6f} ms"]), proofs=False)
        except (AnswerIsNo, NotKnown):
            continue
        if plan.cost is None:
            continue
        covered = [
            p for p in front.points
            if p.latency_ms <= limit + front.step_ms * 1.001 and p.per_month <= plan.cost.per_month * 1.00101 + 1e-5
        ]  # fmt: skip
        assert covered, (seed, limit, plan.cost.per_month)
        compared += 1
    return len(front.points), compared


def test_no_point_is_beaten_and_none_is_missing_by_more_than_a_step() -> None:
    counts = [check(seed) for seed in range(2)]
    assert sum(points for points, _ in counts) >= 2
    assert sum(compared for _, compared in counts) >= 2


@pytest.mark.deep
def test_no_point_is_beaten_on_many_more() -> None:
    counts = [check(seed) for seed in range(2, 60)]
    assert sum(points for points, _ in counts) >= 40


def test_a_front_where_everything_is_free_ends() -> None:
    free = {"price: 0.02/h": "price: 0/h", "price: 0.06/h": "price: 0/h", "0.25/kWh": "0/kWh", "0.02/GB": "0/GB"}
    front = pareto(recorded({}, free), AXES, step_ms=60)
    assert front.complete
    (point,) = front.points
    assert point.per_month == 0


def example() -> Front:
    return pareto(recorded({}, {}), ("latency", "cost", "accuracy"), step_ms=120)


@pytest.mark.deep
def test_the_example_has_a_front_in_three_dimensions_whose_points_can_be_made() -> None:
    front = example()
    assert front.complete
    assert len({p.accuracy for p in front.points}) == 2
    assert {p.keeps for p in front.points} == {True, False}
    for point in front.points:
        plan = solve(vary(recorded({}, {}), point.changes))
        assert plan.cost is not None
        assert plan.cost.per_month == pytest.approx(point.per_month, rel=1e-6 if plan.status == "optimal" else WORTH)
        (limited,) = (c for c in plan.constraints if c.name == front.latency)
        assert limited.value <= limited.limit * (1 + 1e-6)


def test_cost_and_accuracy_need_no_latency() -> None:
    front = pareto(recorded({}, {}), ("accuracy", "cost"))
    assert front.step_ms is None
    costs = [p.per_month for p in front.points]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.parametrize("axes", [("latency", "accuracy"), ("cost", "accuracy"), ("latency", "cost", "accuracy")])
def test_an_axis_of_accuracy_needs_a_constraint_that_can_move(axes: tuple[Axis, ...]) -> None:
    free = recorded({'  quality: {accuracy: ">= 0.92", on: held_out}\n': ""}, {})
    with pytest.raises(InputError, match=r"no constraint on accuracy \(add one, such as quality: .*on: held_out"):
        pareto(free, axes)


def test_of_equal_points_one_is_kept() -> None:
    points = [Point(x, y, None, True, {}, {}, ()) for x, y in ((1, 5), (2, 5), (2, 3), (2, 3), (3, 4), (4, 1))]
    assert [(p.latency_ms, p.per_month) for p in undominated(points, AXES)] == [(1, 5), (2, 3), (4, 1)]


def test_a_percentile_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"did you mean 'answer_time.p99'"):
        pareto(recorded({}, {}), AXES, latency="answer_tim.p99")

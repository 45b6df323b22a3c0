"""Planning again for what was observed moves nothing only because what did not run was not observed."""

from __future__ import annotations

from functools import cache

import pytest

from planner.answers.replan import Replanned, replan
from planner.observation import Observation, alike, observations, placement, scaled
from planner.situation import Situation, situation_of
from planner.verification import verify
from specs.plan import Plan
from specs.profile import Record
from tests.cli.runs import run_of
from tests.planner.test_example_plan import planned, recorded

HOST = next(r.emulated_by.host for r in recorded({}, {}).records if r.emulated_by)


def with_records(given: Situation, more: list[Record]) -> Situation:
    return situation_of(given.app, given.infra, [*given.records, *more], given.behaviours, given.hops, given.digests)


def seen_of(plan: Plan, factor: float, *components: str) -> list[Observation]:
    """Each of `components` (all, if none is named) took `factor` times as long as profiled."""
    records = list(recorded({}, {}).records)
    names = components or tuple({a.component for a in plan.assignments})
    run = run_of(plan, records, dict.fromkeys(names, factor))
    return observations(plan, records, [run.model_copy(update={"host": HOST})])


@cache
def found(factor: float, *components: str) -> tuple[Situation, list[Observation], Replanned]:
    seen = seen_of(planned(), factor, *components)
    promoted = [o.promoted for o in seen if o.promoted]
    situation = with_records(recorded({}, {}), promoted)
    records = [*recorded({}, {}).records, *promoted]
    return situation, seen, replan(situation, planned(), records, time_limit=60, seed=0)


def all_records(seen: list[Observation]) -> list[Record]:
    return [*recorded({}, {}).records, *(o.promoted for o in seen if o.promoted)]


def test_a_second_run_as_slow_as_the_first_moves_nothing_either() -> None:
    """Against the first observation it is no slower; against the profiles of what did not run it is."""
    situation, seen, first = found(1.2)
    known = all_records(seen)
    run = run_of(first.plan, known, {}).model_copy(update={"host": HOST, "ended_at": "2100-01-01T00:00:00+00:00"})
    again = observations(first.plan, known, [run])
    promoted = [o.promoted for o in again if o.promoted]
    assert len(promoted) == len(again)
    both = [*known, *promoted]
    situation = with_records(recorded({}, {}), both)
    answer = replan(situation, first.plan, both, time_limit=60, seed=0)
    assert placement(answer.plan) == placement(planned())
    assert answer.tempting is not None


def test_an_observation_does_not_say_what_others_took_while_it_was_profiled() -> None:
    records = [r.model_copy(update={"others": 0.4}) for r in recorded({}, {}).records]
    plan = planned()
    digests = {old.digest: new.digest for old, new in zip(recorded({}, {}).records, records, strict=True)}
    moved = tuple(a.model_copy(update={"record": digests[a.record]}) for a in plan.assignments)
    run = run_of(plan.model_copy(update={"assignments": moved}), records, {}).model_copy(update={"host": HOST})
    seen = observations(plan.model_copy(update={"assignments": moved}), records, [run])
    assert all(o.promoted is not None and o.promoted.others is None for o in seen), [o.reason for o in seen]


def test_all_that_runs_is_observed() -> None:
    _, seen, _ = found(1.2)
    assert all(o.promoted is not None for o in seen), [o.reason for o in seen]
    assert {o.stage.name for o in seen} == {a.stage_name for a in planned().assignments}


@pytest.mark.parametrize("asked", [(1.2,), (3.0, "decide"), (2.0, "vision")])
def test_what_is_slower_in_service_stays_where_it_would_be_no_faster_elsewhere(asked: tuple[float, str]) -> None:
    """By the records alone it would move: to what was not observed."""
    _, _, answer = found(*asked)
    assert answer.certain
    assert placement(answer.plan) == placement(planned())
    assert answer.tempting is not None
    assert placement(answer.tempting) != placement(planned())
    assert answer.plan.status == "feasible"
    assert answer.plan.gap is not None
    assert 0 < answer.plan.gap < 0.2


def test_it_moves_where_what_ran_misses_a_limit() -> None:
    _, _, answer = found(1.5)
    assert placement(answer.plan) != placement(planned())
    assert all(c.slack >= 0 for c in answer.plan.constraints)


@pytest.mark.parametrize("asked", [(1.2,), (1.5,)])
def test_the_plan_rests_on_records_alone_and_its_claims_hold(asked: tuple[float]) -> None:
    situation, _, answer = found(*asked)
    assert {a.record for a in answer.plan.assignments} <= {r.digest for r in situation.records}
    assert not verify(situation, answer.plan).wrong


def test_no_plan_for_what_was_observed_is_an_answer() -> None:
    _, _, answer = found(3.0)
    assert answer.plan.status == "infeasible"
    assert answer.plan.conflict


def test_what_did_not_run_is_taken_to_be_off_by_as_much_as_what_did() -> None:
    situation, seen, _ = found(2.0, "vision")
    fair = {r.key: r for r in alike(situation, all_records(seen)).records}
    promoted = {o.promoted.digest for o in seen if o.promoted}
    sources = {situation.digests[f"vision/{v}"] for v in ("small", "large")}
    for record in situation.records:
        factor = 2.0 if record.source in sources and record.digest not in promoted else 1.0
        assert fair[record.key].latency.mean == pytest.approx(factor * record.latency.mean)


def test_a_record_scaled_is_one_that_could_be_measured() -> None:
    record = next(iter(recorded({}, {}).records))
    again = Record.model_validate(scaled(record, 1.7).model_dump())
    assert again.latency.variance == pytest.approx(1.7**2 * record.latency.variance, rel=1e-3, abs=1e-15)

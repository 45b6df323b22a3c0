"""Buckets in plans: solver beside brute force, verifier beside planner, simulator beside both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner import verify
from planner.formulation import formulate
from planner.observation import scaled
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.simulation import Simulation
from planner.situation import Situation, situation_of
from specs.errors import InputError
from specs.mixture import remixed
from specs.plan import Plan
from specs.profile import Record
from tests.planner.planned import planned
from tests.planner.test_solver import family
from tests.planner.worlds import lengthy


def equal(seeds: range) -> None:
    family(lambda seed: formulate(lengthy(seed)), seeds, small=0.85)


def test_with_buckets_status_and_objective_equal_brute_force() -> None:
    equal(range(40))


@pytest.mark.deep
def test_with_buckets_status_and_objective_equal_brute_force_on_many_more() -> None:
    equal(range(40, 440))


def of_buckets(given: Situation, plan: Plan) -> list[Record]:
    records = {r.digest: r for r in given.records}
    return [r for a in plan.assignments if (r := records[a.record]).buckets and len(r.buckets) > 1]


def agree(seeds: range) -> int:
    seen = 0
    for seed in seeds:
        given = lengthy(seed)
        plan = planned(given)
        if plan is None or not (used := of_buckets(given, plan)):
            continue
        seen += 1
        assert not verify(given, plan, 20_000).wrong
        first = used[0]
        sizes = [b.size for b in first.buckets or ()]
        other = remixed(first, {size: 1.0 if size == sizes[0] else 0.0 for size in sizes})
        if other.shares == first.shares:
            continue
        forged = replace(given, records=tuple(other if r.digest == first.digest else r for r in given.records))
        swap = {first.digest: other.digest}
        claimed = plan.model_copy(
            update={
                "assignments": tuple(
                    a.model_copy(update={"record": swap.get(a.record, a.record)}) for a in plan.assignments
                ),
                "inputs": plan.inputs.model_copy(
                    update={"records": tuple(sorted(swap.get(d, d) for d in plan.inputs.records))}
                ),
            }
        )
        assert any("share of lengths up to" in check.name for check in verify(forged, claimed, 20_000).wrong)
    return seen


def test_the_verifier_agrees_and_finds_a_mix_that_the_lengths_do_not_have() -> None:
    assert agree(range(8)) >= 2


@pytest.mark.deep
def test_the_verifier_agrees_with_many_more_plans_of_buckets() -> None:
    assert agree(range(8, 200)) >= 30


def test_what_a_bucket_takes_is_played_as_often_as_lengths_are_in_it() -> None:
    """Services in a simulation are those of each bucket, in the shares of the lengths."""
    plans = ((given, planned(given)) for given in map(lengthy, range(40)))
    given, plan = next((g, p) for g, p in plans if p is not None and of_buckets(g, p))
    record = of_buckets(given, plan)[0]
    layout = plan_layout(given, plan)
    index = next(i for i, stage in enumerate(layout.stages) if stage.record.digest == record.digest)
    flow = next(of.flow.name for of in layout.flows if index in of.stages)
    services = Simulation(layout, Demand(given), 1).run(60_000).flows[flow].services[index]
    drawn = np.asarray(services)
    drawn = drawn[drawn > 0]
    assert float(drawn.mean()) == pytest.approx(record.latency.mean, rel=0.03)
    for p in (0.5, 0.9, 0.95):
        x = next(x for q, x in record.latency.points() if q >= p)
        assert float((drawn <= x * (1 + 1e-9)).mean()) == pytest.approx(p, abs=0.03)


def with_several() -> Situation:
    """The first world with a model of several buckets."""
    worlds = (lengthy(seed) for seed in range(40))
    return next(given for given in worlds if any(r.buckets and len(r.buckets) > 1 for r in given.records))


def test_what_was_measured_in_other_buckets_is_missing() -> None:
    given = with_several()
    cut = [r if r.buckets is None else r.model_copy(update={"buckets": r.buckets[:1]}) for r in given.records]
    with pytest.raises(InputError, match="profile missing"):
        situation_of(given.app, given.infra, cut, given.behaviours, given.hops, dict(given.digests))


def test_behaviour_that_knows_no_lengths_is_stale() -> None:
    given = with_several()
    without = [b.model_copy(update={"lengths": None}) for b in given.behaviours]
    with pytest.raises(InputError, match="stale: dims changed since"):
        situation_of(given.app, given.infra, given.records, without, given.hops, dict(given.digests))


def test_a_record_whose_times_are_scaled_is_mixed_of_scaled_buckets() -> None:
    """What a run observed is so kept: all buckets are off by as much."""
    record = next(r for r in with_several().records if r.buckets and len(r.buckets) > 1)
    slower = scaled(record, 3.0)
    only = {size: float(size == max(record.shares)) for size in record.shares}
    assert remixed(slower, only).latency.mean == pytest.approx(3 * remixed(record, only).latency.mean)
    assert slower.latency.mean == pytest.approx(3 * record.latency.mean)
    assert Record.model_validate(slower.dump()).digest == slower.digest

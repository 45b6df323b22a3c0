"""What keeps state has one replica, whatever comes: a plan that is kept so, or none where it cannot carry the load."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from planner import solve_problem, verify
from planner.formulation import formulate, formulation
from planner.placement.pipeline import Pipeline
from planner.prediction.queueing import MAX_UTILISATION
from planner.problem import PPB
from planner.situation import Situation
from specs.application import Application, State
from specs.selector import capable
from specs.state import several_places, stateful
from tests.planner.planned import planned
from tests.planner.worlds import world

STATE = State.model_validate({"size": "1 MB"})


def pinned(given: Situation, seed: int, *, state: bool = True) -> Situation | None:
    """`given`, with one of its components pinned to one pool, where it keeps `state`; None where no site has just one
    pool.
    """
    draw = random.Random(f"state {seed}")
    infra, app = given.infra.value, given.app.value
    sites = [s for s, spec in infra.sites.items() if sum(p.devices[1] > 0 for p in spec.pools.values()) == 1]
    names = [n for n, c in app.components.items() if len(c.realisations) == 1 and c.split is None and c.per is None]
    if not sites or not names:
        return None
    name, site = draw.choice(sorted(names)), draw.choice(sorted(sites))
    changes: dict[str, Any] = {"at": {"site": site}, "state": STATE if state else None, "batch": None}
    changes |= {"with_": [], "apart_from": []}
    components = {**app.components, name: app.components[name].model_copy(update=changes)}
    changed = app.model_copy(update={"components": components})
    return replace(given, app=replace(given.app, value=changed))


def test_it_has_one_replica_and_carries_what_one_can() -> None:
    seen = 0
    for seed in range(12):
        given, free = pinned(world(seed), seed), pinned(world(seed), seed, state=False)
        if given is None or free is None:
            continue
        (name,) = stateful(given.app.value)
        kept, other = formulation(given), formulation(free)
        for index, (key, station) in enumerate(zip(kept.stations, kept.problem.stations, strict=True)):
            if key.component != name or not station.levels:
                assert station == other.problem.stations[index]
                continue
            seen += 1
            assert {level.replicas for level in station.levels} == {1}
            assert station.levels[-1].load_ppb == int(MAX_UTILISATION * PPB)
            loads = [level.load_ppb for level in station.levels]
            assert loads == sorted(set(loads))
            ones = {lv.load_ppb for lv in other.problem.stations[index].levels if lv.replicas == 1}
            assert ones <= set(loads)
    assert seen >= 4


def test_where_one_replica_is_not_enough_there_is_no_plan() -> None:
    """Requests take so long that more than one replica is needed; with a lighter load both are the same."""
    told: dict[float, set[tuple[str, str]]] = {}
    for erlang in (0.5, 1.5):
        for seed in range(10):
            kept = pinned(world(seed), seed)
            if kept is None:
                continue
            of = kept.app.value
            given, free = _busy(kept, of, erlang), _busy(pinned(world(seed), seed, state=False), of, erlang)
            if given is not None and free is not None:
                solved = tuple(solve_problem(formulate(each)) for each in (given, free))
                told.setdefault(erlang, set()).add((solved[0].status, solved[1].status))
                if erlang < 1:
                    assert solved[0].objectives == solved[1].objectives
    assert ("optimal", "optimal") in told[0.5]
    assert ("infeasible", "optimal") in told[1.5]
    assert ("optimal", "optimal") not in told[1.5]


def _busy(given: Situation | None, of: Application, erlang: float) -> Situation | None:
    """`given`, in which all requests keep so many replicas of what keeps state in `of` busy, and limits are
    loose; None where it runs on a device that shares its time.
    """
    if given is None:
        return None
    app, infra = given.app.value, given.infra.value
    (name,) = stateful(of)
    site = (app.components[name].at or {})["site"]
    (pool,) = (p for p in infra.sites[site].pools.values() if p.devices[1] > 0)
    if infra.hardware[pool.hardware].sharing == "time":
        return None
    source = given.digests[f"{name}/default"]
    flows = [flow for flow in given.flows if name in flow.components]
    rate = sum(flow.peak * flow.members for flow in flows) / infra.members(site)
    rate *= min(Pipeline(given, flow, given.behaviours[0]).runs(name) for flow in flows)
    records = tuple(
        r.times(erlang / rate / r.service.mean) if r.source == source and r.hardware == pool.hardware else r
        for r in given.records
    )
    return replace(_loose(given), records=records)


def _loose(given: Situation) -> Situation:
    """`given` with no limits but one on time, of a minute."""
    app = given.app.value
    time = app.constraints["time"].model_copy(update={"p50": None, "p95": None, "p99": 60.0})
    loose = app.model_copy(update={"constraints": {"time": time}, "objective": ("cost",)})
    return replace(given, app=replace(given.app, value=loose))


def test_the_verifier_agrees_and_finds_a_second_replica() -> None:
    seen = found = 0
    for seed in range(8):
        given = pinned(world(seed), seed)
        if given is None:
            continue
        given = _loose(given)
        plan = planned(given)
        if plan is None:
            continue
        seen += 1
        assert not verify(given, plan, 20_000).wrong
        kept = [i for i, a in enumerate(plan.assignments) if given.app.value.components[a.component].state is not None]
        assert [plan.assignments[i].replicas for i in kept] == [1]
        more = [a.model_copy(update={"replicas": a.replicas + (i in kept)}) for i, a in enumerate(plan.assignments)]
        wrong = verify(given, plan.model_copy(update={"assignments": tuple(more)}), 20_000).wrong
        assert wrong
        # A plan that fits no device is found to be wrong before anybody looks at that.
        found += any("keeps state" in check.name for check in wrong)
    assert seen >= 3
    assert found


def test_the_pools_that_a_state_may_be_in_are_those_that_are_capable() -> None:
    given = pinned(world(0), 0)
    assert given is not None
    app, infra = given.app.value, given.infra.value
    (component,) = (c for c in app.components.values() if c.state is not None)
    assert several_places(component, infra) == ()
    everywhere = component.model_copy(update={"at": {}, "requires": []})
    pools = [(s, p) for s, site in infra.sites.items() for p, of in site.pools.items() if of.devices[1] > 0]
    assert len(several_places(everywhere, infra)) == len(pools)
    assert all(capable([], infra, site, pool) for site, pool in pools)

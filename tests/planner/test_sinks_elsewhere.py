"""Sinks at other sites than the one that asked: solved, verified, simulated and understood by the runtime alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner import solve, verify
from planner.formulation import formulate
from planner.placement.demand import Demand
from planner.placement.layout import plan_layout
from planner.prediction.latency import Latency
from planner.simulation import Simulation
from planner.simulation.figures import asked, percentiles
from planner.situation import Situation
from planner.verification import meaning_of
from runtime.topology import topology
from specs.errors import InputError
from specs.selector import matching_sites
from tests.planner.brute import TooLarge
from tests.planner.test_example_plan import BUDGET, recorded
from tests.planner.test_solver import compare
from tests.planner.worlds import twins, world
from tests.runtime.test_contract import everyone, meant_by, simulated

REGIONS = (0, 3, 16, 23)
"""Of worlds with two regions, some that have a plan and are small."""
AT = "answer: {at: origin,"


def going_to(tier: str, **more: str) -> Situation:
    return recorded({AT: f"answer: {{at: {{tier: {tier}}},", **more}, {})


def moved(seed: int) -> Situation | None:
    """A random world whose answers go to another site, where there is one that all its requests can reach."""
    given = world(seed)
    network, flows = given.network, given.flows
    sites = [
        site
        for site in given.infra.value.sites
        if all(
            site != f.site and network.settled(f.site, site) and (f.site, site) in network.routes(f.site) for f in flows
        )
    ]
    if not sites:
        return None
    app = given.app.value
    sinks = {
        name: sink.model_copy(update={"at": {"site": sites[seed % len(sites)]}}) for name, sink in app.sinks.items()
    }
    return replace(given, app=replace(given.app, value=app.model_copy(update={"sinks": sinks})))


@pytest.mark.parametrize("tier", ["cloud", "base_station"])
def test_an_answer_at_another_tier_is_verified_and_played_as_planned(tier: str) -> None:
    given = going_to(tier)
    (site,) = matching_sites({"tier": tier}, given.infra.value)
    plan = solve(given, proofs=False)
    assert not verify(given, plan, 50_000).wrong
    layout = plan_layout(given, plan)
    (of,) = layout.flows
    (last,) = [leg for leg in of.legs if leg.message.consumer.name == "answer"]
    assert last.end == site
    (predicted,) = Latency(layout, Demand(given)).paths()
    played = Simulation(layout, Demand(given), 1).run(50_000)
    ((path, patterns),) = asked(layout, of)
    found = percentiles(played.flows[of.flow.name].times(path.to, patterns))
    assert found.p50_ms == pytest.approx(predicted.predicted.p50_ms, rel=0.03)
    assert found.p99_ms == pytest.approx(predicted.predicted.p99_ms, rel=0.05)


def test_residency_covers_where_answers_go() -> None:
    kept = f'{BUDGET}"}}\n  home: {{value: decide.verdict, only_at: {{tier: edge}}}}\n  more: {{cost: "<= 900 USD/month'
    plan = solve(going_to("cloud", **{BUDGET: kept}))
    assert plan.status == "infeasible"
    assert {c.name for c in plan.conflict} == {"home"}
    here = solve(recorded({BUDGET: kept}, {}), proofs=False)
    assert here.status in ("optimal", "feasible")
    away = kept.replace("tier: edge", "tier: cloud")
    assert solve(going_to("cloud", **{BUDGET: away}), proofs=False).status in ("optimal", "feasible")
    assert {c.name for c in solve(recorded({BUDGET: away}, {})).conflict} == {"home"}


def test_brute_force_finds_no_better_plan_and_the_verifier_agrees() -> None:
    solved = infeasible = elsewhere = 0
    for seed in range(25):
        given = moved(seed)
        if given is None:
            continue
        problem = formulate(given)
        elsewhere += any(
            edge.consumer.step < 0 and edge.consumer.site != edge.producer.site
            for scenario in problem.scenarios
            for edge in scenario.edges
        )
        try:
            solution, _ = compare(problem, 20_000)
        except TooLarge:
            continue
        solved += solution.choice is not None
        infeasible += solution.choice is None
        plan = solve(given, proofs=False)
        if plan.assignments:
            assert not verify(given, plan, 20_000).wrong, seed
            top = topology(plan, given.app.value, given.infra.value, everyone(given))
            meant, verified = meant_by(top), meaning_of(given, plan)
            assert meant.transfers == verified.transfers, seed
            assert meant.links == verified.links, seed
            assert simulated(given, plan) == {(f, n, a, b, way) for f, n, _, a, b, way in verified.transfers}
    assert solved >= 5
    assert elsewhere >= 5


def test_answers_go_to_the_site_that_their_request_belongs_to() -> None:
    """Of two classes of base stations each flow has its own: for brute force, verifier, simulator and runtime."""
    solved = 0
    for seed in REGIONS:
        given = twins(seed)
        assert {f.site: f.ends for f in given.flows} == {"edge": ("base",), "edge2": ("base2",)}
        solution, _ = compare(formulate(given), 60_000)
        assert solution.choice is not None
        plan = solve(given, proofs=False)
        assert not verify(given, plan, 20_000).wrong, seed
        top = topology(plan, given.app.value, given.infra.value, everyone(given))
        meant, verified = meant_by(top), meaning_of(given, plan)
        assert meant.transfers == verified.transfers, seed
        assert simulated(given, plan) == {(f, n, a, b, way) for f, n, _, a, b, way in verified.transfers}
        solved += 1
    assert solved == len(REGIONS)


def test_a_sink_at_no_site_is_refused_with_its_line() -> None:
    with pytest.raises(InputError, match=r"no site matches \{'tier': 'nowhere'\} of sink 'answer'"):
        going_to("nowhere")

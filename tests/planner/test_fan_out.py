"""Fan-outs: what is predicted, played, verified and solved of components that run per item."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from planner import solve, verify
from planner.formulation import formulate, formulation
from planner.limits import with_limits
from planner.moments import Moments
from planner.path_limits import path_limits
from planner.placement.demand import Demand
from planner.prediction.distribution import POINTS, from_quantiles
from planner.prediction.fan_out_queue import Brought, FanOutQueue
from planner.prediction.latency import Latency
from planner.prediction.queueing import single_server
from planner.prediction.timings import Timings
from planner.simulation import Simulation
from specs.behaviour import Behaviour, BranchPattern, PayloadSize
from specs.run_result import Slice
from tests.planner.networks import Server, chain, exponential
from tests.planner.test_simulation_cases import ends, play
from tests.planner.test_solver import compare_all, family
from tests.planner.worlds import fanned, fanned_and_cut

MANY = {0: 0.2, 1: 0.3, 3: 0.3, 6: 0.2}


def fan(count: int) -> tuple[str, Mapping[int, float]]:
    return "b", {count: 1.0}


def test_a_request_goes_on_when_the_last_of_its_items_is_done() -> None:
    """Five items of 2 s on two servers take 6 s, after 1 s before them and before 1 s after them."""
    servers = {"a": Server([1.0]), "b": Server([2.0], replicas=2), "c": Server([1.0])}
    assert ends(play(servers, [0], fan_out=fan(5))) == [8.0]


def test_items_of_two_requests_stand_in_one_queue() -> None:
    """Both bring three items of 2 s to two servers at 1 and at 2; the second's begin at 3, 5 and 5."""
    servers = {"a": Server([1.0]), "b": Server([2.0], replicas=2)}
    assert ends(play(servers, [0, 1], fan_out=fan(3))) == [5.0, 6.0]


def test_a_request_without_items_passes_by_a_busy_stage() -> None:
    servers = {"a": Server([1.0]), "b": Server([2.0]), "c": Server([0.5])}
    assert ends(play(servers, [0, 10], fan_out=fan(0))) == [1.5, 1.5]


def test_an_executor_goes_on_with_the_items_of_the_request_that_it_has() -> None:
    """1 + 3 x 2 + 1 s in one go; the second request begins when the first is through."""
    servers = {"a": Server([1.0]), "b": Server([2.0]), "c": Server([1.0])}
    assert ends(play(servers, [0, 0.5], sharing="time", fan_out=fan(3))) == [8.0, 15.5]


def test_items_that_find_no_room_end_their_request() -> None:
    servers = {"a": Server([1.0]), "b": Server([2.0])}
    assert ends(play(servers, [0], limit=2, fan_out=fan(2))) == [5.0]
    assert ends(play(servers, [0], limit=2, fan_out=fan(3))) == [-1]


def test_one_server_waits_as_for_whole_requests() -> None:
    """M/G/1, a request's items together being its service (Pollaczek and Khinchine)."""
    situation, layout = chain({"a": Server([1e-5]), "b": Server([0.01])}, 25.0, fan_out=("b", MANY))
    queue = Timings(layout, Demand(situation)).queues[Timings(layout, Demand(situation)).executor(1)]
    classes = [(25.0 * p, Moments(0.01 * n, (0.01 * n) ** 2, (0.01 * n) ** 3)) for n, p in MANY.items() if n]
    exact = single_server(classes)
    assert queue.load == pytest.approx(exact.busy)
    assert queue.wait.mean == pytest.approx(exact.mean, rel=1e-6)
    played = Simulation(layout, Demand(situation), 1).run(100_000).flows["src@here"]
    assert played.waits[1].mean() == pytest.approx(exact.mean, rel=0.05)


def test_as_many_servers_as_items_of_fixed_time_are_one_server_of_whole_requests() -> None:
    """Four items on four servers all begin and end together: M/D/1."""
    queue = FanOutQueue(4, (Brought(50.0, 4, np.array([0.01])),))
    exact = single_server([(50.0, Moments(0.01, 1e-4, 1e-6))])
    assert queue.first.mean() == pytest.approx(exact.mean, rel=0.05)
    assert np.allclose(queue.last(4, np.array([0.01])), queue.first + 0.01)


CASES = [
    ("cores", 1, 0.35, [0.01]),
    ("cores", 1, 0.65, exponential(0.01)),
    ("cores", 3, 0.5, exponential(0.01)),
    ("cores", 8, 0.3, [0.01]),
    ("cores", 4, 0.7, exponential(0.01)),
    ("time", 1, 0.5, exponential(0.01)),
]


@pytest.mark.parametrize(("sharing", "replicas", "load", "values"), CASES)
def test_predicted_percentiles_are_those_that_are_played(
    sharing: str, replicas: int, load: float, values: list[float]
) -> None:
    """Within 3 % at the median and 5 % at the 99th percentile, as elsewhere."""
    mean = sum(n * p for n, p in MANY.items())
    servers = {
        "a": Server([2e-3]),
        "b": Server(values, replicas=replicas),
        "c": Server([1e-3], replicas=1 if sharing == "time" else 4),
    }
    more = 3e-3 if sharing == "time" else 0.0
    rate = load * replicas / (mean * 0.01 + more)
    situation, layout = chain(servers, rate, sharing=sharing, fan_out=("b", MANY))
    (path,) = Latency(layout, Demand(situation)).paths()
    played = Simulation(layout, Demand(situation), 3).run(300_000).flows["src@here"]
    times = played.times("end", range(len(MANY))) * 1e3
    assert path.predicted.p50_ms == pytest.approx(np.quantile(times, 0.5), rel=0.03)
    assert path.predicted.p99_ms == pytest.approx(np.quantile(times, 0.99), rel=0.05)
    assert path.predicted.mean_ms == pytest.approx(times.mean(), rel=0.03)


@pytest.mark.parametrize("load", [0.01, 0.2, 0.5])
def test_items_take_as_long_as_their_service_does(load: float) -> None:
    """However many states are drawn, single items have the distribution of the service, beyond what they wait."""
    values = np.array(exponential(0.01))
    queue = FanOutQueue(2, (Brought(load / 0.02, 1, values), Brought(load / 0.06, 3, values)))
    alone = queue.last(1, values).mean() - queue.first.mean()
    assert alone == pytest.approx(values.mean(), rel=1e-3)


@pytest.mark.parametrize("load", [0.02, 0.3, 0.5])
def test_a_mixture_of_few_and_many_items_takes_as_long_as_it_is_played(load: float) -> None:
    """Few states or many: their number differs with the load."""
    servers = {"a": Server([0.001]), "b": Server(exponential(0.01), replicas=2), "c": Server([0.001])}
    given, layout = chain(servers, load * 100, fan_out=("b", {1: 0.5, 3: 0.5}))
    (path,) = Latency(layout, Demand(given)).paths()
    times = Simulation(layout, Demand(given), 3).run(150_000).flows["src@here"].times("end", [0, 1])
    assert path.predicted.p50_ms == pytest.approx(float(np.quantile(times, 0.5)) * 1e3, rel=0.03)
    assert path.predicted.p99_ms == pytest.approx(float(np.quantile(times, 0.99)) * 1e3, rel=0.05)
    assert path.predicted.mean_ms == pytest.approx(float(times.mean()) * 1e3, rel=0.03)


def test_items_of_members_left_out_of_a_slice_come_together_too() -> None:
    """Else half of the load would be single items, and nine at once be rare."""
    servers = {"a": Server([1e-3]), "b": Server(exponential(0.01), 4, site="there"), "c": Server([1e-3])}
    situation, layout = chain(servers, 1.0, members=20, fan_out=("b", {9: 1.0}))
    part = Slice(members={"here": 10}, multiplier=1, background={"there": 10.0}, requests=300, seed=1)
    demand = Demand(situation, part)
    (path,) = Latency(layout, demand).paths()
    times = Simulation(layout, demand, 3).run(150_000).flows["src@here"].times("end", [0])
    assert path.predicted.p50_ms == pytest.approx(float(np.quantile(times, 0.5)) * 1e3, rel=0.03)
    assert path.predicted.p99_ms == pytest.approx(float(np.quantile(times, 0.99)) * 1e3, rel=0.05)


def test_other_limits_make_the_tables_that_formulating_with_them_makes() -> None:
    for seed in (1, 3, 4):
        given = fanned(seed)
        name = next(limit.name for limit in path_limits(given.app.value))
        assert with_limits(given, formulation(given), {name: 0.1}) == formulation(given, {name: 0.1})


def test_no_service_is_held_against_a_placement_where_there_may_be_no_items() -> None:
    """Half of the requests have no items and are soon done: the median is kept whatever an item takes."""
    servers = {"a": Server([1e-3]), "b": Server([0.2], replicas=9)}
    _, layout = chain(servers, 1.0, fan_out=("b", {0: 0.6, 2: 0.4}))
    latency = Latency(layout, Demand(layout.situation))
    (path,) = latency.paths()
    assert path.predicted.p50_ms == pytest.approx(1.0, rel=0.05)
    assert path.predicted.p99_ms > 200


def test_the_verifier_agrees_with_plans_that_fan_out() -> None:
    planned = 0
    for seed in range(14):
        given = fanned(seed)
        plan = solve(given)
        if plan.assignments and any(c.per for c in given.app.value.components.values()):
            planned += 1
            wrong = verify(given, plan, 30_000).wrong
            assert not wrong, (seed, wrong)
    assert planned >= 4


def cut_between_sites(seeds: range) -> int:
    """How many plans cut a model that runs per item, after the verifier agreed with all."""
    planned = 0
    for seed in seeds:
        given = fanned_and_cut(seed)
        plan = solve(given, proofs=False)
        assert not plan.assignments or not (wrong := verify(given, plan, 30_000).wrong), (seed, wrong)
        per = {name for name, c in given.app.value.components.items() if c.per}
        planned += any(a.component in per and not a.segment.is_whole for a in plan.assignments)
    return planned


def test_the_verifier_agrees_with_plans_that_cut_what_runs_per_item() -> None:
    assert cut_between_sites(range(9)) >= 4


@pytest.mark.deep
def test_the_verifier_agrees_with_many_plans_that_cut_what_runs_per_item() -> None:
    assert cut_between_sites(range(9, 80)) >= 25


def test_problems_that_cut_what_runs_per_item_equal_brute_force() -> None:
    assert compare_all((formulate(fanned_and_cut(seed)) for seed in range(24)), 20_000).count >= 12


def test_what_crosses_a_cut_is_as_much_as_the_items_give() -> None:
    pattern = BranchPattern(source="s", runs=("c",), items={"c": 0}, probability=0.5, count=1)
    others = [pattern.model_copy(update={"items": {"c": n}, "probability": 0.25}) for n in (2, 4)]
    given = Behaviour(variants={"c": "v"}, patterns=(pattern, *others), payloads={}, items=4, inputs={}, measured_at="")
    size = given.cut_size("c", 100)
    assert (size.mean, size.second) == (150, 50_000)
    assert np.bincount((from_quantiles(sorted_points(size), size.mean) / 100).round().astype(int)).tolist() == [
        POINTS // 2, 0, POINTS // 4, 0, POINTS // 4
    ]  # fmt: skip
    rare = PayloadSize.stack(1, {1: 0.98, 20: 0.02})
    values = from_quantiles(sorted_points(rare), rare.mean)
    assert values.mean() == pytest.approx(1.38, rel=0.01)
    assert np.quantile(values, 0.985) == pytest.approx(20, rel=0.01)
    once = given.model_copy(update={"patterns": (pattern.model_copy(update={"items": None, "probability": 1.0}),)})
    assert once.cut_size("c", 100) == PayloadSize.constant(100)


def sorted_points(size: PayloadSize) -> list[tuple[float, float]]:
    return sorted((float(p), x) for p, x in size.quantiles.items())


def equal(seeds: range) -> None:
    family(lambda seed: formulate(fanned(seed)), seeds, 20_000, small=0.8)
    assert sum(map(runs_per_item, seeds)) >= 0.5 * len(seeds)


def runs_per_item(seed: int) -> bool:
    return any(c.per for c in fanned(seed).app.value.components.values())


def test_problems_that_fan_out_equal_brute_force() -> None:
    equal(range(40))


@pytest.mark.deep
def test_many_more_problems_that_fan_out_equal_brute_force() -> None:
    equal(range(40, 640))


def test_the_verifier_agrees_where_two_messages_leave_over_one_busy_link_and_are_joined() -> None:
    """Their common wait counts once: the median was predicted 17 % too long."""
    given = fanned_and_cut(82)
    plan = solve(given)
    assert not verify(given, plan, 30_000).wrong

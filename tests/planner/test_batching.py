"""Queues whose servers take several requests at once: formulas beside the simulator, solver beside brute force."""

from __future__ import annotations

from itertools import accumulate
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner import solve, verify
from planner.formulation import formulate
from planner.formulation.fan_out import Served
from planner.formulation.stations import station_levels
from planner.moments import Moments
from planner.placement.demand import Demand
from planner.prediction.batch_waits import waiting_in_batches
from planner.prediction.batching import BatchQueue
from planner.prediction.distribution import Grid, Reals
from planner.prediction.latency import Latency
from planner.prediction.patient_batches import PatientQueue, begins
from planner.prediction.queueing import many_servers, single_server
from planner.prediction.throughput import throughput_of
from planner.problem import Problem
from planner.simulation import Simulation
from planner.solver import Solution
from tests.planner.networks import LEVELS, Server, chain
from tests.planner.test_solver import family
from tests.planner.worlds import batching

WITHIN = 0.035
"""Of wait and service together: 3 % of the formula, and what a simulation misses."""
LOOSE = 3.0
"""Limits of Problems for brute force, as a multiple of a world's: some have no plan, some of the plans batch."""
BATCHED = (8, 27, 39)
PATIENT = (8, 27)
"""Worlds whose plans batch, though the oldest waits for others."""
BLOCK = 40


def services(cv: float) -> Reals:
    """Equally likely values of mean 1."""
    values = np.sort(np.random.default_rng(1).gamma(1 / cv**2, cv**2, 64 * LEVELS)).reshape(LEVELS, -1).mean(axis=1)
    scaled: Reals = values / values.mean()
    return scaled


def of(values: Reals) -> Moments:
    return Moments(*(float((values**k).mean()) for k in (1, 2, 3)))


def waits(values: Reals, load: float, servers: int, batch: int, requests: int, seed: int = 1) -> Reals:
    """As the simulator plays them."""
    rate = load * servers * batch / float(values.mean())
    situation, layout = chain({"a": Server(list(values), servers, batch)}, rate)
    played = Simulation(layout, Demand(situation), seed).run(requests)
    return played.flows["src@here"].waits[0]


def agree(cv: float, load: float, servers: int, batch: int, requests: int) -> None:
    values = services(cv)
    found = waits(values, load, servers, batch, requests)
    queue = BatchQueue(load * servers * batch, of(values), servers, batch)
    case = cv, load, servers, batch, queue.wait.mean, found.mean()
    assert abs(queue.wait.mean - found.mean()) <= WITHIN * (1 + found.mean()), case
    grid = Grid(40 / 8192)
    levels = (0.5, 0.9, 0.95, 0.99) if servers == 1 else (0.9, 0.95)
    predicted = grid.quantiles(waiting_in_batches(grid, queue, values), levels)
    for said, really in zip(predicted, np.quantile(found, levels), strict=True):
        assert abs(said - really) <= (0.02 if servers == 1 else 0.08) * (1 + really), (*case, said, really)


@pytest.mark.parametrize(("servers", "batch"), [(1, 4), (1, 16), (3, 4)])
@pytest.mark.parametrize("load", [0.2, 0.7])
def test_waits_of_batches_are_those_that_the_simulator_plays(load: float, servers: int, batch: int) -> None:
    agree(0.3, load, servers, batch, 150_000)


@pytest.mark.deep
@pytest.mark.parametrize("servers", [1, 2, 4, 8])
@pytest.mark.parametrize("batch", [2, 3, 8, 16])
@pytest.mark.parametrize("cv", [0.1, 0.5, 1.0])
def test_waits_of_many_batches_are_those_that_the_simulator_plays(cv: float, batch: int, servers: int) -> None:
    for load in (0.05, 0.3, 0.5, 0.7):
        agree(cv, load, servers, batch, 1_000_000)


@given(st.floats(0.01, 0.9), st.floats(0.0, 1.5))
def test_a_batch_of_one_is_a_queue_as_pollaczek_and_khinchine_say(load: float, cv: float) -> None:
    service = Moments(1.0, 1 + cv**2, (1 + cv**2) * (1 + 2 * cv**2))
    one, known = BatchQueue(load, service, 1, 1).wait, single_server([(load, service)])
    assert (one.busy, one.mean, one.second) == pytest.approx((known.busy, known.mean, known.second))


@given(st.floats(0.01, 0.9), st.integers(1, 12))
def test_batches_of_one_at_exponential_servers_wait_as_erlang_says(load: float, servers: int) -> None:
    service = Moments(1.0, 2.0, 6.0)
    one, known = BatchQueue(load * servers, service, servers, 1).wait, many_servers(load * servers, service, servers)
    assert (one.busy, one.mean, one.second) == pytest.approx((known.busy, known.mean, known.second))


@settings(deadline=None)
@given(st.floats(0.02, 0.9), st.integers(1, 6), st.integers(2, 32), st.floats(0.0, 1.2))
def test_waits_grow_with_the_load_and_shrink_with_servers(load: float, servers: int, batch: int, cv: float) -> None:
    service = Moments(1.0, 1 + cv**2, (1 + cv**2) * (1 + 2 * cv**2))
    rate = load * servers * batch
    here = BatchQueue(rate, service, servers, batch).wait
    assert here.mean >= 0
    assert here.second >= here.mean**2 * (1 - 1e-9)
    assert BatchQueue(rate * 0.9, service, servers, batch).wait.mean <= here.mean * (1 + 1e-6)
    assert BatchQueue(rate, service, servers + 1, batch).wait.mean <= here.mean * (1 + 1e-6)


def test_an_overloaded_queue_of_batches_has_no_wait() -> None:
    with pytest.raises(ValueError, match=r"utilisation 1\.02"):
        BatchQueue(4.08, Moments(1.0, 1.0, 1.0), 1, 4)


def test_the_prediction_of_a_batched_stage_is_what_the_simulator_plays() -> None:
    """A stage of batches between the source and the sink: percentiles of the whole path."""
    values = services(0.2) * 0.02
    situation, layout = chain({"a": Server(list(values), 1, 8)}, 0.6 * 8 / 0.02)
    (path,) = Latency(layout, Demand(situation)).paths()
    ends = Simulation(layout, Demand(situation), 3).run(200_000).flows["src@here"].ends["end"]
    for level, said in ((0.5, path.predicted.p50_ms), (0.95, path.predicted.p95_ms), (0.99, path.predicted.p99_ms)):
        assert said == pytest.approx(float(np.quantile(ends, level)) * 1e3, rel=0.02)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.3), (3, 0.6)])
def test_the_prediction_of_a_stage_whose_batches_wait_is_what_the_simulator_plays(servers: int, load: float) -> None:
    """The oldest waits up to 25 ms for others; percentiles of the whole path."""
    values = services(0.5) * 0.02
    stage = Server(list(values), servers, 8, batch_wait_ms=25.0)
    situation, layout = chain({"a": stage}, load * servers * 8 / 0.02)
    (path,) = Latency(layout, Demand(situation)).paths()
    ends = Simulation(layout, Demand(situation), 3).run(200_000).flows["src@here"].ends["end"]
    for level, said in ((0.5, path.predicted.p50_ms), (0.95, path.predicted.p95_ms), (0.99, path.predicted.p99_ms)):
        assert said == pytest.approx(float(np.quantile(ends, level)) * 1e3, rel=0.02)


def test_a_request_alone_waits_as_long_as_it_may_for_others() -> None:
    queue = PatientQueue(1e-6, np.array([1.0]), 2, 4, 0.25)
    assert queue.wait.mean == pytest.approx(0.25)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60),
    st.lists(st.floats(0.01, 4.0), min_size=60, max_size=60),
    st.integers(1, 3),
    st.integers(2, 5),
    st.floats(0.0, 5.0),
)
def test_nobody_waits_longer_for_others_than_allowed(
    gaps: list[float], services: list[float], servers: int, batch: int, patience: float
) -> None:
    """Whose batch leaves later than its oldest was allowed to wait, waited for a server since; none is overfull."""
    arrivals = list(accumulate(gaps))
    found = begins(arrivals, services, servers, batch, patience)
    assert found == sorted(found)
    free = [0.0] * servers
    first = 0
    for number in range(len(arrivals)):
        if first == len(arrivals):
            break
        size = sum(1 for each in found[first:] if each == found[first])
        size = min(size, batch)
        server = min(range(servers), key=free.__getitem__)
        assert found[first] <= max(free[server], arrivals[first] + patience)
        assert found[first] >= max(free[server], arrivals[first])
        free[server] = found[first] + services[number]
        first += size


@pytest.mark.parametrize("load", [0.2, 0.5, 0.7])
def test_tables_say_no_less_than_requests_wait_for_others(load: float) -> None:
    values = services(0.5)
    rate = load * 2 * 8
    known = station_levels(Served(of(values), 8, 2.0), [ceil(load * 2 * 1e9)])
    (level,) = (level for level in known if level.replicas == 2)
    waits = PatientQueue(rate, values, 2, 8, 2.0).waits
    assert level.wait_us >= float(waits.mean()) * 1e6 * 0.99
    assert level.wait_var >= float(waits.var()) * 1e12 * 0.99


def waiting(seed: int) -> bool:
    """Whether a plan has batches that wait, after the verifier agreed with all of it."""
    world = batching(seed, waits=("1 ms", "5 ms", "20 ms"))
    plan = solve(world, proofs=False)
    if plan.assignments:
        assert not (wrong := verify(world, plan, 30_000).wrong), (seed, wrong)
    waits = {a.component: a.batch_wait_ms for a in plan.assignments if a.batch > 1}
    given = {name: c.batch.wait for name, c in world.app.value.components.items() if c.batch is not None}
    assert all(ms == given[c] * 1e3 > 0 for c, ms in waits.items())
    return bool(waits)


def test_the_verifier_agrees_with_plans_whose_batches_wait() -> None:
    assert all(waiting(seed) for seed in PATIENT)


@pytest.mark.deep
def test_the_verifier_agrees_with_many_plans_whose_batches_wait() -> None:
    assert sum([waiting(seed) for seed in range(200)]) >= 15


def test_a_wait_beyond_what_is_allowed_is_found() -> None:
    world = batching(PATIENT[0], waits=("1 ms", "5 ms", "20 ms"))
    plan = solve(world, proofs=False)
    index = next(i for i, a in enumerate(plan.assignments) if a.batch > 1)
    longer = plan.assignments[index].model_copy(update={"batch_wait_ms": 21.0})
    others = (*plan.assignments[:index], longer, *plan.assignments[index + 1 :])
    assert verify(world, plan.model_copy(update={"assignments": others}), 20_000).wrong


def test_what_is_carried_is_what_full_batches_carry() -> None:
    situation, layout = chain({"a": Server([0.1], 2, 4)}, 20.0)
    assert throughput_of(Latency(layout, Demand(situation))).carried.multiple == pytest.approx(0.9 * 2 * 4 / 0.1 / 20)


def batches(problem: Problem, solution: Solution) -> bool:
    """Whether it has something run on several requests at once."""
    if solution.choice is None:
        return False
    chosen = zip(solution.choice.scenarios, solution.choice.options, strict=True)
    options = ((problem.scenarios[s].steps[i].options[o]) for s, ways in chosen for i, w in enumerate(ways) for o in w)
    return any(" by 2 " in problem.stations[option.station].name for option in options)


def planned(seed: int) -> bool:
    """Whether the plan of a world batches, after the verifier agreed with all of it."""
    world = batching(seed)
    plan = solve(world)
    if plan.assignments:
        assert not (wrong := verify(world, plan, 30_000).wrong), (seed, wrong)
    return any(a.batch > 1 for a in plan.assignments)


def equal(seeds: range) -> None:
    found = family(lambda seed: formulate(batching(seed, most=(2,), loose=LOOSE)), seeds, 20_000, small=0.7)
    assert sum(batches(*each) for each in found.solved) >= 0.03 * found.count


def test_solutions_with_batches_equal_brute_force() -> None:
    equal(range(40))


def test_the_verifier_agrees_with_plans_that_batch() -> None:
    assert all(planned(seed) for seed in BATCHED)


@pytest.mark.deep
@pytest.mark.parametrize("first", [40, 340])
def test_many_solutions_with_batches_equal_brute_force(first: int) -> None:
    equal(range(first, first + 300))


@pytest.mark.deep
@pytest.mark.parametrize("block", range(10))
def test_the_verifier_agrees_with_many_plans_that_batch(block: int) -> None:
    assert sum([planned(seed) for seed in range(block * BLOCK, (block + 1) * BLOCK)]) >= 4


def test_a_tampered_batch_is_found() -> None:
    """A plan that says another batch than the record it rests on, or one that the component does not allow."""
    world = batching(BATCHED[0])
    plan = solve(world)
    index = next(i for i, a in enumerate(plan.assignments) if a.batch > 1)
    for batch in (1, 2 * plan.assignments[index].batch, 64):
        changed = plan.assignments[index].model_copy(update={"batch": batch})
        others = (*plan.assignments[:index], changed, *plan.assignments[index + 1 :])
        assert verify(world, plan.model_copy(update={"assignments": others}), 20_000).wrong

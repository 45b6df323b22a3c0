"""Every strategy and encoding against brute force, and what a change of the Problem may do to the answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from benchmarks.instances import Shape, instance, with_latency
from planner import solve, verify
from planner.formulation import formulate
from planner.problem import Edge, Problem, Transfer
from planner.problem.file import parse_problem, problem_json, write_problem
from planner.solver import coarse as coarse_module
from planner.solver import exact, solve_problem
from planner.solver.build import Reduced, reduced
from planner.solver.coarse import Coarse, Labels, coarsen, labels_of
from planner.solver.evaluate import evaluate
from planner.solver.exact import Exact
from planner.solver.solution import Choice
from planner.solver.stop import Clock, Progress, Stop
from planner.solver.strategy import STRATEGIES, exact_for
from specs.errors import InputError, TierplanError
from tests.planner.brute import TooLarge, brute_force
from tests.planner.transformed import (
    shuffled,
    with_costs_times,
    with_hops,
    with_looser_limits,
    with_more_devices,
    with_tables,
    with_worse_options,
)
from tests.planner.worlds import world

EXACT = {
    "pairs": Exact("pair"),
    "conditions": Exact("cond"),
    "pairs by relaxations": Exact("pair", at_once=0, sites=10**9),
    "pairs by where steps run": Exact("pair", at_once=0, sites=0),
    "conditions by relaxations": Exact("cond", at_once=0),
    "merged sites": Exact("pair", at_once=0, blocks=1.0),
    "merged sites by where steps run": Exact("pair", at_once=0, blocks=1.0, sites=0),
}
BASELINES = ("greedy", "heft", "min-cut", "all-edge", "all-cloud")
SMALL = Shape("tree", 5, 6, ways=4, slack=1.8)


def known(
    seeds: range, change: Callable[[Problem], Problem] = lambda p: p
) -> list[tuple[Problem, tuple[int, ...] | None]]:
    """Problems of worlds after `change`, with the best objectives by brute force (of tables instead of hops)."""
    found: list[tuple[Problem, tuple[int, ...] | None]] = []
    for seed in seeds:
        problem = change(formulate(world(seed)))
        try:
            found.append((problem, brute_force(with_tables(problem))))
        except TooLarge:
            continue
    assert len(found) >= 0.8 * len(seeds)
    infeasible = sum(best is None for _, best in found)
    greedy = [STRATEGIES["greedy"].solve(p, Stop()).objectives for p, best in found if best is not None]
    beaten = sum(g != best for g, best in zip(greedy, [b for _, b in found if b is not None], strict=True))
    print(f"{len(found)} problems: {infeasible} infeasible, on {beaten} greedy is not optimal")
    assert infeasible >= 0.2 * len(found)
    assert beaten >= 0.2 * len(found)
    return found


def equal(problem: Problem, best: tuple[int, ...] | None, strategy: Exact) -> None:
    solution = strategy.solve(problem, Stop())
    assert solution.status == ("infeasible" if best is None else "optimal")
    assert solution.objectives == (best or ())
    assert solution.bounds == (best or ())
    assert solution.seconds_proof is not None
    assert (solution.seconds_first is None) == (best is None)
    if solution.choice is not None:
        assert evaluate(problem, solution.choice).objectives == best


@pytest.mark.parametrize("tables", [True, False], ids=["tables", "hops"])
def test_every_exact_strategy_equals_brute_force(tables: bool) -> None:
    for problem, best in known(range(30), (lambda p: p) if tables else with_hops):
        for strategy in EXACT.values():
            equal(problem, best, strategy)


def test_whether_there_is_any_plan_and_a_better_one_is_as_brute_force_says() -> None:
    """Also without some of the constraints; of the whole model and of relaxations."""
    for number, (problem, best) in enumerate(known(range(30))):
        without = frozenset(range(number % 3, len(problem.constraints), 3))
        other = brute_force(with_tables(problem), without)
        for strategy in EXACT.values():
            assert strategy.possible(problem, frozenset(), Stop())[0] == ("no" if best is None else "yes")
            assert strategy.possible(problem, without, Stop())[0] == ("no" if other is None else "yes")
            if other is not None:
                assert strategy.possible(problem, without, Stop(at_most=other[0]))[0] == "yes"
                assert strategy.possible(problem, without, Stop(at_most=other[0] - 1))[0] == "no"


@pytest.mark.deep
@pytest.mark.parametrize("tables", [True, False], ids=["tables", "hops"])
def test_every_exact_strategy_equals_brute_force_on_many_more(tables: bool) -> None:
    for problem, best in known(range(1000, 1600), (lambda p: p) if tables else with_hops):
        for strategy in EXACT.values():
            equal(problem, best, strategy)


def test_a_baseline_never_beats_the_optimum_and_says_only_what_it_knows() -> None:
    answered = dict.fromkeys(BASELINES, 0)
    for problem, best in known(range(30)):
        for name in BASELINES:
            solution = STRATEGIES[name].solve(problem, Stop())
            assert solution.strategy == name
            assert solution.status in ("feasible", "unknown")
            if solution.choice is not None:
                answered[name] += 1
                assert best is not None
                assert solution.objectives >= best
                found = evaluate(problem, solution.choice)
                assert found.holds()
                assert found.objectives == solution.objectives
                assert solution.bounds <= best
    assert all(answered.values()), answered


@pytest.mark.parametrize("strategy", BASELINES)
def test_the_verifier_agrees_with_the_plans_of_baselines(strategy: str) -> None:
    planned = 0
    for seed in range(20):
        given = world(seed)
        try:
            plan = solve(given, strategy=strategy)
        except TierplanError:
            continue
        if plan.assignments:
            planned += 1
            assert not verify(given, plan, 20_000).wrong
    assert planned


def test_an_unknown_strategy_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="min-cut"):
        solve_problem(formulate(world(0)), strategy="magic")


def test_the_strategy_follows_the_size() -> None:
    assert exact_for(formulate(world(0))).name == "pair"


# What a change of the Problem may do


def objectives(problem: Problem) -> tuple[int, ...] | None:
    return solve_problem(problem).objectives or None


def test_more_capacity_and_looser_limits_never_cost_more() -> None:
    helped = 0
    for seed in range(100, 150):
        problem = formulate(world(seed))
        best = objectives(problem)
        for easier in (with_more_devices(problem), with_looser_limits(problem)):
            found = objectives(easier)
            assert best is None or (found is not None and found <= best)
            helped += found != best
    assert helped >= 10


def test_names_order_and_dominated_options_change_no_objective() -> None:
    for seed in range(100, 140):
        problem = formulate(world(seed))
        best = objectives(problem)
        assert objectives(shuffled(problem, seed)) == best
        assert objectives(with_worse_options(problem)) == best


def test_units_of_money_change_nothing_but_themselves() -> None:
    for seed in range(100, 140):
        problem = formulate(world(seed))
        best, scaled = objectives(problem), objectives(with_costs_times(problem, 7))
        kinds = [o.kind for o in problem.objectives]
        assert scaled == (best and tuple(v * 7 if k == "cost" else v for v, k in zip(best, kinds, strict=True)))


# Generated instances


@pytest.mark.parametrize("kind", ["tree", "network"])
def test_a_generated_instance_has_twenty_undominated_options_for_each_component_and_pool(kind: str) -> None:
    problem = instance(Shape(kind, 4, 9), 1)  # type: ignore[arg-type]
    assert len(problem.scenarios) == 2
    for scenario in problem.scenarios:
        for step in scenario.steps:
            for pool in range(len(problem.pools)):
                here = [o for o in step.options if problem.stations[o.station].pool == pool]
                merits = []
                for option in here:
                    station = problem.stations[option.station]
                    reserved = station.threads * option.mean_us
                    merits.append((option.mean_us, option.var_us2, station.memory_kb, station.threads, reserved))
                undominated = [
                    m
                    for m in merits
                    if not any(n != m and all(a <= b for a, b in zip(n, m, strict=True)) for n in merits)
                ]
                assert len(undominated) >= 20


def test_encodings_agree_on_a_network_and_a_tree() -> None:
    for seed in range(3):
        network = instance(Shape("network", 3, 6, ways=3, slack=1.6), seed)
        tree = with_latency(instance(Shape("tree", 4, 6, ways=3, slack=1.6), seed))
        for problem in (network, tree):
            answers = [(s.status, s.objectives) for s in (e.solve(problem, Stop()) for e in EXACT.values())]
            assert answers == [answers[0]] * len(answers)
            assert answers[0][0] in ("optimal", "infeasible")


@pytest.mark.parametrize("kind", ["tree", "network"])
def test_merged_sites_change_no_optimum(kind: Literal["tree", "network"]) -> None:
    """Also where an answer uses a block, which is then split: far sites are made as near as the near ones."""
    splits = 0
    for seed in range(6):
        problem = instance(Shape(kind, 3, 14, ways=4, slack=1.6), seed)
        problem = problem if seed % 2 else nearer(problem)
        apart = Exact(at_once=0, blocks=0.0).solve(problem, Stop())
        given = reduced(problem)
        coarse = coarsen(given, labels_of(given))
        assert coarse.merged
        with counted_splits() as split_at:
            merged = Exact(at_once=0, blocks=1.0).solve(problem, Stop())
        splits += len(split_at)
        assert (merged.status, merged.objectives) == (apart.status, apart.objectives)
        assert merged.status in ("optimal", "infeasible")
    assert splits


def test_merged_sites_that_a_message_only_passes_are_split_too() -> None:
    """The one site of its kind stays as it is, while those on the way to it are merged."""
    for seed in (11, 13):
        near = nearer(instance(Shape("tree", 2, 14, ways=2, slack=2.5), seed))
        problem = replace(near, pools=tuple(replace(p, price=1) if i == 7 else p for i, p in enumerate(near.pools)))
        apart = Exact(at_once=0, blocks=0.0).solve(problem, Stop())
        merged = Exact(at_once=0, blocks=1.0).solve(problem, Stop())
        assert (merged.status, merged.objectives) == ("optimal", apart.objectives)


@pytest.mark.parametrize("blocks", [0.0, 1.0], ids=["apart", "merged"])
@pytest.mark.parametrize("kind", ["tree", "network"])
def test_a_search_that_may_end_within_a_gap_does_not_end_before(
    kind: Literal["tree", "network"], blocks: float
) -> None:
    """Also where the answer to a relaxation, itself only within the gap, does not hold in the whole."""
    for seed in (0, 2, 10):
        problem = nearer(instance(Shape(kind, 3, 14, ways=4, slack=1.6), seed))
        solution = Exact(at_once=0, blocks=blocks).solve(problem, Stop(gap=0.1))
        assert solution.status in ("optimal", "feasible")
        assert solution.gap is not None
        assert solution.gap <= 0.1


def test_sites_that_no_request_reaches_are_merged_into_trees_too() -> None:
    """Three islands of two kinds of site each, which would make a cycle of three if all alike became one."""
    problem = instance(Shape("tree", 2, 40, ways=1, slack=2.5), 0)
    islands = {1: 7, 4: 10, 6: 12}
    kinds = {1: 1, 7: 2, 4: 2, 10: 3, 6: 3, 12: 1}

    def cut(edge: Edge) -> Edge:
        hops = (t for t in edge.hops if (min(t.start, t.end), max(t.start, t.end)) in islands.items())
        home = (t for t in edge.hops if {t.start, t.end} <= {0, 3, 39})
        return replace(edge, hops=(*hops, *home))

    problem = replace(
        problem,
        pools=tuple(replace(p, price=kinds.get(i, p.price)) for i, p in enumerate(problem.pools)),
        stations=tuple(replace(s, threads=1) for s in problem.stations),
        scenarios=tuple(replace(s, edges=tuple(map(cut, s.edges))) for s in problem.scenarios),
    )
    hardware = problem.pools[39]
    alike = {"cores": hardware.cores, "memory_kb": hardware.memory_kb}
    pools = (replace(p, **alike) if i in kinds else p for i, p in enumerate(problem.pools))  # type: ignore[arg-type]
    problem = replace(problem, pools=tuple(pools))
    apart = Exact(at_once=0, blocks=0.0).solve(problem, Stop())
    merged = Exact(at_once=0, blocks=1.0).solve(problem, Stop())
    assert (merged.status, merged.objectives) == ("optimal", apart.objectives)


def nearer(problem: Problem) -> Problem:
    """The same with no distances, and sites that are not merged dear."""
    given = reduced(problem)
    coarse = coarsen(given, labels_of(given))
    scenarios = tuple(
        replace(
            s,
            edges=tuple(
                replace(e, transfers=tuple(map(_quick, e.transfers)), hops=tuple(map(_quick, e.hops))) for e in s.edges
            ),
            steps=tuple(
                replace(
                    step,
                    options=tuple(
                        replace(o, cost=o.cost + 10**8 * (coarse.block[o.site] not in coarse.merged))
                        for o in step.options
                    ),
                )
                for step in s.steps
            ),
        )
        for s in problem.scenarios
    )
    return replace(problem, scenarios=scenarios)


def _quick(transfer: Transfer) -> Transfer:
    return replace(transfer, mean_us=transfer.mean_us // 50, cost=0)


@contextmanager
def counted_splits() -> Iterator[list[frozenset[int]]]:
    """The blocks that are split meanwhile."""
    found: list[frozenset[int]] = []

    def split(given: Reduced, labels: Labels, coarse: Coarse, used: frozenset[int]) -> Labels:
        found.append(used)
        return real(given, labels, coarse, used)

    real = coarse_module.split
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "split", split)
        yield found


def test_the_same_seed_gives_the_same_choice_by_relaxations_too() -> None:
    problem = instance(SMALL, 2)
    first = Exact(at_once=0).solve(problem, Stop(seed=5))
    assert first.choice is not None
    assert Exact(at_once=0).solve(problem, Stop(seed=5)).choice == first.choice


def test_progress_only_ever_improves_and_ends_at_the_answer() -> None:
    told: list[Progress] = []
    solution = solve_problem(instance(SMALL, 2), tell=told.append)
    values = [p.objective for p in told if p.objective is not None]
    bounds = [p.bound for p in told if p.bound is not None]
    assert values == sorted(values, reverse=True)
    assert bounds == sorted(bounds)
    assert values[-1] == bounds[-1] == solution.objectives[0]


def test_a_problem_on_a_tree_is_read_back_and_a_cycle_refused() -> None:
    problem = with_hops(formulate(world(3)))
    text = problem_json(problem)
    assert parse_problem(text) == problem
    value = json.loads(text)
    edge = next(e for s in value["scenarios"] for e in s["edges"] if len(e["hops"]) == 4)
    edge["hops"].append({**edge["hops"][0], "start": 2, "end": 0})
    with pytest.raises(InputError, match="cycle"):
        parse_problem(json.dumps(value))


def test_ctrl_c_ends_the_search_with_the_best_so_far(tmp_path: Path) -> None:
    file = tmp_path / "problem.json"
    write_problem(instance(Shape("network", 14, 20, slack=1.25), 0), file)
    command = [sys.executable, "-m", "planner.cli.entry", "solve", "--problem", str(file), "--format", "json"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that puts a test into the background has it ignore Ctrl-C, and its children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "best" in line:
                break
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    found = json.loads(out)
    assert found["status"] == "feasible"
    assert found["interrupted"] is True
    assert found["bounds"][0] <= found["objectives"][0]


def test_an_interruption_before_the_search_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Problem) -> Reduced:
        raise KeyboardInterrupt

    monkeypatch.setattr(exact, "reduced", interrupted)
    solution = solve_problem(instance(SMALL, 2))
    assert solution.interrupted
    assert solution.status == "unknown"


def test_ctrl_c_while_spare_replicas_are_left_out_keeps_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    given = instance(SMALL, 2)
    search = exact._Search(reduced(given), Clock(Stop()), "pair")
    solution = solve_problem(given)
    assert solution.choice is not None
    search._offer(solution.choice, solution.objectives[0])
    assert search.spare

    def interrupted(_given: Reduced, _choice: Choice) -> Choice:
        raise KeyboardInterrupt

    monkeypatch.setattr(exact, "fewest_replicas", interrupted)
    found = search.solution(proven=True)
    assert found.interrupted
    assert (found.status, found.objectives) == ("optimal", solution.objectives)


def test_nothing_is_built_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    monkeypatch.setattr(exact, "build", lambda *given: built.append(given))
    monkeypatch.setattr(exact, "coarsen", lambda *given: built.append(given))
    for at_once in (0, 10**6):
        assert Exact(at_once=at_once).solve(instance(SMALL, 2), Stop(time_limit=0.0)).status == "unknown"
    assert not built


@pytest.mark.parametrize("began", [True, False], ids=["after it began", "before it began"])
def test_an_interruption_while_the_search_starts_ends_it_and_leaves_no_thread(
    began: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, threads = threading.Thread.start, threading.active_count()
    interruptions = [KeyboardInterrupt()]

    def interrupted(thread: threading.Thread) -> None:
        if began or not interruptions:
            start(thread)
        if interruptions:
            raise interruptions.pop()

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    solution = solve_problem(instance(Shape("tree", 16, 14, slack=1.3, by_use=False), 0))
    assert solution.interrupted
    assert solution.status in ("feasible", "unknown")
    assert threading.active_count() == threads

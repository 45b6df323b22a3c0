"""Solves a Problem with a makespan among its objectives: HEFT first, then CP-SAT until a proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from planner.problem import Problem
from planner.solver import cpsat
from planner.solver.evaluate import evaluate
from planner.solver.model import Terms
from planner.solver.scheduling.dispatch import Orders, Placed, Played, orders_of, play
from planner.solver.scheduling.heft import heft
from planner.solver.scheduling.model import Formulated, formulate
from planner.solver.scheduling.schedule import Schedule
from planner.solver.scheduling.task_graph import TaskGraph, task_graph_of
from planner.solver.solution import Choice, relative_gap
from planner.solver.stop import Clock, Stop
from specs.errors import InputError, Issue

STRATEGIES = ("auto", "heft")


def solve_schedule(problem: Problem, stop: Stop, strategy: str = "auto") -> Schedule:
    """The best placement and order of the steps, and what is proven, within what `stop` says.

    `strategy` is ``auto``, which proves, or ``heft`` alone. Raises InputError for other strategies, and as
    `task_graph_of` does.
    """
    if strategy not in STRATEGIES:
        raise InputError(Issue(f"no strategy {strategy!r} orders steps: expected {', '.join(STRATEGIES)}"))
    clock = Clock(stop)
    graph = task_graph_of(problem)
    best = _by_heft(graph)
    if best is not None:
        clock.found(best.objectives[0])
    if strategy == "heft":
        return _unproven(best, clock)
    return _proven(graph, best, clock)


def _unproven(best: Schedule | None, clock: Clock) -> Schedule:
    if best is None:
        return Schedule("unknown", seconds=clock.spent, strategy="heft")
    zeros, gap = (0,) * len(best.objectives), 1.0 if any(best.objectives) else 0.0
    return replace(
        best,
        bounds=zeros,
        gap=gap,
        seconds=clock.spent,
        seconds_first=clock.first,
        seconds_best=clock.best,
        strategy="heft",
    )


def _by_heft(graph: TaskGraph) -> Schedule | None:
    """HEFT's schedule, if it keeps budgets and memory."""
    found = heft(graph)
    played = None if found is None else play(graph, *found)
    return None if found is None or played is None else _schedule(graph, *found, played)


def _schedule(graph: TaskGraph, placed: Placed, orders: Orders, played: Played) -> Schedule | None:
    """A schedule with its objectives, not proven; None where it breaks a budget or does not fit."""
    problem = graph.problem
    used = {graph.option(i, way).station for i, way in placed.items()}
    replicas = tuple(int(s in used) for s in range(len(problem.stations)))
    options = tuple((placed[i].option,) for i in range(len(graph.ways)))
    choice = Choice((0,), (options,), problem.members, replicas)
    rest = tuple(o for o in problem.objectives if o.kind != "makespan")
    found = evaluate(replace(problem, objectives=rest), choice, ways=graph.routes)
    if not found.holds():
        return None
    values = iter(found.objectives)
    objectives = tuple(played.makespan if o.kind == "makespan" else next(values) for o in problem.objectives)
    return Schedule("feasible", choice, objectives, orders=orders, starts=played.starts, ends=played.ends)


def _proven(graph: TaskGraph, best: Schedule | None, clock: Clock) -> Schedule:
    """Objective after objective, each with the earlier ones held at what was found."""
    problem, stop = graph.problem, clock.stop
    first = problem.objectives[0].kind == "makespan"
    made = formulate(graph, best.objectives[0] if first and best is not None else _horizon(graph))
    if made.model.impossible:
        return Schedule("infeasible", seconds=clock.spent, seconds_proof=clock.spent, strategy="intervals")
    within: list[tuple[Terms, int]] = []
    if stop.at_most is not None:
        within.append((made.sums[problem.objectives[0].kind], stop.at_most))
        best = None if best is not None and best.objectives[0] > stop.at_most else best
    bounds: list[int] = []
    proven, interrupted = True, False
    for n, objective in enumerate(problem.objectives):
        terms = made.sums[objective.kind]
        answer = cpsat.run(
            made.model,
            terms,
            within=within,
            hint=_hint(made, graph, best),
            time_limit=clock.left,
            gap=stop.gap,
            seed=stop.seed,
            better=clock.found if n == 0 else lambda _: None,
            bound=clock.proven if n == 0 else lambda _: None,
        )
        interrupted = interrupted or answer.interrupted
        if answer.status == "infeasible":
            return Schedule("infeasible", seconds=clock.spent, seconds_proof=clock.spent, strategy="intervals")
        if answer.values:
            best = _better(best, _read(made, graph, answer.values))
        bounds.append(max(0, answer.bound or 0))
        proven = proven and answer.status == "optimal"
        if best is None or not proven:
            break
        within.append((terms, best.objectives[n]))
    return _ended(best, bounds, proven, interrupted, clock)


def _horizon(graph: TaskGraph) -> int:
    """When any schedule can be over: each step and each message takes its longest, one after another."""
    sites = {way.site for ways in graph.ways for way in ways}
    longest = sum(max((way.time_us for way in ways), default=0) for ways in graph.ways)
    for edge in graph.scenario.edges:
        starts = {edge.producer.site} if edge.producer.step < 0 else sites
        goals = {edge.consumer.site} if edge.consumer.step < 0 else sites
        ways = (graph.moved(edge, p, q) for p in starts for q in goals)
        longest += max((way[0] for way in ways if way is not None), default=0)
    return longest


def _hint(made: Formulated, graph: TaskGraph, best: Schedule | None) -> dict[int, int]:
    if best is None or best.choice is None:
        return {}
    (options,) = best.choice.options
    placed = {i: next(w for w in graph.ways[i] if w.option == o) for i, (o,) in enumerate(options)}
    played = play(graph, placed, best.orders)
    return {} if played is None else made.hint(graph, placed, played)


def _read(made: Formulated, graph: TaskGraph, values: Sequence[int]) -> Schedule:
    """The schedule that values of the model's variables stand for, played: each step as soon as it can."""
    placed = made.placed(graph, values)
    orders = orders_of(graph, placed, {i: values[start] for i, start in enumerate(made.start)})
    played = play(graph, placed, orders)
    found = None if played is None else _schedule(graph, placed, orders, played)
    if found is None:
        raise RuntimeError("the model allows a schedule that cannot be")
    return found


def _better(one: Schedule | None, other: Schedule) -> Schedule:
    return other if one is None or other.objectives <= one.objectives else one


def _ended(best: Schedule | None, bounds: list[int], proven: bool, interrupted: bool, clock: Clock) -> Schedule:
    if best is None:
        return Schedule("unknown", seconds=clock.spent, strategy="intervals", interrupted=interrupted)
    all_bounds = tuple(min(b, v) for b, v in zip([*bounds, *[0] * len(best.objectives)], best.objectives, strict=False))
    return replace(
        best,
        status="optimal" if proven else "feasible",
        bounds=all_bounds,
        gap=relative_gap(best.objectives, all_bounds),
        seconds=clock.spent,
        seconds_first=clock.first,
        seconds_best=clock.best,
        seconds_proof=clock.spent if proven else None,
        strategy="intervals",
        interrupted=interrupted,
    )

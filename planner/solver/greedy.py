"""A greedy choice: components one after the other, each where it is cheapest or soonest just then. No proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Final

from planner.problem import MILLION, REPLICA_LOAD, Edge, Option, Problem, Scenario, at_scale
from planner.solver.evaluate import Evaluation, evaluate
from planner.solver.solution import Choice, Solution
from planner.solver.stop import Clock, Stop
from planner.solver.throughput import scales
from planner.solver.ways import Ways

PRICES: Final = (0, 3, 30, 300, 3000, 30_000, 10**12)
"""What a microsecond is worth (ucur), tried in turn: from the cheapest to the soonest."""
MAX_SCENARIOS: Final = 64


@dataclass
class Used:
    """Cores reserved, by pool in use; pools whose constraint is in `relaxed` have room for anything."""

    relaxed: frozenset[int] = frozenset()
    cores: dict[int, int] = field(default_factory=dict)


def solve_greedily(problem: Problem) -> Solution:
    """As `Greedy`, to its end."""
    return Greedy().solve(problem, Stop())


@dataclass(frozen=True)
class Greedy:
    """The best of the greedy choices that keep all constraints: `feasible`, or `unknown` where none does."""

    name: str = "greedy"

    def solve(self, problem: Problem, stop: Stop) -> Solution:
        clock = Clock(stop)
        best: tuple[tuple[int, ...], Choice] | None = None
        for choice, found in greedy_choices(problem, clock):
            if best is None or found.objectives < best[0]:
                best = (found.objectives, choice)
                clock.found(found.objectives[0])
        if best is None:
            return Solution("unknown", seconds=clock.spent, strategy=self.name)
        objectives, choice = best
        gap = 1.0 if any(objectives) else 0.0
        return Solution(
            "feasible",
            choice,
            objectives,
            (0,) * len(objectives),
            gap,
            clock.spent,
            clock.first,
            clock.best,
            strategy=self.name,
        )


def greedy_choices(
    problem: Problem, clock: Clock, relaxed: frozenset[int] = frozenset()
) -> Iterator[tuple[Choice, Evaluation]]:
    """The greedy choices that keep all constraints but those in `relaxed`, by price of time, until time is up."""
    ways = Ways()
    open_to = [i for i, s in enumerate(problem.scenarios) if relaxed.issuperset(s.barred)]
    by_flow = [[i for i in open_to if problem.scenarios[i].flow == f] for f in range(len(problem.flows))]
    for price in PRICES:
        for scenarios in islice(product(*by_flow), MAX_SCENARIOS):
            if clock.left <= 0:
                return
            choice = _choose(problem, scenarios, price, relaxed, ways)
            if choice is not None:
                found = evaluate(problem, choice, relaxed, ways)
                if found.holds(relaxed):
                    yield choice, found


def _choose(
    problem: Problem, scenarios: tuple[int, ...], price: int, relaxed: frozenset[int], ways: Ways
) -> Choice | None:
    used = Used(relaxed)
    options: list[tuple[tuple[int, ...], ...]] = []
    for index in scenarios:
        picked = _place(problem, problem.scenarios[index], price, used, ways)
        if picked is None:
            return None
        options.append(tuple((o,) for o in picked))
    return Choice(scenarios, tuple(options), problem.members, fewest_for_load(problem, scenarios, tuple(options)))


def _place(problem: Problem, scenario: Scenario, price: int, used: Used, ways: Ways) -> list[int] | None:
    """One whole option for each step, where it costs least with time at `price`, as long as its pool has cores left."""
    picked: list[int] = []
    beside: dict[int, list[Edge]] = {}
    for edge in scenario.edges:
        for end in {edge.producer.step, edge.consumer.step}:
            beside.setdefault(end, []).append(edge)
    for i, step in enumerate(scenario.steps):
        moves: dict[int, tuple[int, int] | None] = {}
        best: tuple[int, int, int] | None = None
        for o, option in enumerate(step.options):
            if (option.first, option.last) != (0, step.tasks - 1) or not used.relaxed.issuperset(option.barred):
                continue
            if option.site not in moves:
                moves[option.site] = _moved(scenario, i, option, picked, beside.get(i, []), ways)
            moved = moves[option.site]
            if moved is None or not has_room(problem, option, used):
                continue
            cost = option.cost + moved[0] + _device(problem, option, used)
            spent = option.mean_us + moved[1]
            way = (cost + price * spent, spent, o)
            if best is None or way < best:
                best = way
        if best is None:
            return None
        picked.append(best[2])
        chosen = step.options[best[2]]
        reserve(problem, chosen, used)
    return picked


def reserve(problem: Problem, option: Option, used: Used) -> None:
    """Count an option's cores as taken."""
    pool = problem.stations[option.station].pool
    used.cores[pool] = used.cores.get(pool, 0) + cores_of(problem, option)


def cores_of(problem: Problem, option: Option) -> int:
    """Cores that an option reserves with the fewest replicas that carry its load."""
    station = problem.stations[option.station]
    fewest = min((level.replicas for level in station.levels if level.load_ppb >= option.load_ppb), default=0)
    return fewest * station.threads


def has_room(problem: Problem, option: Option, used: Used) -> bool:
    """Whether the cores that its pool may have in all suffice."""
    index = problem.stations[option.station].pool
    pool = problem.pools[index]
    if pool.constraint in used.relaxed:
        return True
    if pool.sharing == "time":
        return pool.maximum > 0
    return used.cores.get(index, 0) + cores_of(problem, option) <= pool.cores * pool.maximum


def _device(problem: Problem, option: Option, used: Used) -> int:
    """What one more device costs where those bought have no cores left."""
    index = problem.stations[option.station].pool
    pool = problem.pools[index]
    taken = used.cores.get(index, 0) if index in used.cores else None
    if pool.sharing == "time":
        return 0 if taken is not None or pool.minimum else pool.price
    before = max(pool.minimum, -(-(taken or 0) // pool.cores))
    after = max(pool.minimum, -(-((taken or 0) + cores_of(problem, option)) // pool.cores))
    return (after - before) * pool.price


def _moved(
    scenario: Scenario, step: int, option: Option, picked: list[int], edges: list[Edge], ways: Ways
) -> tuple[int, int] | None:
    """Cost and time of the messages between this step and what is placed already. None: no route."""

    def site(edge: Edge, producer: bool) -> int | None:
        end = edge.producer if producer else edge.consumer
        if end.step < 0:
            return end.site
        if end.step == step:
            return option.site
        return scenario.steps[end.step].options[picked[end.step]].site if end.step < len(picked) else None

    cost = spent = 0
    for edge in edges:
        a, b = site(edge, True), site(edge, False)
        if a is None or b is None or a == b:
            continue
        transfer = ways.between(edge, a, b)
        if transfer is None:
            return None
        cost += transfer.cost
        spent += transfer.mean_us
    return cost, spent


def fewest_for_load(
    problem: Problem, scenarios: tuple[int, ...], options: tuple[tuple[tuple[int, ...], ...], ...]
) -> tuple[int, ...]:
    """The fewest that carry the load, and what throughputs ask for."""
    rates = scales(problem, frozenset())
    loads: dict[int, int] = {}
    asked: dict[int, int] = {}
    devices: dict[int, int] = {}
    for s, picked in zip(scenarios, options, strict=True):
        for i, chosen in enumerate(picked):
            for o in chosen:
                option = problem.scenarios[s].steps[i].options[o]
                loads[option.station] = loads.get(option.station, 0) + option.load_ppb
                scale = rates[problem.scenarios[s].flow]
                more = at_scale(option.load_ppb, scale) if scale > MILLION else 0
                asked[option.station] = asked.get(option.station, 0) + more
                for visit in option.visits:
                    for pool in problem.servers[visit.server].pools:
                        devices[pool] = devices.get(pool, 0) + at_scale(visit.load_ppb, scale)

    def fewest(index: int) -> int:
        if index not in loads:
            return 0
        station = problem.stations[index]
        if not station.levels:
            pool = problem.pools[station.pool]
            return max(1, pool.minimum, min(pool.maximum, -(-devices.get(station.pool, 0) // REPLICA_LOAD)))
        levels = station.levels
        enough = [level.replicas for level in levels if level.load_ppb >= loads[index]]
        return min((r for r in enough if asked[index] <= station.carries(r)), default=max(enough, default=1))

    return tuple(fewest(k) for k in range(len(problem.stations)))

"""The exact value of a choice: what it costs, how long it takes, which constraints it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from planner.problem import (
    MILLION,
    Beside,
    Edge,
    Option,
    Path,
    Pool,
    Problem,
    Scenario,
    Server,
    Transfer,
    Visit,
    at_scale,
    visit_ns,
)
from planner.solver.packing import devices_needed
from planner.solver.solution import Choice
from planner.solver.throughput import fullness, scales
from planner.solver.ways import Ways

NOT_IN_TABLES: Final = -1
"""Broken by what is no choice: its tables do not have it, whatever is relaxed."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`broken` holds constraints; `possible` is false where a message has no route. `bought` is by pool. `waiting` are
    the servers where something waits.
    """

    possible: bool
    broken: frozenset[int]
    cost: int
    objectives: tuple[int, ...]
    bought: tuple[int, ...]
    waiting: frozenset[int]

    def holds(self, relaxed: frozenset[int] = frozenset()) -> bool:
        return self.possible and self.broken <= relaxed


@dataclass(frozen=True)
class _Waits:
    """Wait (mean us, variance us^2) by station and by server."""

    station: dict[int, tuple[int, int]]
    server: dict[int, tuple[int, int]]


def chosen_options(scenario: Scenario, options: tuple[tuple[int, ...], ...]) -> list[list[Option]]:
    return [[step.options[o] for o in picked] for step, picked in zip(scenario.steps, options, strict=True)]


def locations(edge: Edge, chosen: list[list[Option]]) -> tuple[int, int]:
    """The sites where the message leaves and arrives."""

    def site(step: int, task: int, fixed: int) -> int:
        return fixed if step < 0 else next(o.site for o in chosen[step] if o.first <= task <= o.last)

    start, end = edge.producer, edge.consumer
    return site(start.step, start.task, start.site), site(end.step, end.task, end.site)


def transfer_of(edge: Edge, chosen: list[list[Option]], ways: Ways) -> Transfer | None:
    """The transfer needed, None within one site. Raises LookupError where there is no route."""
    a, b = locations(edge, chosen)
    if a == b:
        return None
    transfer = ways.between(edge, a, b)
    if transfer is None:
        raise LookupError(edge.name)
    return transfer


def evaluate(
    problem: Problem, choice: Choice, relaxed: frozenset[int] = frozenset(), ways: Ways | None = None
) -> Evaluation:
    """Evaluate `choice`; capacities in `relaxed` count as unlimited, so that nothing waits there.

    `ways` of earlier evaluations of the same Problem save looking transfers up again.
    """
    ways = ways or Ways()
    broken: set[int] = set()
    flows: list[tuple[Scenario, list[list[Option]], list[Transfer | None]]] = []
    possible = True
    for index, options in zip(choice.scenarios, choice.options, strict=True):
        scenario = problem.scenarios[index]
        chosen = chosen_options(scenario, options)
        transfers: list[Transfer | None] = []
        for edge in scenario.edges:
            try:
                transfers.append(transfer_of(edge, chosen, ways))
            except LookupError:
                possible = False
                transfers.append(None)
        flows.append((scenario, chosen, transfers))
        broken |= set(scenario.barred)
        broken |= {c for step in chosen for option in step for c in option.barred}
    waits = _Waits({}, {})
    executors = _executors(problem, choice, flows, broken)
    _station_waits(problem, choice, flows, waits, broken)
    _server_waits(problem, flows, executors, waits, broken, relaxed)
    bought = _devices(problem, choice, flows, executors, broken, relaxed)
    cost = sum(pool.price * n for pool, n in zip(problem.pools, bought, strict=True))
    energy = sum(pool.energy * n for pool, n in zip(problem.pools, bought, strict=True))
    for _, chosen, transfers in flows:
        cost += sum(o.cost for step in chosen for o in step) + sum(t.cost for t in transfers if t)
        energy += sum(o.energy for step in chosen for o in step)
    wrong = sum(scenario.wrong for scenario, _, _ in flows)
    full = _carry(problem, choice, flows, executors, broken, relaxed)
    sums = {"cost": cost, "energy": energy, "accuracy": wrong, "throughput": full}
    memory = _memory(problem, choice, flows) if any(b.of == "memory" for b in problem.budgets) else {}
    for budget in problem.budgets:
        here = sum(memory.get(pool, 0) for pool in budget.pools)
        if (here if budget.of == "memory" else sums[budget.of]) > budget.limit:
            broken.add(budget.constraint)
    latencies = [0] * sum(o.kind == "latency" for o in problem.objectives)
    for scenario, chosen, transfers in flows:
        spent = _times(problem, chosen, transfers, waits, relaxed)
        for limit in scenario.limits:
            used = 0
            for shape in limit.shapes:
                for path in shape.paths:
                    mean, variance = spent(path)
                    rows = [r.excess_ppb for r in shape.rows if mean <= r.mean_us and variance <= r.var_us2]
                    used += min(rows, default=limit.allowed_ppb + 1)
            if used > limit.allowed_ppb:
                broken.add(limit.constraint)
        for i, shapes in enumerate(scenario.means):
            for part in shapes:
                latencies[i] += part.weight * max((spent(path)[0] for path in part.paths), default=0)
    rest = iter(latencies)
    objectives = tuple(sums[o.kind] if o.kind in sums else next(rest) for o in problem.objectives)
    waiting = frozenset(index for index, wait in waits.server.items() if wait[0])
    return Evaluation(possible, frozenset(broken - relaxed), cost, objectives, bought, waiting)


_Flows = list[tuple[Scenario, list[list[Option]], list[Transfer | None]]]


def _options(flows: _Flows) -> Iterator[Option]:
    return (option for _, chosen, _ in flows for step in chosen for option in step)


def _visits(flows: _Flows) -> Iterator[Visit]:
    for _, chosen, transfers in flows:
        yield from (visit for step in chosen for option in step for visit in option.visits)
        yield from (visit for transfer in transfers if transfer for visit in transfer.visits)


def _executors(problem: Problem, choice: Choice, flows: _Flows, broken: set[int]) -> dict[int, int]:
    """By `time` pool in use: its devices, each of which runs all stations in use there."""
    found: dict[int, int] = {}
    for station in {option.station for option in _options(flows)}:
        pool = problem.stations[station].pool
        if problem.pools[pool].sharing == "time":
            count = choice.replicas[station]
            if count < max(1, problem.pools[pool].minimum) or found.setdefault(pool, count) != count:
                broken.add(NOT_IN_TABLES)
    return found


def _station_waits(problem: Problem, choice: Choice, flows: _Flows, waits: _Waits, broken: set[int]) -> None:
    loads: dict[int, int] = {}
    for option in _options(flows):
        loads[option.station] = loads.get(option.station, 0) + option.load_ppb
    for index, load in loads.items():
        station = problem.stations[index]
        if not station.levels:
            waits.station[index] = (0, 0)
            continue
        replicas = choice.replicas[index]
        levels = [level for level in station.levels if level.replicas == replicas and level.load_ppb >= load]
        if levels:
            best = min(levels, key=lambda level: level.load_ppb)
            waits.station[index] = (best.wait_us, best.wait_var)
        else:
            waits.station[index] = (0, 0)
            broken.add(NOT_IN_TABLES)  # no constraint can be relaxed to allow it


def _server_waits(
    problem: Problem,
    flows: _Flows,
    executors: dict[int, int],
    waits: _Waits,
    broken: set[int],
    relaxed: frozenset[int],
) -> None:
    visits: dict[int, list[Visit]] = {}
    for visit in _visits(flows):
        visits.setdefault(visit.server, []).append(visit)
    for index, at in visits.items():
        server = problem.servers[index]
        waits.server[index] = (0, 0)
        if server.constraint in relaxed:
            continue
        n = _times_as_much(server, executors)
        busy = sum(v.load_ppb for v in at)
        fitting = (
            level for level in server.levels if sum(visit_ns(v, level.wait_us) for v in at) <= 1000 * level.wait_us * n
        )
        level = next(fitting, None)
        if level is None or busy > server.max_load * n:
            broken.add(server.constraint)
        else:
            waits.server[index] = (level.wait_us, level.wait_var)


def _times_as_much(server: Server, executors: dict[int, int]) -> int:
    """How many executors a server stands for."""
    return next((executors.get(pool, 1) for pool in server.pools), 1)


def _carry(
    problem: Problem,
    choice: Choice,
    flows: _Flows,
    executors: dict[int, int],
    broken: set[int],
    relaxed: frozenset[int],
) -> int:
    """How full the fullest queue is (ppb), and whether each carries what throughputs ask for."""
    if not problem.throughputs and all(o.kind != "throughput" for o in problem.objectives):
        return 0
    queues: dict[tuple[bool, int], tuple[int, list[tuple[int, int]]]] = {}

    def come(is_server: bool, index: int, most: int, flow: int, load: int) -> None:
        queues.setdefault((is_server, index), (most, []))[1].append((flow, load))

    for f, (_, chosen, transfers) in enumerate(flows):
        options = [option for step in chosen for option in step]
        for option in options:
            station = problem.stations[option.station]
            if station.levels:
                most = station.carries(choice.replicas[option.station])
                come(False, option.station, most, f, option.load_ppb)
        visits = [v for o in options for v in o.visits] + [v for t in transfers if t for v in t.visits]
        for visit in visits:
            server = problem.servers[visit.server]
            if visit.work_ns and server.constraint not in relaxed:
                most = server.max_load * _times_as_much(server, executors)
                come(True, visit.server, most, f, visit.load_ppb)
    rates = scales(problem, relaxed)
    asked = [(most, loads) for most, loads in queues.values() if any(rates[f] > MILLION for f, _ in loads)]
    if any(sum(at_scale(load, rates[f]) for f, load in loads) > most for most, loads in asked):
        broken |= {each.constraint for each in problem.throughputs}
    return max((sum(fullness(load, most) for _, load in loads) for most, loads in queues.values()), default=0)


def _devices(
    problem: Problem,
    choice: Choice,
    flows: _Flows,
    executors: dict[int, int],
    broken: set[int],
    relaxed: frozenset[int],
) -> tuple[int, ...]:
    used = sorted({option.station for option in _options(flows)})
    bought: list[int] = []
    for index, pool in enumerate(problem.pools):
        here = [s for s in used if problem.stations[s].pool == index]
        unlimited = pool.constraint in relaxed
        if pool.sharing == "time":
            needed = executors.get(index, 0)
            memory = sum(problem.stations[s].memory_kb for s in here)
            if not unlimited and (memory > pool.memory_kb or needed > pool.maximum):
                broken.add(pool.constraint)
        else:
            needed = _needed(problem, choice, pool, here, broken, unlimited)
        bought.append(max(pool.minimum, needed))
    return tuple(bought)


def _memory(problem: Problem, choice: Choice, flows: _Flows) -> dict[int, int]:
    """Of all replicas, by pool."""
    found: dict[int, int] = {}
    for index in {option.station for option in _options(flows)}:
        station = problem.stations[index]
        found[station.pool] = found.get(station.pool, 0) + choice.replicas[index] * station.memory_kb
    return found


def _needed(problem: Problem, choice: Choice, pool: Pool, here: list[int], broken: set[int], unlimited: bool) -> int:
    items = [
        (problem.stations[s].threads, problem.stations[s].memory_kb) for s in here for _ in range(choice.replicas[s])
    ]
    needed = devices_needed(items, pool.cores, pool.memory_kb, len(items) if unlimited else pool.maximum)
    if needed is None:
        broken.add(pool.constraint)
        return len(items)
    return needed


def _times(
    problem: Problem,
    chosen: list[list[Option]],
    transfers: list[Transfer | None],
    waits: _Waits,
    relaxed: frozenset[int],
) -> Callable[[Path], tuple[int, int]]:
    """A function from a path to its (mean, variance)."""

    def taken(options: Iterable[Option]) -> tuple[int, int]:
        given = list(options)
        mean = sum(o.mean_us + waits.station[o.station][0] for o in given)
        variance = sum(o.var_us2 + waits.station[o.station][1] for o in given)
        at = [waits.server[v.server] for o in given for v in o.visits]
        return mean + sum(m for m, _ in at), variance + sum(v for _, v in at)

    def beside(met: Beside) -> tuple[int, int]:
        executors = {_executor(problem, o, relaxed) for step in met.of for o in chosen[step]} - {None}
        return taken(o for o in chosen[met.step] if _executor(problem, o, relaxed) in executors)

    steps = [taken(options) for options in chosen]
    edges: list[tuple[int, int]] = []
    for transfer in transfers:
        at = [waits.server[v.server] for v in transfer.visits] if transfer else []
        mean = sum(m for m, _ in at) + (transfer.mean_us if transfer else 0)
        edges.append((mean, sum(v for _, v in at) + (transfer.var_us2 if transfer else 0)))

    def spent(path: Path) -> tuple[int, int]:
        parts = [*(steps[s] for s in path.steps), *(edges[e] for e in path.edges), *map(beside, path.beside)]
        return sum(m for m, _ in parts), sum(v for _, v in parts)

    return spent


def _executor(problem: Problem, option: Option, relaxed: frozenset[int]) -> int | None:
    """The pool whose executor serves the option; None: it has threads of its own, or there is no end of executors."""
    index = problem.stations[option.station].pool
    pool = problem.pools[index]
    return index if pool.sharing == "time" and pool.constraint not in relaxed else None

"""Brute force over a Problem: every choice, evaluated by formulas written a second time, vectorised with numpy.

It shares no code with the solver but the Problem itself.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np

from planner.problem import PPB, Option, Problem, Scenario

MOST = 400_000
Array = Any


class TooLarge(Exception):
    """More choices than brute force should look at."""


def brute_force(problem: Problem, relaxed: frozenset[int] = frozenset(), *, most: int = MOST) -> tuple[int, ...] | None:
    """The best objectives, in order, of any choice that keeps all constraints but `relaxed`; None if none does.

    Raises TooLarge where there are more than `most` choices.
    """
    flows = [_choices_of(problem, f, relaxed, most) for f in range(len(problem.flows))]
    total = int(np.prod([max(1, len(f)) for f in flows]))
    if total > most:
        raise TooLarge(total)
    best: tuple[int, ...] | None = None
    for table in _tables(problem, flows):
        found = _best(problem, table, relaxed)
        if found is not None and (best is None or found < best):
            best = found
    return best


def _choices_of(
    problem: Problem, flow: int, relaxed: frozenset[int], most: int
) -> list[tuple[int, tuple[tuple[int, int, int], ...]]]:
    """(scenario, ((step, option, replicas), ...)) for all ways to cover each step."""
    found: list[tuple[int, tuple[tuple[int, int, int], ...]]] = []
    for s, scenario in enumerate(problem.scenarios):
        if scenario.flow != flow or not set(scenario.barred) <= relaxed:
            continue
        ways = [list(_covers(problem, scenario, i, relaxed)) for i in range(len(scenario.steps))]
        if np.prod([len(w) for w in ways]) > most:
            raise TooLarge
        for picked in product(*ways):
            found.append((s, tuple(p for step in picked for p in step)))
    return found


def _covers(problem: Problem, scenario: Scenario, i: int, relaxed: frozenset[int]) -> Any:
    step = scenario.steps[i]
    usable = [o for o, option in enumerate(step.options) if set(option.barred) <= relaxed]
    for size in range(1, step.tasks + 1):
        for group in combinations(usable, size):
            tasks = sorted(t for o in group for t in range(step.options[o].first, step.options[o].last + 1))
            pools = [problem.stations[o.station].pool for o in sorted(map(step.options.__getitem__, group), key=_first)]
            if tasks == list(range(step.tasks)) and all(a != b for a, b in pairwise(pools)):
                replicas = []
                for o in group:
                    station = problem.stations[step.options[o].station]
                    pool = problem.pools[station.pool]
                    devices = range(max(1, pool.minimum), max(1, pool.maximum) + 1)
                    replicas.append(sorted({level.replicas for level in station.levels}) or list(devices))
                for counts in product(*replicas):
                    yield tuple((i, o, r) for o, r in zip(group, counts, strict=True))


def _first(option: Option) -> int:
    return option.first


def _tables(problem: Problem, flows: list[Any]) -> Any:
    """Blocks of choices with one scenario for each flow, as columns."""
    groups: list[dict[int, list[Any]]] = []
    for choices in flows:
        by: dict[int, list[Any]] = {}
        for s, picked in choices:
            by.setdefault(s, []).append(picked)
        groups.append(by)
    for scenarios in product(*(sorted(g) for g in groups)):
        lists = [g[s] for g, s in zip(groups, scenarios, strict=True)]
        index = np.indices([len(x) for x in lists]).reshape(len(lists), -1)
        yield scenarios, lists, index


def _best(problem: Problem, table: Any, relaxed: frozenset[int]) -> tuple[int, ...] | None:
    scenarios, lists, index = table
    n = index.shape[1]
    if n == 0:
        return None
    ok = np.ones(n, dtype=bool)
    sums = {kind: np.zeros(n, dtype=np.int64) for kind in ("cost", "energy", "accuracy", "throughput")}
    cost = sums["cost"]
    stations = len(problem.stations)
    load = np.zeros((stations, n), dtype=np.int64)
    replicas = np.zeros((stations, n), dtype=np.int64)
    uses: list[list[Array]] = []
    crossings: list[list[Array]] = []
    for position, (s, choices) in enumerate(zip(scenarios, lists, strict=True)):
        scenario = problem.scenarios[s]
        sums["accuracy"] += scenario.wrong
        rows = index[position]
        used = [np.zeros((len(step.options), len(choices)), dtype=bool) for step in scenario.steps]
        counts = [np.zeros((len(step.options), len(choices)), dtype=np.int64) for step in scenario.steps]
        for c, picked in enumerate(choices):
            for i, o, r in picked:
                used[i][o, c] = True
                counts[i][o, c] = r
        spread = [u[:, rows] for u in used]
        uses.append(spread)
        for i, step in enumerate(scenario.steps):
            for o, option in enumerate(step.options):
                on = spread[i][o]
                cost += on * option.cost
                sums["energy"] += on * option.energy
                clash = on & (replicas[option.station] > 0) & (replicas[option.station] != counts[i][o, rows])
                ok &= ~clash
                load[option.station] += on * option.load_ppb
                replicas[option.station] = np.where(on, counts[i][o, rows], replicas[option.station])
        crossed: list[Array] = []
        for edge in scenario.edges:
            start, end = (_site(scenario, spread, e, n) for e in (edge.producer, edge.consumer))
            way = np.full(n, -1)
            for t, transfer in enumerate(edge.transfers):
                way = np.where((start == transfer.start) & (end == transfer.end) & (start != end), t, way)
                cost += ((start == transfer.start) & (end == transfer.end) & (start != end)) * transfer.cost
            ok &= (start == end) | (way >= 0)
            crossed.append(way)
        crossings.append(crossed)
    station_wait = _station_waits(problem, load, replicas, ok)
    executors = _executors(problem, replicas, ok)
    server_wait = _server_waits(problem, scenarios, uses, crossings, executors, ok, n, relaxed)
    for pool, devices in zip(problem.pools, _devices(problem, replicas, ok, relaxed), strict=True):
        cost += pool.price * devices
        sums["energy"] += pool.energy * devices
    sums["throughput"] = _fullest(problem, scenarios, uses, crossings, replicas, executors, ok, n, relaxed)
    for budget in problem.budgets:
        if budget.constraint in relaxed:
            continue
        if budget.of != "memory":
            ok &= sums[budget.of] <= budget.limit
            continue
        held = np.zeros(n, dtype=np.int64)
        for k, station in enumerate(problem.stations):
            if station.pool in budget.pools:
                held += station.memory_kb * replicas[k]
        ok &= held <= budget.limit
    latencies = [np.zeros(n, dtype=np.int64) for o in problem.objectives if o.kind == "latency"]
    for position, s in enumerate(scenarios):
        scenario = problem.scenarios[s]
        steps, edges = _times(scenario, uses[position], crossings[position], station_wait, server_wait, n)
        met = partial(_met, problem, scenario, uses[position], server_wait, relaxed)
        for limit in scenario.limits:
            if limit.constraint in relaxed:
                continue
            late = np.zeros(n, dtype=np.int64)
            for shape in limit.shapes:
                for path in shape.paths:
                    mean, variance = _along(path, steps, edges, n) + met(path)
                    excess = np.full(n, PPB * 10, dtype=np.int64)
                    for row in shape.rows:
                        inside = (mean <= row.mean_us) & (variance <= row.var_us2)
                        excess = np.where(inside, np.minimum(excess, row.excess_ppb), excess)
                    late += excess
            ok &= late <= limit.allowed_ppb
        for i, shapes in enumerate(scenario.means):
            for shape in shapes:
                means = [(_along(path, steps, edges, n) + met(path))[0] for path in shape.paths]
                latencies[i] += shape.weight * (np.max(means, axis=0) if means else 0)
    if not ok.any():
        return None
    rest = iter(latencies)
    columns = [sums[o.kind] if o.kind in sums else next(rest) for o in problem.objectives]
    alive = np.nonzero(ok)[0]
    for column in columns:
        alive = alive[column[alive] == column[alive].min()]
    return tuple(int(column[alive[0]]) for column in columns)


def _site(scenario: Scenario, used: list[Array], end: Any, n: int) -> Array:
    if end.step < 0:
        return np.full(n, end.site)
    site = np.full(n, -1)
    for o, option in enumerate(scenario.steps[end.step].options):
        if option.first <= end.task <= option.last:
            site = np.where(used[end.step][o], option.site, site)
    return site


def _station_waits(problem: Problem, load: Array, replicas: Array, ok: Array) -> Array:
    waits = np.zeros((2, *load.shape), dtype=np.int64)
    for k, station in enumerate(problem.stations):
        if not station.levels:
            continue
        used = load[k] > 0
        found = ~used
        for level in sorted(station.levels, key=lambda level: -level.load_ppb):
            fits = used & (replicas[k] == level.replicas) & (load[k] <= level.load_ppb)
            waits[0, k] = np.where(fits, level.wait_us, waits[0, k])
            waits[1, k] = np.where(fits, level.wait_var, waits[1, k])
            found |= fits
        ok &= found
    return waits


def _executors(problem: Problem, replicas: Array, ok: Array) -> Array:
    """By server, how many each choice has: where it is of a pool, as many as each station there that is in use."""
    found = np.ones((len(problem.servers), replicas.shape[1]), dtype=np.int64)
    for index, server in enumerate(problem.servers):
        here = [k for k, s in enumerate(problem.stations) if s.pool in server.pools]
        for k in here:
            found[index] = np.maximum(found[index], replicas[k])
        for k in here:
            ok &= (replicas[k] == 0) | (replicas[k] == found[index])
    return found


def _server_waits(
    problem: Problem,
    scenarios: Any,
    uses: Any,
    crossings: Any,
    executors: Array,
    ok: Array,
    n: int,
    relaxed: frozenset[int],
) -> Array:
    waits = np.zeros((2, len(problem.servers), n), dtype=np.int64)
    visits: dict[int, list[tuple[Any, Array]]] = {}
    for position, s in enumerate(scenarios):
        scenario = problem.scenarios[s]
        for i, step in enumerate(scenario.steps):
            for o, option in enumerate(step.options):
                for visit in option.visits:
                    visits.setdefault(visit.server, []).append((visit, uses[position][i][o]))
        for e, edge in enumerate(scenario.edges):
            for t, transfer in enumerate(edge.transfers):
                for visit in transfer.visits:
                    visits.setdefault(visit.server, []).append((visit, crossings[position][e] == t))
    for index, at in visits.items():
        server = problem.servers[index]
        if server.constraint in relaxed:
            continue
        ok &= sum(on * visit.load_ppb for visit, on in at) <= server.max_load * executors[index]
        found = np.zeros(n, dtype=bool)
        for level in reversed(server.levels):
            each = [v.work_ns + (1000 * level.wait_us * v.load_ppb + PPB - 1) // PPB for v, _ in at]
            holds = sum(on * ns for ns, (_, on) in zip(each, at, strict=True)) <= (
                1000 * level.wait_us * executors[index]
            )
            waits[0, index] = np.where(holds, level.wait_us, waits[0, index])
            waits[1, index] = np.where(holds, level.wait_var, waits[1, index])
            found |= holds
        ok &= found
    return waits


def _fullest(
    problem: Problem,
    scenarios: Any,
    uses: Any,
    crossings: Any,
    replicas: Array,
    executors: Array,
    ok: Array,
    n: int,
    relaxed: Any,
) -> Array:
    """How full the fullest queue is, in ppb; a choice is not `ok` where one does not carry what throughputs ask for."""
    asked = dict.fromkeys(range(len(problem.flows)), 10**6)
    for each in problem.throughputs:
        if each.constraint not in relaxed:
            asked |= {f: max(asked[f], each.scale) for f in each.flows}
    come: dict[tuple[str, int], list[tuple[int, int, Array]]] = {}
    for position, s in enumerate(scenarios):
        scenario = problem.scenarios[s]
        moved = [
            (t, crossings[position][e] == number)
            for e, edge in enumerate(scenario.edges)
            for number, t in enumerate(edge.transfers)
        ]
        ran = [(o, uses[position][i][k]) for i, step in enumerate(scenario.steps) for k, o in enumerate(step.options)]
        for thing, on in [*ran, *moved]:
            for visit in thing.visits:
                if visit.work_ns > 0 and problem.servers[visit.server].constraint not in relaxed:
                    come.setdefault(("server", visit.server), []).append((scenario.flow, visit.load_ppb, on))
        for option, on in ran:
            if problem.stations[option.station].levels:
                come.setdefault(("station", option.station), []).append((scenario.flow, option.load_ppb, on))
    worst = np.zeros(n, dtype=np.int64)
    for (kind, index), loads in come.items():
        most = problem.servers[index].max_load * executors[index] if kind == "server" else 0
        if kind == "station":
            most = 900_000_000 * np.maximum(1, replicas[index] - problem.stations[index].standby)
        exact = np.array(most, dtype=object)  # 10 servers' load, in ppb and times 10**9, is beyond 64 bits
        full = sum(on * np.asarray((load * PPB + exact - 1) // exact, dtype=np.int64) for _, load, on in loads)
        worst = np.maximum(worst, full)
        if any(asked[f] > 10**6 for f, _, _ in loads):
            # A queue that none of these flows comes to in a choice keeps what it did before.
            ok &= sum(on * ((load * asked[f] + 10**6 - 1) // 10**6) for f, load, on in loads) <= most
    return worst


def _devices(problem: Problem, replicas: Array, ok: Array, relaxed: frozenset[int]) -> list[Array]:
    """By pool, how many each choice buys."""
    n = replicas.shape[1]
    bought: list[Array] = []
    for p, pool in enumerate(problem.pools):
        here = [k for k, s in enumerate(problem.stations) if s.pool == p]
        free = pool.constraint in relaxed
        if pool.sharing == "time":
            used = np.max([replicas[k] for k in here], axis=0) if here else np.zeros(n, dtype=np.int64)
            memory = sum((replicas[k] > 0) * problem.stations[k].memory_kb for k in here) if here else used
            if not free:
                ok &= (used == 0) | ((memory <= pool.memory_kb) & (pool.maximum >= used))
            bought.append(np.maximum(pool.minimum, used))
            continue
        kinds, inverse = (
            np.unique(replicas[here], axis=1, return_inverse=True) if here else (np.zeros((0, 1)), np.zeros(n, int))
        )
        room = 10**6 if free else pool.maximum
        needed = np.array([_fewest(problem, pool, here, kinds[:, j], room) for j in range(kinds.shape[1])])[
            inverse.reshape(-1)
        ]
        if not free:
            ok &= needed <= pool.maximum
        bought.append(np.maximum(pool.minimum, needed))
    return bought


def _fewest(problem: Problem, pool: Any, here: list[int], counts: Array, room: int) -> int:
    """Fewest devices, by filling device after device with every set of replicas that fits; one more than `room` where
    they have too few cores in all."""
    if sum(problem.stations[k].threads * int(c) for k, c in zip(here, counts, strict=True)) > room * pool.cores:
        return room + 1
    items = sorted(
        (
            (problem.stations[k].threads, problem.stations[k].memory_kb)
            for k, c in zip(here, counts, strict=True)
            for _ in range(int(c))
        ),
        reverse=True,
    )
    known: dict[tuple[Any, ...], int] = {}

    def need(left: tuple[Any, ...]) -> int:
        if not left:
            return 0
        if left not in known:
            first, others = left[0], left[1:]
            best = len(left)
            for size in range(len(others) + 1):
                for group in combinations(range(len(others)), size):
                    together = [first, *(others[g] for g in group)]
                    if sum(t for t, _ in together) <= pool.cores and sum(m for _, m in together) <= pool.memory_kb:
                        rest = tuple(x for j, x in enumerate(others) if j not in group)
                        best = min(best, 1 + need(rest))
            known[left] = best
        return known[left]

    return need(tuple(items))


def _times(
    scenario: Scenario, used: list[Array], crossed: list[Array], station: Array, server: Array, n: int
) -> tuple[list[Array], list[Array]]:
    steps: list[Array] = []
    for i, step in enumerate(scenario.steps):
        total = np.zeros((2, n), dtype=np.int64)
        for o, option in enumerate(step.options):
            each = np.array([[option.mean_us], [option.var_us2]]) + station[:, option.station]
            for visit in option.visits:
                each = each + server[:, visit.server]
            total += used[i][o] * each
        steps.append(total)
    edges: list[Array] = []
    for e, edge in enumerate(scenario.edges):
        total = np.zeros((2, n), dtype=np.int64)
        for t, transfer in enumerate(edge.transfers):
            each = np.array([[transfer.mean_us], [transfer.var_us2]]) + np.zeros((2, n), dtype=np.int64)
            for visit in transfer.visits:
                each = each + server[:, visit.server]
            total += (crossed[e] == t) * each
        edges.append(total)
    return steps, edges


def _along(path: Any, steps: list[Array], edges: list[Array], n: int) -> Array:
    total = np.zeros((2, n), dtype=np.int64)
    for i in path.steps:
        total = total + steps[i]
    for e in path.edges:
        total = total + edges[e]
    return total


def _met(problem: Problem, scenario: Scenario, used: list[Array], server: Array, relaxed: Any, path: Any) -> Array:
    """What is served beside a path by an executor that serves the path too, pool by pool."""
    total = np.zeros((2, server.shape[2]), dtype=np.int64)
    for beside in path.beside:
        for p, pool in enumerate(problem.pools):
            if pool.sharing != "time" or pool.constraint in relaxed:
                continue

            def here(step: int, p: int = p) -> list[tuple[Option, Array]]:
                options = scenario.steps[step].options
                return [(o, used[step][k]) for k, o in enumerate(options) if problem.stations[o.station].pool == p]

            shared = np.zeros(server.shape[2], dtype=bool)
            for step in beside.of:
                for _, on in here(step):
                    shared |= on
            for option, on in here(beside.step):
                each = np.array([[option.mean_us], [option.var_us2]]) + sum(server[:, v.server] for v in option.visits)
                total = total + (on & shared) * each
    return total

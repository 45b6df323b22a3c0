"""What can be carried: queues with their replicas, devices bought whole, executors and links."""

from __future__ import annotations

from planner.problem import Pool, Server, Station, Visit, visit_ns
from planner.solver.candidates import memory_binds, totals_exact
from planner.solver.draft import Draft, Visitor
from planner.solver.dual_feasible import weights
from planner.solver.model import Terms


def carry(draft: Draft) -> None:
    """One level of a shared station in use, none of one that is not; the level carries the load."""
    model = draft.model
    for k, users in draft.users.items():
        station = draft.problem.stations[k]
        if not station.levels or k in draft.private:
            continue
        levels = [(model.boolean(), i) for i in range(len(station.levels))]
        draft.level[k] = levels
        chosen: Terms = [(v, 1) for v, _ in levels]
        model.add(chosen, 0, 1)
        carried: Terms = [(v, -station.levels[i].load_ppb) for v, i in levels]
        model.add([*((x, o.load_ppb) for x, _, o in users), *carried], None, 0)
        model.add([*chosen, *((x, -1) for x, _, _ in users)], None, 0)
        for x, _, _ in users:
            model.add([*chosen, (x, -1)], 0, None)


def buy(draft: Draft) -> None:
    """Devices of each pool, bought whole, for the stations in use there."""
    here: dict[int, list[tuple[int, Station]]] = {}
    for k in sorted(draft.users):
        here.setdefault(draft.problem.stations[k].pool, []).append((k, draft.problem.stations[k]))
    for index, pool in enumerate(draft.problem.pools):
        if pool.sharing == "time":
            _buy_executors(draft, index, pool, here.get(index, []))
        else:
            _buy_cores(draft, index, pool, here.get(index, []))


def _buy_executors(draft: Draft, index: int, pool: Pool, here: list[tuple[int, Station]]) -> None:
    """Each device has all; each station in use takes its memory once on each."""
    model = draft.model
    unlimited = pool.constraint in draft.relaxed
    bought = model.integer(pool.minimum, max(pool.minimum, 1 if here and unlimited else pool.maximum))
    draft.bought[index] = bought
    draft.cost.append((bought, pool.price))
    draft.energy.append((bought, pool.energy))
    limited = pool.maximum > 1 and any(index in budget.pools for budget in draft.problem.budgets)
    memory: Terms = []
    of_all: Terms = []
    for k, station in here:
        users = draft.users[k]
        used = users[0][0] if len(users) == 1 else model.boolean()
        if len(users) > 1:
            for x, _, _ in users:
                model.add([(used, 1), (x, -1)], 0, None)
        memory.append((used, station.memory_kb))
        if limited:
            replicas = model.integer(0, model.domains[bought][1])
            model.add([(replicas, 1), (bought, -1)], 0, None, when=used)
            of_all.append((replicas, station.memory_kb))
    draft.memory[index] = of_all if limited else memory
    _need(draft, here, bought, {k: 1 for k, _ in here})
    if memory and not unlimited:
        model.add(memory, None, pool.memory_kb)


def _buy_cores(draft: Draft, index: int, pool: Pool, here: list[tuple[int, Station]]) -> None:
    """Replicas stand on devices: by totals where that is exact, else device by device."""
    model = draft.model
    useful = sum(max(level.replicas for level in s.levels) for _, s in here)
    unlimited = pool.constraint in draft.relaxed
    most = useful if unlimited else min(pool.maximum, useful)
    bought = draft.bought[index] = model.integer(pool.minimum, max(pool.minimum, most))
    draft.cost.append((bought, pool.price))
    draft.energy.append((bought, pool.energy))
    if not here:
        return
    _need(draft, here, bought, {k: pool.cores // s.threads for k, s in here})
    replicas = {k: _replicas(draft, k, s) for k, s in here}
    for row in weights((s.threads for _, s in here), pool.cores):
        of: Terms = [(v, r * row.of[s.threads]) for k, s in here for v, r in replicas[k]]
        model.add([*of, (bought, -row.device)], None, 0)
    memory = draft.memory[index] = [(v, r * s.memory_kb) for k, s in here for v, r in replicas[k]]
    kinds = {(s.threads, s.memory_kb) for _, s in here}
    by_memory = memory_binds(pool, kinds)
    if by_memory:
        model.add([*memory, (bought, -pool.memory_kb)], None, 0)
    if not totals_exact(pool, kinds) and draft.scope.packs(index):
        _pack(draft, pool, here, replicas, bought, most, by_memory=by_memory)


def _need(draft: Draft, here: list[tuple[int, Station]], bought: int, fit: dict[int, int]) -> None:
    """Whatever covers a task has the devices that it needs alone, of which one holds `fit` replicas.

    This follows from the totals, but not in the linear relaxation, where a part of a device would do.
    """
    tasks: dict[tuple[int, int, int], Terms] = {}
    for k, _ in here:
        for x, c, option in draft.users[k]:
            devices = -(-max(1, c.replicas) // fit[k])
            tasks.setdefault((*draft.step_of[x], option.first), []).append((x, -devices))
    for terms in tasks.values():
        draft.model.add([(bought, 1), *terms], 0, None)


def _replicas(draft: Draft, k: int, station: Station) -> Terms:
    """The sum that is the number of replicas of a station."""
    if k in draft.private:
        return [(x, c.replicas) for x, c, _ in draft.users[k]]
    return [(v, station.levels[i].replicas) for v, i in draft.level[k]]


def _pack(
    draft: Draft,
    pool: Pool,
    here: list[tuple[int, Station]],
    replicas: dict[int, Terms],
    bought: int,
    most: int,
    *,
    by_memory: bool,
) -> None:
    """Every replica stands on one of the devices, which are filled in order. Alike replicas are counted together."""
    model = draft.model
    kinds: dict[tuple[int, int], Terms] = {}
    for k, station in here:
        kinds.setdefault((station.threads, station.memory_kb if by_memory else 0), []).extend(replicas[k])
    stands: dict[tuple[int, int], Terms] = {kind: [] for kind in kinds}
    opened: list[int] = []
    for _ in range(most):
        is_open = model.boolean()
        cores: Terms = []
        memory: Terms = []
        for (threads, size), terms in kinds.items():
            fit = min(pool.cores // threads, pool.memory_kb // max(1, size), model.most(terms))
            n = model.integer(0, fit)
            stands[threads, size].append((n, 1))
            cores.append((n, threads))
            memory.append((n, size))
        model.add([*cores, (is_open, -pool.cores)], None, 0)
        model.add([*memory, (is_open, -pool.memory_kb)], None, 0)
        if opened:
            model.add([(opened[-1], 1), (is_open, -1)], 0, None)
        opened.append(is_open)
    model.add([*((v, 1) for v in opened), (bought, -1)], None, 0)
    for kind, terms in kinds.items():
        model.add([*stands[kind], *((v, -r) for v, r in terms)], 0, 0)


def serve(draft: Draft) -> None:
    """One level of wait for each server that is visited, if the level's test holds.

    Levels above the first that holds for all visits together are of no use. Executors of a pool do so much more as
    devices are bought.
    """
    model = draft.model
    for index, visits in draft.visitors.items():
        server = draft.problem.servers[index]
        if server.constraint in draft.relaxed:
            continue
        if sum(v.load_ppb for v in visits) > server.max_load:
            _at_most(draft, server, [(v.literal, v.load_ppb) for v in visits], server.max_load)
        if not draft.scope.waits(index):
            continue
        usable = _usable(server, visits)
        levels = [(model.boolean(), k) for k in range(usable)]
        draft.server_levels[index] = levels
        model.one_of.append(tuple(v for v, _ in levels))
        for v, k in levels:
            wait = server.levels[k].wait_us
            terms = [(each.literal, visit_ns(Visit(0, each.work_ns, each.load_ppb), wait)) for each in visits]
            _at_most(draft, server, terms, 1000 * wait, when=v)


def _at_most(draft: Draft, server: Server, terms: Terms, most: int, when: int | None = None) -> None:
    """The sum is at most `most`, of the executors of a pool for each device."""
    devices = draft.executors(server)
    if devices is None:
        draft.model.add(terms, None, most, when=when)
    else:
        draft.model.add([*terms, (devices, -most)], None, 0, when=when)


def _usable(server: Server, visits: list[Visitor]) -> int:
    """How many levels from the first can be needed."""
    for k, level in enumerate(server.levels):
        wait = level.wait_us
        if sum(visit_ns(Visit(0, v.work_ns, v.load_ppb), wait) for v in visits) <= 1000 * wait:
            return k + 1
    return len(server.levels)

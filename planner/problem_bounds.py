"""Whether the sums of a Problem fit into the 64-bit integers of the solver.

Each number alone is at most `LIMIT`, but the solver multiplies prices by devices, weights by times, and adds up over
options. CP-SAT refuses a model in which any sum might leave 64 bits, whatever is chosen. So each sum is bounded here by
adding up all that could ever stand in it, for every set of relaxed constraints, before a model is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from planner.problem import Edge, Option, Path, Problem, Transfer, Visit, visit_ns
from planner.solver.groups import Group, Slot, groups_of
from specs.refusal import Step as Key
from specs.refusal import field_name

MOST: Final = 2**60
"""A quarter of what CP-SAT allows (2^62): a row may hold the same sum twice, on either side."""

Where = tuple[Key, ...]
Time = tuple[int, int]
"""(mean us, variance us^2)."""
Part = tuple[str, int]
"""``("steps", i)`` or ``("edges", e)`` of a scenario."""


class TooLarge(Exception):
    """`where` names the field with the largest part in a sum that may leave 64 bits."""

    def __init__(self, where: Where, what: str, total: int) -> None:
        super().__init__(f"{what} could reach {total:.1e}; expected numbers with which it stays below {MOST:.1e}")
        self.where = field_name(where)


@dataclass
class _Sum:
    """Adds up, and remembers its largest part."""

    what: str
    total: int = 0
    largest: int = -1
    where: Where = ()

    def add(self, value: int, *where: Key) -> None:
        if value > self.largest:
            self.largest, self.where = value, where
        self.total += value
        if self.total > MOST:
            raise TooLarge(self.where, self.what, self.total)


def check_sums(problem: Problem) -> None:
    """Raises TooLarge. Indices are within their ranges already."""
    groups = groups_of(problem, frozenset(range(len(problem.constraints))))  # of all relaxations, this has the most
    options = list(_options(problem, groups))
    edges = list(_edges(groups))
    _check_stations(problem, options)
    _check_servers(problem, options, edges)
    _check_cost(problem, options, edges)
    _check_times(problem, groups)


@dataclass(frozen=True, slots=True)
class _Placed:
    """An option and where it stands; `ways` is how many candidates it may become, one for each level of its station."""

    where: Where
    option: Option
    ways: int


def _options(problem: Problem, groups: Sequence[Group]) -> Iterator[_Placed]:
    for group in groups:
        for i, forms in enumerate(group.slots):
            for slot in forms:
                for o, option in enumerate(slot.step.options):
                    where = ("scenarios", slot.scenarios[0], "steps", i, "options", o)
                    yield _Placed(where, option, max(1, len(problem.stations[option.station].levels)))


def _edges(groups: Sequence[Group]) -> Iterator[tuple[Where, Transfer]]:
    for group in groups:
        for e, edge in enumerate(group.edges):
            for kind, transfers in (("transfers", edge.transfers), ("hops", edge.hops)):
                for t, transfer in enumerate(transfers):
                    yield ("scenarios", group.scenarios[0], "edges", e, kind, t), transfer


def _check_stations(problem: Problem, options: Sequence[_Placed]) -> None:
    """Loads of queues; cores and memory of what stands in a pool."""
    users = [0] * len(problem.stations)
    loads = [_Sum("the load of a station") for _ in problem.stations]
    for placed in options:
        users[placed.option.station] += 1
        loads[placed.option.station].add(placed.ways * placed.option.load_ppb, *placed.where, "load_ppb")
    cores = [_Sum("the cores of a pool") for _ in problem.pools]
    memory = [_Sum("the memory of a pool") for _ in problem.pools]
    for k, station in enumerate(problem.stations):
        at, pool = ("stations", k), problem.pools[station.pool]
        replicas = sum(level.replicas for level in station.levels) * max(1, users[k])
        for i, level in enumerate(station.levels):
            loads[k].add(level.load_ppb, *at, "levels", i, "load_ppb")
        cores[station.pool].add(replicas * station.threads, *at, "threads")
        memory[station.pool].add(max(1, replicas) * station.memory_kb, *at, "memory_kb")
        memory[station.pool].add(pool.memory_kb, "pools", station.pool, "memory_kb")
    for p, devices in enumerate(_devices(problem)):
        cores[p].add(devices * problem.pools[p].cores, "pools", p, "cores")
        memory[p].add(devices * problem.pools[p].memory_kb, "pools", p, "memory_kb")


def _devices(problem: Problem) -> list[int]:
    """By pool, the most devices that a model buys: one for each replica, where there is no maximum."""
    replicas = [1] * len(problem.pools)
    for station in problem.stations:
        replicas[station.pool] += max((level.replicas for level in station.levels), default=0)
    return [max(pool.minimum, n) for pool, n in zip(problem.pools, replicas, strict=True)]


def _check_servers(problem: Problem, options: Sequence[_Placed], edges: Sequence[tuple[Where, Transfer]]) -> None:
    """Loads and the test of the highest level."""
    loads = [_Sum("the load of a server") for _ in problem.servers]
    works = [_Sum("the work at a server") for _ in problem.servers]

    def visit(visits: Sequence[Visit], ways: int, where: Where) -> None:
        for v, one in enumerate(visits):
            wait = problem.servers[one.server].levels[-1].wait_us
            loads[one.server].add(ways * one.load_ppb, *where, "visits", v, "load_ppb")
            works[one.server].add(ways * one.work_ns, *where, "visits", v, "work_ns")
            waited = visit_ns(one, wait) - one.work_ns
            works[one.server].add(ways * waited, "servers", one.server, "levels", "wait_us")

    for placed in options:
        visit(placed.option.visits, placed.ways, placed.where)
    for where, transfer in edges:
        visit(transfer.visits, 1, where)
    for s, server in enumerate(problem.servers):
        works[s].add(1000 * server.levels[-1].wait_us, "servers", s, "levels", "wait_us")


def _check_cost(problem: Problem, options: Sequence[_Placed], edges: Sequence[tuple[Where, Transfer]]) -> None:
    cost = _Sum("the cost")
    for p, devices in enumerate(_devices(problem)):
        cost.add(devices * problem.pools[p].price, "pools", p, "price")
    for placed in options:
        cost.add(placed.ways * placed.option.cost, *placed.where, "cost")
    for where, transfer in edges:
        cost.add(transfer.cost, *where, "cost")


def _check_times(problem: Problem, groups: Sequence[Group]) -> None:
    """Means and variances along paths, and latencies as objectives."""
    latencies = [_Sum("a latency objective") for o in problem.objectives if o.kind == "latency"]
    waits = _Waits(
        [(sum(x.wait_us for x in s.levels), sum(x.wait_var for x in s.levels)) for s in problem.stations],
        [(sum(x.wait_us for x in s.levels), sum(x.wait_var for x in s.levels)) for s in problem.servers],
    )
    for group in groups:
        at = ("scenarios", group.scenarios[0])
        parts: dict[Part, Time] = {("steps", i): _step(problem, waits, forms) for i, forms in enumerate(group.slots)}
        parts |= {("edges", e): _edge(waits, edge) for e, edge in enumerate(group.edges)}

        def along(
            path: Path, parts: dict[Part, Time] = parts, at: Where = at, group: Group = group
        ) -> tuple[_Sum, _Sum]:
            sums = _Sum("the mean time along a path"), _Sum("the variance along a path")
            passed: list[Part] = [*(("steps", i) for i in path.steps), *(("edges", e) for e in path.edges)]
            for part in passed:
                for total, value, field in zip(sums, parts[part], ("mean_us", "var_us2"), strict=True):
                    total.add(value, *at, *part, *_longest(group, part, field), field)
            return sums

        for i, limit in enumerate(group.limits):
            given_away = _Sum("the excess of a limit")
            for s, shape in enumerate(limit.shapes):
                here = (*at, "limits", i, "shapes", s, "rows")
                for path in shape.paths:
                    most = [each.total for each in along(path)]
                    rows = _Sum("the mean times of rows"), _Sum("the variances of rows")
                    for r, row in enumerate(shape.rows):
                        rows[0].add(min(most[0], row.mean_us), *here, r, "mean_us")
                        rows[1].add(min(most[1], row.var_us2), *here, r, "var_us2")
                        given_away.add(row.excess_ppb, *here, r, "excess_ppb")
        for total, (m, shapes) in zip(latencies, enumerate(group.means), strict=True):
            for s, part_of in enumerate(shapes):
                for path in part_of.paths:  # of which only the slowest counts
                    mean, _ = along(path)
                    if mean.largest > part_of.weight:
                        _Sum(total.what).add(part_of.weight * mean.total, *mean.where)
                slowest = max((along(path)[0].total for path in part_of.paths), default=0)
                total.add(part_of.weight * slowest, *at, "means", m, s, "weight")


def _longest(group: Group, part: Part, field: str) -> Where:
    """The option or transfer of `part` that takes longest, as a place below it."""
    kind, i = part
    edge = group.edges[i] if kind == "edges" else None
    lists = {"transfers": edge.transfers, "hops": edge.hops} if edge else {"options": group.slots[i][0].step.options}
    found = [(getattr(item, field), name, n) for name, items in lists.items() for n, item in enumerate(items)]
    return max(found)[1:] if found else ()


@dataclass(frozen=True, slots=True)
class _Waits:
    """Sums over the levels of each station and server: in a model, each level is a term."""

    stations: Sequence[Time]
    servers: Sequence[Time]

    def of(self, visits: Sequence[Visit]) -> Time:
        at = [self.servers[v.server] for v in visits]
        return sum(m for m, _ in at), sum(v for _, v in at)


def _step(problem: Problem, waits: _Waits, forms: Sequence[Slot]) -> Time:
    """At most: every candidate's own time, and for each first task the longest wait."""
    mean = variance = 0
    longest: dict[int, Time] = {}
    for slot in forms:
        for option in slot.step.options:
            ways = max(1, len(problem.stations[option.station].levels))
            queued, served = waits.stations[option.station], waits.of(option.visits)
            mean += ways * option.mean_us + queued[0]
            variance += ways * option.var_us2 + queued[1]
            before = longest.get(option.first, (0, 0))
            longest[option.first] = (
                max(before[0], queued[0] + served[0]),
                max(before[1], queued[1] + served[1]),
            )
    return mean + sum(m for m, _ in longest.values()), variance + sum(v for _, v in longest.values())


def _edge(waits: _Waits, edge: Edge) -> Time:
    """At most: every transfer, and the waits of all hops, or of the transfer or the servers with the longest."""
    transfers = (*edge.transfers, *edge.hops)
    mean = edge.apart_us + sum(t.mean_us for t in transfers)
    variance = edge.apart_us2 + sum(t.var_us2 for t in transfers)
    each = [waits.of(t.visits) for t in transfers]
    servers = [waits.servers[s] for s in {v.server for t in transfers for v in t.visits}]
    pick = sum if edge.hops else max
    return (
        mean + max(pick([0, *(m for m, _ in each)]), sum(m for m, _ in servers)),
        variance + max(pick([0, *(v for _, v in each)]), sum(v for _, v in servers)),
    )

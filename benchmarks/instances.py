"""Random Problems of any size, made from a seed: one application on a tree of edge, base and cloud, or on a network.

An application is a random DAG of components of which one has two variants. Every component has at least 20 ways to run
in every pool, none of which another beats in mean, variance, memory and reserved cores; queue tables come from
planner/prediction/queueing.py, as in planner/formulation/. Devices are bought whole; memory and threads that do not
divide the cores make packing count. Base stations are too small for everything, and the limit is tight for what the
cloud adds.

`python -m benchmarks.instances FILE --kind tree --components 10 --sites 10 --seed 3` writes one as a Problem, for
`planner solve --problem FILE`.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from math import ceil, sqrt
from typing import Final, Literal, get_args

from planner.formulation.fan_out import Served
from planner.formulation.servers import WAIT_RATIO
from planner.formulation.stations import station_levels
from planner.moments import Moments
from planner.prediction.queueing import MAX_UTILISATION
from planner.prediction.tail import largest_variance
from planner.problem import (
    PPB,
    Budget,
    Constraint,
    Edge,
    End,
    Limit,
    LimitShape,
    MeanShape,
    Objective,
    Option,
    Path,
    Pool,
    Problem,
    Scenario,
    Server,
    Station,
    StationLevel,
    Step,
    TailRow,
    Transfer,
    Visit,
    WaitLevel,
)
from planner.problem.file import write_problem

Kind = Literal["tree", "network"]
MICRO: Final = 1_000_000
MAX_PATHS: Final = 24
MEANS: Final = 16


@dataclass(frozen=True, slots=True)
class Hardware:
    """`pace`: time beside the reference's. `devices` at most, price (a month) of each, `power` (price of a busy month).

    `time`: the device's executor runs one request at a time, on all of it.
    """

    cores: int
    memory_mb: int
    pace: float
    devices: int
    price: float
    power: float
    threads: tuple[int, ...]
    time: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """How large, and how tight: the limit is `slack` times what a quick placement with some waits needs.

    `by_use`: the cloud is paid by the core-second, else by whole devices as everything else.
    """

    kind: Kind
    components: int
    sites: int
    ways: int = 20
    slack: float = 1.1
    rate: float = 40.0
    by_use: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    ends: tuple[int, int]
    delay_us: int
    rate: float
    egress: float


EDGE, BASE, ACCELERATOR, CLOUD = "edge", "base", "accelerator", "cloud"


def hardware(shape: Shape) -> dict[str, Hardware]:
    """Devices by class. Base stations carry about half of the load together with the edge."""
    base = max(1, shape.components // 8)
    cloud = (0.0, 300.0) if shape.by_use else (42.0, 0.0)
    return {
        EDGE: Hardware(4, 1500, 3.0, 1, 9.0, 4.0, (1, 2, 3, 4)),
        BASE: Hardware(7, 3000, 1.2, base, 21.0, 6.0, (1, 2, 3, 5)),
        ACCELERATOR: Hardware(1, 8000, 0.35, 1, 60.0, 20.0, (1,), time=True),
        CLOUD: Hardware(10, 24000, 0.8, 4 + shape.components // 2, *cloud, (1, 2, 3, 4, 6)),
    }


def instance(shape: Shape, seed: int) -> Problem:
    """The Problem of `shape` and `seed`."""
    return _Maker(shape, random.Random(f"{shape} {seed}")).problem(seed)


class _Maker:
    def __init__(self, shape: Shape, draw: random.Random) -> None:
        self.shape, self.draw = shape, draw
        self.hardware = hardware(shape)
        self.constraints: list[Constraint] = []
        self.classes, self.links = self._tree() if shape.kind == "tree" else self._network()
        self.home = max(i for i, c in enumerate(self.classes) if c == EDGE)
        self.servers: list[tuple[str, int]] = []
        self.visits: list[list[Visit]] = []
        self.stations: list[Station] = []
        self.levels: dict[tuple[int, str, int], tuple[StationLevel, ...]] = {}

    def constraint(self, kind: Literal["path", "budget", "devices", "rate"], name: str) -> int:
        self.constraints.append(Constraint(kind, name, "generated", len(self.constraints) + 1))
        return len(self.constraints) - 1

    # The network

    def _tree(self) -> tuple[list[str], list[Link]]:
        """A cloud, base stations of which every third is an accelerator, and edges below them in turn."""
        bases = {10: 3, 17: 4, 73: 8, 100: 9}.get(self.shape.sites, max(1, round(sqrt(self.shape.sites))))
        classes = [CLOUD]
        links: list[Link] = []
        for b in range(bases):
            classes.append(ACCELERATOR if b % 3 == 1 else BASE)
            links.append(Link((b + 1, 0), self.draw.randint(9000, 16000), 60e6, 0.02))
        for e in range(self.shape.sites - 1 - bases):
            classes.append(EDGE)
            links.append(Link((len(classes) - 1, 1 + e % bases), self.draw.randint(2000, 5000), 8e6, 0.0))
        return classes, links

    def _network(self) -> tuple[list[str], list[Link]]:
        """Points in the plane, each joined to its three nearest: cycles, and several routes between most."""
        n = self.shape.sites
        classes = [CLOUD if i < 2 else ACCELERATOR if i % 12 == 5 else BASE if i % 4 == 2 else EDGE for i in range(n)]
        points = [(self.draw.random(), self.draw.random()) for _ in range(n)]

        def far(a: int, b: int) -> float:
            return sqrt(sum((x - y) ** 2 for x, y in zip(points[a], points[b], strict=True)))

        pairs: set[tuple[int, int]] = set()
        for a in range(n):
            from_here = partial(far, a)
            for b in sorted(range(n), key=from_here)[1:4]:
                pairs.add((max(a, b), min(a, b)))
            if a:
                pairs.add((a, min(range(a), key=from_here)))
        return classes, [
            Link((a, b), 1500 + round(30000 * far(a, b)), self.draw.choice([8e6, 20e6, 60e6]), 0.01)
            for a, b in sorted(pairs)
        ]

    # Servers

    def server(self, name: str, kind: Literal["devices", "rate"]) -> int:
        self.servers.append((name, self.constraint(kind, f"{name}.{kind}")))
        self.visits.append([])
        return len(self.servers) - 1

    def visit(self, server: int, service: Moments) -> Visit:
        rate = self.shape.rate
        visit = Visit(server, max(1, ceil(rate * service.second / 2 * 1e9)), max(1, ceil(rate * service.mean * PPB)))
        self.visits[server].append(visit)
        return visit

    def _server(self, index: int, limit_us: int) -> Server:
        name, constraint = self.servers[index]
        works = [v.work_ns for v in self.visits[index]]
        levels = [WaitLevel(0, 0)]
        if works:
            wait = max(1.0, min(works) / 1000, limit_us / 1000)
            high = min(2e6, sum(works) / 1000 / (1 - MAX_UTILISATION), max(limit_us, wait))
            while True:
                levels.append(WaitLevel(ceil(wait), ceil(ceil(wait) ** 2 * 1.6)))
                if wait >= high:
                    break
                wait *= WAIT_RATIO
        return Server(name, constraint, int(MAX_UTILISATION * PPB), tuple(levels))

    # The application

    def dag(self) -> tuple[list[tuple[int, int]], list[tuple[int, ...]]]:
        """Edges between components, and all paths: a random tree with joins, at most `MAX_PATHS` paths."""
        n = self.shape.components
        edges = {(max(0, i - self.draw.choice([1, 1, 1, 1, 2, 4])), i) for i in range(1, n)}
        leaves = [i for i in range(n - 1) if not any(a == i for a, _ in edges)]
        edges |= {(leaf, n - 1) for leaf in leaves[: MAX_PATHS - 1]}
        edges |= {(leaf, min(n - 1, leaf + 1)) for leaf in leaves[MAX_PATHS - 1 :]}
        edges = self._few_paths(edges, n)
        for _ in range(n // 5):
            a = self.draw.randrange(n - 1)
            more = edges | {(a, min(n - 1, a + self.draw.randint(2, 5)))}
            if len(_paths(more, n, MAX_PATHS + 1)) <= MAX_PATHS:
                edges = more
        return sorted(edges), _paths(edges, n, MAX_PATHS + 1)

    def _few_paths(self, edges: set[tuple[int, int]], n: int) -> set[tuple[int, int]]:
        """Without branches, from the last, until there are few paths: a node's predecessor becomes the one before."""
        for i in range(n - 1, 1, -1):
            if len(_paths(edges, n, MAX_PATHS + 1)) <= MAX_PATHS:
                break
            edges = {(a, b) for a, b in edges if b != i and not (a == i - 1 and b == n - 1)} | {(i - 1, i)}
        return edges

    def problem(self, seed: int) -> Problem:
        shape = self.shape
        path = self.constraint("path", "answer.p99")
        pools = [
            Pool(
                f"{name}{i}",
                "time" if h.time else "cores",
                self.constraint("devices", f"pool{i}.devices"),
                h.cores,
                h.memory_mb * 1000,
                int(i == self.home),
                h.devices,
                0 if i == self.home else round(h.price * MICRO),
            )
            for i, name in enumerate(self.classes)
            for h in [self.hardware[name]]
        ]
        executors = {i: self.server(f"pool{i}", "devices") for i, c in enumerate(self.classes) if self.hardware[c].time}
        work = [self.draw.lognormvariate(-4.3, 0.7) for _ in range(shape.components)]
        size = [self.draw.lognormvariate(8.5, 1.3) for _ in range(shape.components)]
        twofold = self.draw.randrange(shape.components)
        steps = [self.step(c, "", work[c], executors) for c in range(shape.components)]
        other = self.step(twofold, "/small", 0.7 * work[twofold], executors, extra=self.draw.uniform(0.5, 6.0))
        edges, ways = self.dag()
        ends = [End(-1, 0, self.home), *(End(i, 0, 0) for i in range(shape.components)), End(-1, 0, self.home)]
        joins = [(0, 1), *((a + 1, b + 1) for a, b in edges), (shape.components, shape.components + 1)]
        sizes = [6e4, *(size[a] for a, _ in edges), 800.0]
        passages = self._link_servers()
        messages = tuple(
            self.edge(f"{a}->{b}", ends[a], ends[b], bytes_, passages)
            for (a, b), bytes_ in zip(joins, sizes, strict=True)
        )
        number = {join: i for i, join in enumerate(joins)}
        paths = tuple(
            Path(
                way,
                (
                    number[0, 1],
                    *(number[a + 1, b + 1] for a, b in itertools.pairwise(way)),
                    number[joins[-1]],
                ),
            )
            for way in ways
        )
        limit = self._limit(steps, messages, paths)
        shape_of_limit = (LimitShape(paths, _rows(limit, 0.01 / len(paths))),)
        limits = (Limit(path, PPB // 100, shape_of_limit),)
        pair = [tuple(steps), tuple(other if i == twofold else s for i, s in enumerate(steps))]
        scenarios = tuple(
            Scenario(name, 0, (), chosen, messages, limits, ())
            for name, chosen in zip(("large", "small"), pair, strict=True)
        )
        return Problem(
            name=f"{shape.kind} {shape.components}x{shape.sites} #{seed}",
            constraints=tuple(self.constraints),
            sites=tuple(f"{c}{i}" for i, c in enumerate(self.classes)),
            flows=("camera",),
            members=(1,),
            pools=tuple(pools),
            servers=tuple(self._server(i, limit) for i in range(len(self.servers))),
            stations=tuple(self.stations),
            scenarios=scenarios,
            budgets=(),
            objectives=(Objective("cost", "cost"),),
        )

    def step(self, c: int, name: str, work: float, executors: Mapping[int, int], extra: float = 0.0) -> Step:
        options: list[Option] = []
        memory = self.draw.uniform(20, 160)
        for pool, kind in enumerate(self.classes):
            h = self.hardware[kind]
            for way, (threads, factor) in enumerate(self._ways(h)):
                mean = work * h.pace * factor / threads**0.75
                cv = 0.15 + 0.5 * (1.2 - factor) ** 2
                service = Moments(mean, mean**2 * (1 + cv**2), mean**3 * (1 + 3 * cv**2))
                load = max(1, ceil(self.shape.rate * mean * PPB))
                key = (c, kind + name, way)
                if not h.time and key not in self.levels:
                    self.levels[key] = station_levels(Served(service), [load])
                busy = self.shape.rate / 2 * mean * (1 if h.time else threads / h.cores)
                station = Station(
                    f"{c}{name} way {way} at {pool}",
                    pool,
                    threads,
                    ceil(memory * 1000 / factor**2 * (1 + 0.1 * threads)),
                    () if h.time else self.levels[key],
                )
                self.stations.append(station)
                visits = (self.visit(executors[pool], service),) if h.time else ()
                options.append(
                    Option(
                        len(self.stations) - 1,
                        pool,
                        0,
                        0,
                        ceil(mean * 1e6),
                        ceil(service.variance * 1e12),
                        load,
                        visits,
                        round((busy * h.power + extra) * MICRO),
                        (),
                    )
                )
        return Step(f"c{c}{name}", 1, tuple(options))

    def _ways(self, h: Hardware) -> list[tuple[int, float]]:
        """Threads and factors of the time: a smaller factor takes more memory, and is less even."""
        each = ceil(self.shape.ways / len(h.threads))
        return [(t, 0.7 + 0.5 * k / max(1, each - 1)) for t in h.threads for k in range(each)]

    # Messages

    def _link_servers(self) -> dict[tuple[int, int], int]:
        found: dict[tuple[int, int], int] = {}
        for link in self.links:
            a, b = link.ends
            found[a, b] = self.server(f"link{a}-{b}.up", "rate")
            found[b, a] = self.server(f"link{a}-{b}.down", "rate")
        return found

    def edge(
        self, name: str, producer: End, consumer: End, size: float, servers: Mapping[tuple[int, int], int]
    ) -> Edge:
        hops: dict[tuple[int, int], Transfer] = {}
        for link in self.links:
            for start, end in (link.ends, link.ends[::-1]):
                seconds = size / link.rate
                service = Moments(seconds, seconds**2 * 1.2, seconds**3 * 1.6)
                visit = self.visit(servers[start, end], service)
                paid = self.shape.rate / 2 * size * link.egress * 2.628e6 / 1e9
                mean, variance = ceil(seconds * 1e6) + link.delay_us, ceil(service.variance * 1e12) + 10**5
                hops[start, end] = Transfer(start, end, mean, variance, (visit,), round(paid * MICRO))
        if self.shape.kind == "tree":
            return Edge(name, producer, consumer, (), tuple(hops.values()), 300, 3600)
        return Edge(name, producer, consumer, tuple(self._routes(hops)))

    def _routes(self, hops: Mapping[tuple[int, int], Transfer]) -> Iterable[Transfer]:
        """One transfer for each two sites, by the route of least time."""
        leaving: dict[int, list[Transfer]] = {}
        for hop in hops.values():
            leaving.setdefault(hop.start, []).append(hop)
        for start in range(self.shape.sites):
            done: set[int] = set()
            heap = [(0, start, start, Transfer(start, start, 300, 3600, (), 0))]
            while heap:
                spent, site, _, so_far = heappop(heap)
                if site in done:
                    continue
                done.add(site)
                if site != start:
                    yield so_far
                for hop in leaving[site]:
                    if hop.end not in done:
                        heappush(heap, (spent + hop.mean_us, hop.end, site, _joined(so_far, hop)))

    # The limit

    def _limit(self, steps: list[Step], messages: tuple[Edge, ...], paths: tuple[Path, ...]) -> int:
        """`slack` times the slowest path if every component ran at its median speed in the cloud or at the base."""
        base = next(b for link in self.links for a, b in [link.ends] if a == self.home)
        table = {(t.start, t.end): t for t in messages[0].hops or messages[0].transfers}
        there = table[self.home, base].mean_us
        slowest = 0
        for path in paths:
            spent = 0
            for i in path.steps:
                at = sorted(o.mean_us for o in steps[i].options if self.classes[o.site] in (CLOUD, BASE))
                spent += at[len(at) // 4]
            slowest = max(slowest, spent)
        return round(self.shape.slack * (slowest + 2 * there + 10000))


def _joined(a: Transfer, b: Transfer) -> Transfer:
    return Transfer(
        a.start, b.end, a.mean_us + b.mean_us, a.var_us2 + b.var_us2, (*a.visits, *b.visits), a.cost + b.cost
    )


def _rows(limit_us: int, excess: float) -> tuple[TailRow, ...]:
    """The tail table of one path that may be late in a share `excess` of the requests."""
    rows: list[TailRow] = []
    for step in range(MEANS, 0, -1):
        mean = limit_us * step // MEANS
        variance = largest_variance(mean, limit_us, excess)
        if variance is not None and (not rows or int(variance) > rows[-1].var_us2):
            rows.append(TailRow(mean, int(variance), int(excess * PPB)))
    return tuple(rows)


def _paths(edges: set[tuple[int, int]], n: int, most: int) -> list[tuple[int, ...]]:
    """Paths from component 0 to the last, at most `most`."""
    after: dict[int, list[int]] = {}
    for a, b in sorted(edges):
        after.setdefault(a, []).append(b)
    found: list[tuple[int, ...]] = []
    todo: list[tuple[int, ...]] = [(0,)]
    while todo and len(found) < most:
        way = todo.pop()
        if way[-1] == n - 1:
            found.append(way)
        todo += [(*way, b) for b in after.get(way[-1], [])]
    return found


def with_latency(problem: Problem) -> Problem:
    """The same, with the mean latency as the second objective."""
    scenarios = tuple(replace(s, means=((MeanShape(MICRO, s.limits[0].shapes[0].paths),),)) for s in problem.scenarios)
    return replace(problem, scenarios=scenarios, objectives=(*problem.objectives, Objective("latency", "answer")))


def with_budget(problem: Problem, limit: int) -> Problem:
    """The same, at a cost of at most `limit` (ucur a month)."""
    named = Constraint("budget", "budget", "generated", len(problem.constraints) + 1)
    budget = Budget(len(problem.constraints), limit)
    return replace(problem, constraints=(*problem.constraints, named), budgets=(budget,))


def main() -> None:
    words = argparse.ArgumentParser(description="Write a random Problem.")
    words.add_argument("file")
    words.add_argument("--kind", choices=get_args(Kind), default="tree")
    words.add_argument("--components", type=int, default=10)
    words.add_argument("--sites", type=int, default=10)
    words.add_argument("--slack", type=float, default=1.25)
    words.add_argument("--seed", type=int, default=0)
    given = words.parse_args()
    shape = Shape(given.kind, given.components, given.sites, slack=given.slack)
    write_problem(instance(shape, given.seed), given.file)


if __name__ == "__main__":
    main()

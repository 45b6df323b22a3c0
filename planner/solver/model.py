"""The Problem as a linear model over booleans and bounded integers, which any integer solver could take.

docs/solver.md gives each constraint in mathematical notation under the name of the method that adds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from planner.problem import (
    LIMIT,
    Edge,
    End,
    Option,
    Path,
    Pool,
    Problem,
    Scenario,
    Server,
    Station,
    Step,
    Visit,
    visit_ns,
)
from planner.solver.packing import totals_suffice
from planner.solver.solution import Choice

Terms = list[tuple[int, int]]
"""(variable, coefficient) pairs, summed."""


@dataclass(frozen=True, slots=True)
class Row:
    """`low` <= sum of `terms` <= `high`, if the literal `when` is true (None: always)."""

    terms: tuple[tuple[int, int], ...]
    low: int | None
    high: int | None
    when: int | None = None


@dataclass
class Model:
    """Variables are indices into `domains`. `impossible` says that something has no way to hold at all."""

    domains: list[tuple[int, int]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    one_of: list[tuple[int, ...]] = field(default_factory=list)
    objectives: list[Terms] = field(default_factory=list)
    impossible: bool = False
    taken: dict[int, int] = field(default_factory=dict)
    picked: dict[tuple[int, int, int], int] = field(default_factory=dict)
    level: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def integer(self, low: int, high: int) -> int:
        self.domains.append((low, high))
        return len(self.domains) - 1

    def boolean(self) -> int:
        return self.integer(0, 1)

    def add(self, terms: Terms, low: int | None, high: int | None, when: int | None = None) -> None:
        summed: dict[int, int] = {}
        for variable, factor in terms:
            summed[variable] = summed.get(variable, 0) + factor
        self.rows.append(Row(tuple((v, f) for v, f in summed.items() if f), low, high, when))

    def most(self, terms: Terms) -> int:
        """The largest value that the sum can have."""
        return sum(f * (self.domains[v][1] if f > 0 else self.domains[v][0]) for v, f in terms)


def build(problem: Problem, relaxed: frozenset[int] = frozenset()) -> Model:
    """The model of `problem` without the constraints in `relaxed`."""
    return _Builder(problem, relaxed).build()


def read_choice(problem: Problem, model: Model, values: Sequence[int]) -> Choice:
    """The choice that an assignment of values to the model's variables stands for."""
    scenarios = [
        next(s for s, v in model.taken.items() if values[v] and problem.scenarios[s].flow == f)
        for f in range(len(problem.flows))
    ]
    options = tuple(
        tuple(_picked(problem, model, values, s, i) for i in range(len(problem.scenarios[s].steps))) for s in scenarios
    )
    used = {
        problem.scenarios[s].steps[i].options[o].station
        for s, flow in zip(scenarios, options, strict=True)
        for i, step in enumerate(flow)
        for o in step
    }
    replicas = tuple(_replicas(problem, model, values, k) if k in used else 0 for k in range(len(problem.stations)))
    return Choice(tuple(scenarios), options, problem.members, replicas)


def _picked(problem: Problem, model: Model, values: Sequence[int], s: int, i: int) -> tuple[int, ...]:
    """The options chosen in a step, in the order of their tasks."""
    chosen = [o for (in_s, in_i, o), v in model.picked.items() if (in_s, in_i) == (s, i) and values[v]]
    return tuple(sorted(chosen, key=lambda o: problem.scenarios[s].steps[i].options[o].first))


def _replicas(problem: Problem, model: Model, values: Sequence[int], station: int) -> int:
    levels = problem.stations[station].levels
    return next((levels[k].replicas for v, k in model.level[station] if values[v]), 1) if levels else 1


@dataclass
class _Builder:
    problem: Problem
    relaxed: frozenset[int]
    model: Model = field(default_factory=Model)
    users: dict[int, Terms] = field(default_factory=dict)
    visitors: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    server_levels: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    crossing: dict[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict)
    wait_of: dict[tuple[str, int, int, int], tuple[int, int]] = field(default_factory=dict)
    cost: Terms = field(default_factory=list)

    def build(self) -> Model:
        live = [s for s, scenario in enumerate(self.problem.scenarios) if self._live(scenario)]
        for flow in range(len(self.problem.flows)):
            ours = [s for s in live if self.problem.scenarios[s].flow == flow]
            if not ours:
                self.model.impossible = True
                return self.model
            for s in ours:
                self.model.taken[s] = self.model.boolean()
            self.model.one_of.append(tuple(self.model.taken[s] for s in ours))
        for s in live:
            self._cover(s)
            self._cross(s)
        self._stations()
        self._pools()
        self._servers()
        latencies: list[Terms] = [[] for o in self.problem.objectives if o.kind == "latency"]
        for s in live:
            self._waits(s)
            self._limits(s)
            for i, terms in enumerate(self._means(s)):
                latencies[i] += terms
        for budget in self.problem.budgets:
            if budget.constraint not in self.relaxed:
                self.model.add(self.cost, None, budget.limit)
        rest = iter(latencies)
        self.model.objectives = [self.cost if o.kind == "cost" else next(rest) for o in self.problem.objectives]
        return self.model

    def _allowed(self, barred: Iterable[int]) -> bool:
        return all(c in self.relaxed for c in barred)

    def _live(self, scenario: Scenario) -> bool:
        """Whether the scenario is allowed, and each of its tasks has an option that is."""

        def covered(step: Step) -> bool:
            tasks = {t for o in step.options if self._allowed(o.barred) for t in range(o.first, o.last + 1)}
            return len(tasks) == step.tasks

        return self._allowed(scenario.barred) and all(covered(step) for step in scenario.steps)

    def _cover(self, s: int) -> None:
        """Every task of a scenario that is taken is covered by exactly one option."""
        taken = self.model.taken[s]
        for i, step in enumerate(self.problem.scenarios[s].steps):
            for o, option in enumerate(step.options):
                if self._allowed(option.barred):
                    x = self.model.picked[s, i, o] = self.model.boolean()
                    self.users.setdefault(option.station, []).append((x, option.load_ppb))
                    self.cost.append((x, option.cost))
                    for visit in option.visits:
                        self.visitors.setdefault(visit.server, []).append((x, visit.work_ns, visit.load_ppb))
            for task in range(step.tasks):
                terms: Terms = [(x, 1) for x, _ in self._covering(s, i, task)]
                self.model.add([*terms, (taken, -1)], 0, 0)

    def _covering(self, s: int, step: int, task: int) -> list[tuple[int, Option]]:
        options = self.problem.scenarios[s].steps[step].options
        return [
            (self.model.picked[s, step, o], option)
            for o, option in enumerate(options)
            if (s, step, o) in self.model.picked and option.first <= task <= option.last
        ]

    def _places(self, s: int, end: End) -> dict[int, Terms]:
        """By site, the sum that is 1 if that end of a message is there."""
        if end.step < 0:
            return {end.site: [(self.model.taken[s], 1)]}
        found: dict[int, Terms] = {}
        for x, option in self._covering(s, end.step, end.task):
            found.setdefault(option.site, []).append((x, 1))
        return found

    def _cross(self, s: int) -> None:
        """One boolean for each pair of sites between which a message may pass; the two ends agree with the pair."""
        for e, edge in enumerate(self.problem.scenarios[s].edges):
            starts, ends = self._places(s, edge.producer), self._places(s, edge.consumer)
            pairs = {(a, a): -1 for a in starts if a in ends}
            pairs |= {(t.start, t.end): i for i, t in enumerate(edge.transfers) if t.start in starts and t.end in ends}
            used = {pair: self.model.boolean() for pair in pairs}
            for site, terms in starts.items():
                out: Terms = [(z, -1) for (a, _), z in used.items() if a == site]
                self.model.add([*terms, *out], 0, 0)
            for site, terms in ends.items():
                into: Terms = [(z, -1) for (_, b), z in used.items() if b == site]
                self.model.add([*terms, *into], 0, 0)
            self._charge(s, e, edge, [(used[pair], i) for pair, i in pairs.items() if i >= 0])

    def _charge(self, s: int, e: int, edge: Edge, crossing: list[tuple[int, int]]) -> None:
        self.crossing[s, e] = crossing
        for z, i in crossing:
            transfer = edge.transfers[i]
            self.cost.append((z, transfer.cost))
            for visit in transfer.visits:
                self.visitors.setdefault(visit.server, []).append((z, visit.work_ns, visit.load_ppb))

    def _stations(self) -> None:
        """One level of a station in use, none of one that is not; the level carries the load."""
        for k, users in self.users.items():
            station = self.problem.stations[k]
            if not station.levels:
                continue
            levels = [(self.model.boolean(), i) for i in range(len(station.levels))]
            self.model.level[k] = levels
            chosen: Terms = [(v, 1) for v, _ in levels]
            self.model.add(chosen, 0, 1)
            carried: Terms = [(v, -station.levels[i].load_ppb) for v, i in levels]
            self.model.add([*users, *carried], None, 0)
            self.model.add([*chosen, *((x, -1) for x, _ in users)], None, 0)
            for x, _ in users:
                self.model.add([*chosen, (x, -1)], 0, None)

    def _pools(self) -> None:
        for index, pool in enumerate(self.problem.pools):
            here = [(k, s) for k, s in enumerate(self.problem.stations) if s.pool == index and k in self.users]
            if pool.sharing == "time":
                self._time_pool(pool, here)
            else:
                self._cores_pool(pool, here)

    def _time_pool(self, pool: Pool, here: list[tuple[int, Station]]) -> None:
        """One device for all; each station in use takes its memory once."""
        unlimited = pool.constraint in self.relaxed
        bought = self.model.integer(pool.minimum, max(pool.minimum, 1 if here and unlimited else pool.maximum))
        self.cost.append((bought, pool.price))
        memory: Terms = []
        for k, station in here:
            used = self.model.boolean()
            for x, _ in self.users[k]:
                self.model.add([(used, 1), (x, -1)], 0, None)
            self.model.add([(bought, 1), (used, -1)], 0, None)
            memory.append((used, station.memory_kb))
        if memory and not unlimited:
            self.model.add(memory, None, pool.memory_kb)

    def _cores_pool(self, pool: Pool, here: list[tuple[int, Station]]) -> None:
        """Replicas stand on devices: by totals where that is exact, else device by device."""
        useful = sum(max(level.replicas for level in s.levels) for _, s in here)
        unlimited = pool.constraint in self.relaxed
        most = useful if unlimited else min(pool.maximum, useful)
        bought = self.model.integer(pool.minimum, max(pool.minimum, most))
        self.cost.append((bought, pool.price))
        if not here:
            return
        replicas = {k: [(v, s.levels[i].replicas) for v, i in self.model.level[k]] for k, s in here}
        cores: Terms = [(v, r * s.threads) for k, s in here for v, r in replicas[k]]
        memory: Terms = [(v, r * s.memory_kb) for k, s in here for v, r in replicas[k]]
        self.model.add([*cores, (bought, -pool.cores)], None, 0)
        together = pool.cores // min(s.threads for _, s in here)
        memory_free = together * max(s.memory_kb for _, s in here) <= pool.memory_kb
        if not memory_free:
            self.model.add([*memory, (bought, -pool.memory_kb)], None, 0)
        if not memory_free or not totals_suffice([s.threads for _, s in here], pool.cores):
            self._pack(pool, here, replicas, bought, most)

    def _pack(
        self, pool: Pool, here: list[tuple[int, Station]], replicas: Mapping[int, Terms], bought: int, most: int
    ) -> None:
        """Every replica stands on one of the devices, which are filled in order."""
        stands: dict[int, Terms] = {k: [] for k, _ in here}
        opened: list[int] = []
        for _ in range(most):
            is_open = self.model.boolean()
            cores: Terms = []
            memory: Terms = []
            for k, station in here:
                fit = min(pool.cores // station.threads, pool.memory_kb // max(1, station.memory_kb))
                n = self.model.integer(0, fit)
                stands[k].append((n, 1))
                cores.append((n, station.threads))
                memory.append((n, station.memory_kb))
            self.model.add([*cores, (is_open, -pool.cores)], None, 0)
            self.model.add([*memory, (is_open, -pool.memory_kb)], None, 0)
            if opened:
                self.model.add([(opened[-1], 1), (is_open, -1)], 0, None)
            opened.append(is_open)
        self.model.add([*((v, 1) for v in opened), (bought, -1)], None, 0)
        for k, _ in here:
            self.model.add([*stands[k], *((v, -r) for v, r in replicas[k])], 0, 0)

    def _servers(self) -> None:
        """One level of wait for each server that is visited, if the level's test holds."""
        for index, visits in self.visitors.items():
            server = self.problem.servers[index]
            if server.constraint in self.relaxed:
                continue
            levels = [(self.model.boolean(), k) for k in range(len(server.levels))]
            self.server_levels[index] = levels
            self.model.one_of.append(tuple(v for v, _ in levels))
            self.model.add([(x, load) for x, _, load in visits], None, server.max_load)
            for v, k in levels:
                self._test(server, k, v, visits)

    def _test(self, server: Server, k: int, chosen: int, visits: list[tuple[int, int, int]]) -> None:
        wait = server.levels[k].wait_us
        self.model.add(
            [(x, visit_ns(Visit(0, w, load), wait)) for x, w, load in visits], None, 1000 * wait, when=chosen
        )

    def _waits(self, s: int) -> None:
        """The wait of each step (by its option's first task) and edge is at least that of what is chosen there."""
        scenario = self.problem.scenarios[s]
        for i, step in enumerate(scenario.steps):
            for o, option in enumerate(step.options):
                if (s, i, o) in self.model.picked:
                    mean, variance = self._wait(option.station, [v.server for v in option.visits])
                    self._at_least("step", s, i, option.first, self.model.picked[s, i, o], mean, variance)
        for e, edge in enumerate(scenario.edges):
            for z, t in self.crossing[s, e]:
                mean, variance = self._wait(None, [v.server for v in edge.transfers[t].visits])
                self._at_least("edge", s, e, 0, z, mean, variance)

    def _wait(self, station: int | None, servers: list[int]) -> tuple[Terms, Terms]:
        mean: Terms = []
        variance: Terms = []
        if station is not None and station in self.model.level:
            for v, k in self.model.level[station]:
                level = self.problem.stations[station].levels[k]
                mean.append((v, level.wait_us))
                variance.append((v, level.wait_var))
        for index in servers:
            for v, k in self.server_levels.get(index, []):
                mean.append((v, self.problem.servers[index].levels[k].wait_us))
                variance.append((v, self.problem.servers[index].levels[k].wait_var))
        return mean, variance

    def _at_least(self, kind: str, s: int, i: int, first: int, x: int, mean: Terms, variance: Terms) -> None:
        if not any(f for _, f in (*mean, *variance)):
            return
        key = (kind, s, i, first)
        if key not in self.wait_of:
            self.wait_of[key] = (self.model.integer(0, 0), self.model.integer(0, 0))
        for variable, terms in zip(self.wait_of[key], (mean, variance), strict=True):
            most = min(LIMIT, self.model.most(terms))
            self.model.domains[variable] = (0, max(self.model.domains[variable][1], most))
            self.model.add([(variable, 1), *((v, -f) for v, f in terms)], 0, None, when=x)

    def _path(self, s: int, path: Path) -> tuple[Terms, Terms]:
        """The mean and the variance of a path's time."""
        scenario = self.problem.scenarios[s]
        mean: Terms = []
        variance: Terms = []
        keys: list[tuple[str, int, int, int]] = []
        for i in path.steps:
            for o, option in enumerate(scenario.steps[i].options):
                if (s, i, o) in self.model.picked:
                    x = self.model.picked[s, i, o]
                    mean.append((x, option.mean_us))
                    variance.append((x, option.var_us2))
            keys += [("step", s, i, first) for first in range(scenario.steps[i].tasks)]
        for e in path.edges:
            for z, t in self.crossing[s, e]:
                mean.append((z, scenario.edges[e].transfers[t].mean_us))
                variance.append((z, scenario.edges[e].transfers[t].var_us2))
            keys.append(("edge", s, e, 0))
        for key in keys:
            if key in self.wait_of:
                mean.append((self.wait_of[key][0], 1))
                variance.append((self.wait_of[key][1], 1))
        return mean, variance

    def _limits(self, s: int) -> None:
        """Each path of each branch pattern takes one row of its table; what the rows give away is bounded."""
        for limit in self.problem.scenarios[s].limits:
            if limit.constraint in self.relaxed:
                continue
            given_away: Terms = []
            for shape in limit.shapes:
                for path in shape.paths:
                    mean, variance = self._path(s, path)
                    most = (self.model.most(mean), self.model.most(variance))
                    rows = [(self.model.boolean(), row) for row in shape.rows]
                    self.model.add([*((v, 1) for v, _ in rows), (self.model.taken[s], -1)], 0, 0)
                    self.model.add([*mean, *((v, -min(most[0], r.mean_us)) for v, r in rows)], None, 0)
                    self.model.add([*variance, *((v, -min(most[1], r.var_us2)) for v, r in rows)], None, 0)
                    given_away += [(v, row.excess_ppb) for v, row in rows]
            self.model.add(given_away, None, limit.allowed_ppb)

    def _means(self, s: int) -> list[Terms]:
        """By latency objective, its terms: a branch pattern counts with its slowest path."""
        found: list[Terms] = []
        for shapes in self.problem.scenarios[s].means:
            terms: Terms = []
            for shape in shapes:
                means = [self._path(s, path)[0] for path in shape.paths]
                if len(means) == 1:
                    terms += [(v, f * shape.weight) for v, f in means[0]]
                elif means:
                    slowest = self.model.integer(0, max(self.model.most(m) for m in means))
                    for mean in means:
                        self.model.add([(slowest, 1), *((v, -f) for v, f in mean)], 0, None)
                    terms.append((slowest, shape.weight))
            found.append(terms)
        return found

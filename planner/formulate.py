"""From a Situation to the Problem: options, queues and tables. See docs/solver.md for what the numbers mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import ceil
from typing import Final

from planner.network import Passage
from planner.pipeline import Message, Node, Pipeline, Shape, relevant
from planner.problem import (
    LIMIT,
    PPB,
    Budget,
    Constraint,
    ConstraintKind,
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
    Transfer,
    Visit,
    WaitLevel,
)
from planner.queueing import MAX_UTILISATION, Moments, many_servers
from planner.situation import Situation, segment_of
from planner.tail import tail_rows
from specs.application import (
    AccuracyConstraint,
    CostConstraint,
    LatencyObjective,
    PathConstraint,
    ResidencyConstraint,
)
from specs.artefact import Segment
from specs.behaviour import Behaviour
from specs.errors import InputError, Issue, Place
from specs.infrastructure import Hardware
from specs.infrastructure import Pool as PoolSpec
from specs.profile import Record
from specs.quantities import HOURS_PER_MONTH
from specs.selector import matching_sites

MICRO: Final = 1_000_000
SECONDS_PER_MONTH: Final = HOURS_PER_MONTH * 3600
WAIT_RATIO: Final = 1.4
"""Between a server's wait levels; waits are rounded up to the next level."""
FINE: Final = 1000
"""Waits shorter than the tightest limit divided by this are not told apart."""
SPARE_REPLICAS: Final = 4
"""How many replicas beyond the fewest that carry the load are considered, while they still shorten the wait."""
LOAD_STEPS: Final = 12
UNLIMITED_KB: Final = 10**12


@dataclass(frozen=True, slots=True)
class StationKey:
    """What a station of the Problem stands for."""

    component: str
    variant: str
    segment: Segment
    site: str
    pool: str
    record: Record


@dataclass(frozen=True, slots=True)
class Formulation:
    """The Problem, and what its indices mean. `scenarios` has a pipeline for each scenario."""

    problem: Problem
    stations: tuple[StationKey, ...]
    pools: tuple[tuple[str, str], ...]
    scenarios: tuple[Pipeline, ...]


def formulate(situation: Situation) -> Problem:
    """The Problem of `situation`: the numbers alone. Raises as `formulation` does."""
    return formulation(situation).problem


def formulation(situation: Situation, limits: Mapping[str, float] | None = None) -> Formulation:
    """The Problem of `situation` and what it means. `limits` replaces path limits (seconds) by constraint name, such
    as ``answer.p99``.

    Raises InputError for what is not supported yet, and where a message has no route.
    """
    return _Builder(situation, dict(limits or {})).build()


@dataclass
class _Builder:
    """Collects the tables while the scenarios are walked through; `build` freezes them."""

    situation: Situation
    limits: dict[str, float]
    constraints: list[Constraint] = field(default_factory=list)
    constraint_of: dict[str, int] = field(default_factory=dict)
    servers: list[tuple[str, int]] = field(default_factory=list)
    server_of: dict[tuple[str, ...], int] = field(default_factory=dict)
    visits_at: dict[int, list[tuple[Visit, float]]] = field(default_factory=dict)
    pools: list[Pool] = field(default_factory=list)
    pool_of: dict[tuple[str, str], int] = field(default_factory=dict)
    stations: list[StationKey] = field(default_factory=list)
    station_of: dict[tuple[str, str, str, int, str, int], int] = field(default_factory=dict)
    loads_at: dict[int, dict[int, set[int]]] = field(default_factory=dict)

    def build(self) -> Formulation:
        situation = self.situation
        app = situation.app.value
        names = tuple(situation.infra.value.sites)
        self._user_constraints()
        for site in names:
            for pool in situation.infra.value.sites[site].pools:
                self._pool(site, pool)
        pipelines: list[Pipeline] = []
        scenarios: list[Scenario] = []
        for f, flow in enumerate(situation.flows):
            for behaviour in _distinct(situation, flow.components):
                pipeline = Pipeline(situation, flow, behaviour)
                scenarios.append(self._scenario(f, pipeline))
                pipelines.append(pipeline)
        objectives = tuple(
            Objective("latency", t.latency) if isinstance(t, LatencyObjective) else Objective("cost", "cost")
            for t in app.objective
            if isinstance(t, LatencyObjective) or self._is_cost(t)
        )
        problem = Problem(
            name=app.name,
            constraints=tuple(self.constraints),
            sites=names,
            flows=tuple(flow.name for flow in situation.flows),
            members=tuple(flow.members for flow in situation.flows),
            pools=tuple(self.pools),
            servers=tuple(self._server(i) for i in range(len(self.servers))),
            stations=tuple(self._station(i) for i in range(len(self.stations))),
            scenarios=tuple(scenarios),
            budgets=tuple(
                Budget(self.constraint_of[name], int(c.cost * HOURS_PER_MONTH * MICRO + 1e-6))
                for name, c in app.constraints.items()
                if isinstance(c, CostConstraint)
            ),
            objectives=objectives,
        )
        return Formulation(problem, tuple(self.stations), tuple(self.pool_of), tuple(pipelines))

    def _is_cost(self, term: str) -> bool:
        if term != "cost":
            raise InputError(Issue(f"not supported yet: objective {term!r}", self.situation.app.place("objective")))
        return True

    # Constraints and capacities by name

    def _name(self, kind: ConstraintKind, name: str, place: Place) -> int:
        if name not in self.constraint_of:
            self.constraint_of[name] = len(self.constraints)
            self.constraints.append(Constraint(kind, name, place.file, place.line))
        return self.constraint_of[name]

    def _user_constraints(self) -> None:
        app = self.situation.app
        for name, constraint in app.value.constraints.items():
            place = app.place("constraints", name)
            if isinstance(constraint, PathConstraint):
                for q in constraint.limits:
                    self._name("path", limit_name(name, q), app.place("constraints", name, f"p{q * 100:.0f}"))
            elif isinstance(constraint, CostConstraint):
                self._name("budget", name, place)
            elif isinstance(constraint, AccuracyConstraint):
                self._name("accuracy", name, place)
            elif isinstance(constraint, ResidencyConstraint):
                self._name("residency", name, place)
            else:
                raise InputError(Issue(f"not supported yet: constraint {name!r} of this kind", place))

    # Pools

    def _pool(self, site: str, name: str) -> None:
        infra = self.situation.infra
        spec = infra.value.sites[site].pools[name]
        place = infra.place("sites", site, "pools", name, "devices")
        hardware = infra.value.hardware[spec.hardware]
        if hardware.sharing == "time" and spec.devices[1] > 1:
            message = "not supported yet: more than one device in a pool whose hardware shares time"
            raise InputError(Issue(message, place))
        constraint = self._name("devices", f"sites.{site}.pools.{name}.devices", place)
        members = infra.value.members(site)
        self.pool_of[site, name] = len(self.pools)
        self.pools.append(
            Pool(
                name=f"{site}.{name}",
                sharing=hardware.sharing,
                constraint=constraint,
                cores=hardware.cores,
                memory_kb=UNLIMITED_KB if hardware.memory is None else int(hardware.memory / 1000),
                minimum=spec.devices[0],
                maximum=spec.devices[1],
                price=round(device_price(self.situation, site, spec, hardware) * members * MICRO),
            )
        )
        if hardware.sharing == "time":
            self._server_index(("pool", site, name), f"{site}.{name}", constraint)

    def _server_index(self, key: tuple[str, ...], name: str, constraint: int) -> int:
        if key not in self.server_of:
            self.server_of[key] = len(self.servers)
            self.servers.append((name, constraint))
        return self.server_of[key]

    def _visit(self, server: int, rate: float, service: Moments) -> Visit:
        name, constraint = self.servers[server]
        place = Place(self.constraints[constraint].file, self.constraints[constraint].line)
        work, load = (sayable(x, name, place) for x in (rate * service.second / 2 * 1e9, rate * service.mean * PPB))
        visit = Visit(server, max(1, work), max(1, load))
        spread = service.third / service.second if service.second > 0 else 0.0
        self.visits_at.setdefault(server, []).append((visit, spread))
        return visit

    def _server(self, index: int) -> Server:
        """Levels of the wait w rise by `WAIT_RATIO`. Var = w^2 + (2/3) w S with S the largest E[S^3]/E[S^2] of its
        visits: E[W^2] = 2 w^2 + sum(l E[S^3]) / (3 (1-r)), and sum(l E[S^3]) <= S sum(l E[S^2]) = S 2 w (1-r).
        """
        name, constraint = self.servers[index]
        visits = self.visits_at.get(index, [])
        levels = [WaitLevel(0, 0)]
        if visits:
            worst = max(spread for _, spread in visits)
            fine = min((limit for limit in self._all_limits()), default=1.0) / FINE
            high = min(60.0, sum(v.work_ns for v, _ in visits) * 1e-9 / (1 - MAX_UTILISATION))
            wait = max(1e-6, min(high, max(fine, min(v.work_ns for v, _ in visits) * 1e-9)))
            while True:
                rounded = ceil(wait * 1e6)
                variance = ceil(((rounded * 1e-6) ** 2 + 2 / 3 * worst * rounded * 1e-6) * 1e12)
                if variance > LIMIT:
                    break  # a longer wait than a Problem can say is not promised
                levels.append(WaitLevel(rounded, variance))
                if wait >= high:
                    break
                wait *= WAIT_RATIO
        return Server(name, constraint, int(MAX_UTILISATION * PPB), tuple(levels))

    def _all_limits(self) -> list[float]:
        found = [c for c in self.situation.app.value.constraints.values() if isinstance(c, PathConstraint)]
        return [limit for c in found for limit in c.limits.values()]

    # Stations

    def _station_index(self, key: StationKey) -> int:
        pool = self.pool_of[key.site, key.pool]
        record = key.record
        known = (key.component, key.variant, str(key.segment), pool, record.backend, record.threads)
        if known not in self.station_of:
            self.station_of[known] = len(self.stations)
            self.stations.append(key)
        return self.station_of[known]

    def _station(self, index: int) -> Station:
        key = self.stations[index]
        pool = self.pool_of[key.site, key.pool]
        record = key.record
        levels: tuple[StationLevel, ...] = ()
        if self.pools[pool].sharing == "cores":
            levels = station_levels(moments(record), _sums(self.loads_at[index]))
        name = (
            f"{key.component}/{key.variant} {key.segment} {record.backend} x{record.threads} at {key.site}.{key.pool}"
        )
        return Station(name[:400], pool, record.threads, ceil(record.memory / 1000), levels)

    # Scenarios

    def _scenario(self, index: int, pipeline: Pipeline) -> Scenario:
        flow, variants = pipeline.flow, pipeline.variants
        steps = tuple(self._step(index, pipeline, c) for c in flow.components)
        for step in steps:
            self._refuse_unreachable(pipeline, step)
        edges = tuple(self._edge(pipeline, m, steps) for m in pipeline.messages)
        self._refuse_meeting(pipeline, steps)
        named = [
            f"{c}={v}" for c, v in variants.items() if len(self.situation.app.value.components[c].realisations) > 1
        ]
        return Scenario(
            name=f"{flow.name} {' '.join(named) or 'default'}"[:400],
            flow=index,
            barred=self._scenario_barred(pipeline),
            steps=steps,
            edges=edges,
            limits=self._limits(pipeline),
            means=self._means(pipeline),
        )

    def _scenario_barred(self, pipeline: Pipeline) -> tuple[int, ...]:
        """Constraints that this combination breaks wherever it runs: accuracy, and sinks that data must not reach."""
        app = self.situation.app
        barred: list[int] = []
        for name, c in app.value.constraints.items():
            if isinstance(c, AccuracyConstraint):
                found = [a for a in pipeline.behaviour.accuracy if a.data == c.on]
                if not found:
                    message = f"accuracy on {c.on!r} is not in the behaviour"
                    raise InputError(Issue(message, app.place("constraints", name), "profile again with labelled data"))
                if found[0].value < c.accuracy:
                    barred.append(self.constraint_of[name])
            elif isinstance(c, ResidencyConstraint):
                reached = self._derived(c.value) & set(pipeline.flow.sinks)
                if reached and pipeline.flow.site not in matching_sites(c.only_at, self.situation.infra.value):
                    barred.append(self.constraint_of[name])
        return tuple(barred)

    def _derived(self, value: str) -> set[str]:
        """Components and sinks that take `value` or anything derived from it that was not released."""
        app, graph = self.situation.app.value, self.situation.graph
        producer, output = value.split(".")
        takers = {e.consumer for e in graph.edges if e.producer == producer and output in e.outputs}
        todo, seen = list(takers), set(takers)
        while todo:
            node = todo.pop()
            if node in app.components and not app.components[node].release:
                new = {e.consumer for e in graph.consumers(node)} - seen
                seen |= new
                todo += new
        return seen

    def _option_barred(self, component: str, site: str) -> tuple[int, ...]:
        app, infra = self.situation.app, self.situation.infra.value
        barred: list[int] = []
        pin = app.value.components[component].at
        if pin is not None and site not in matching_sites(pin, infra):
            barred.append(self._name("pin", f"components.{component}.at", app.place("components", component, "at")))
        for name, c in app.value.constraints.items():
            if not isinstance(c, ResidencyConstraint) or component not in self._derived(c.value):
                continue
            if site not in matching_sites(c.only_at, infra):
                barred.append(self.constraint_of[name])
        return tuple(barred)

    def _step(self, f: int, pipeline: Pipeline, component: str) -> Step:
        infra = self.situation.infra.value
        tasks = pipeline.tasks[component]
        options: list[Option] = []
        for site in self.situation.network.sites_of(pipeline.flow.site):
            barred = self._option_barred(component, site)
            for name, spec in infra.sites[site].pools.items():
                if spec.devices[1] > 0:
                    for first, last in product(range(tasks), repeat=2):
                        if first <= last:
                            options += self._options(f, pipeline, component, site, name, first, last, barred)
        return Step(component, tasks, tuple(options))

    def _options(
        self,
        f: int,
        pipeline: Pipeline,
        component: str,
        site: str,
        name: str,
        first: int,
        last: int,
        barred: tuple[int, ...],
    ) -> Iterable[Option]:
        """The undominated ways to run one segment in one pool."""
        situation, flow = self.situation, pipeline.flow
        infra = situation.infra.value
        spec = infra.sites[site].pools[name]
        hardware = infra.hardware[spec.hardware]
        pool = self.pools[self.pool_of[site, name]]
        variant = pipeline.variants[component]
        segment = segment_of(situation.cuts(component, variant), first, last)
        share = pipeline.share(component)
        rate = flow.peak * share * flow.members / infra.members(site)
        for record in undominated(situation.records_of(component, variant, segment, spec.hardware), pool):
            service = moments(record)
            station = self._station_index(StationKey(component, variant, segment, site, name, record))
            load = max(1, ceil(rate * service.mean * PPB))
            visits: tuple[Visit, ...] = ()
            used = service.mean
            if pool.sharing == "time":
                server = self.server_of["pool", site, name]
                visits = (self._visit(server, rate, service),)
            else:
                used *= record.threads / hardware.cores
                self.loads_at.setdefault(station, {}).setdefault(f, set()).add(load)
            busy = flow.mean * share * used * flow.members
            what = f"{component}/{variant} on {spec.hardware}"
            place = situation.app.place("components", component)
            yield Option(
                station=station,
                site=list(infra.sites).index(site),
                first=first,
                last=last,
                mean_us=sayable(service.mean * 1e6, what, place),
                var_us2=sayable(service.variance * 1e12, what, place),
                load_ppb=sayable(load, what, place),
                visits=visits,
                cost=round(busy_price(situation, site, spec, hardware) * busy * MICRO),
                barred=barred,
            )

    def _refuse_unreachable(self, pipeline: Pipeline, step: Step) -> None:
        """Requests start at the flow's site, and links go both ways: a component must be reachable from there."""
        names = list(self.situation.infra.value.sites)
        home = pipeline.flow.site
        routes = self.situation.network.routes(home)
        allowed = [names[o.site] for o in step.options if not o.barred]
        if allowed and not any(site == home or (home, site) in routes for site in allowed):
            app = self.situation.app
            message = f"no route between sites {home!r} and {allowed[0]!r}, where {step.name!r} must run"
            raise InputError(Issue(message, app.place("components", step.name, "at"), "add a link under `links`"))

    def _refuse_meeting(self, pipeline: Pipeline, steps: tuple[Step, ...]) -> None:
        """Two branches of one request on one executor wait for each other, which no table here knows."""
        app, graph = self.situation.app, self.situation.graph
        shared = [
            {
                self.stations[o.station].site + "." + self.stations[o.station].pool
                for o in s.options
                if o.visits and not o.barred
            }
            for s in steps
        ]
        below = {step.name: graph.descendants([step.name]) for step in steps}
        for i, one in enumerate(steps):
            for j in range(i + 1, len(steps)):
                other = steps[j]
                together = any({one.name, other.name} <= s.runs for s in pipeline.shapes)
                if together and other.name not in below[one.name] and shared[i] & shared[j]:
                    where = sorted(shared[i] & shared[j])[0]
                    message = (
                        f"not supported yet: {one.name!r} and {other.name!r} run in parallel and may meet on {where}"
                    )
                    hint = "pin one of them elsewhere with `at`"
                    raise InputError(Issue(message, app.place("components", other.name), hint))

    # Messages

    def _edge(self, pipeline: Pipeline, message: Message, steps: tuple[Step, ...]) -> Edge:
        names = list(self.situation.infra.value.sites)
        flow = pipeline.flow
        order = flow.components

        def end(node: Node) -> tuple[End, list[int]]:
            if node.name in order:
                index = order.index(node.name)
                return End(index, node.task, 0), sorted({o.site for o in steps[index].options})
            home = names.index(flow.site)
            return End(-1, 0, home), [home]

        (producer, starts), (consumer, ends) = end(message.producer), end(message.consumer)
        transfers: list[Transfer] = []
        routes = self.situation.network.routes(flow.site)
        for a, b in product(starts, ends):
            route = routes.get((names[a], names[b]))
            if a != b and route is not None:
                transfers.append(self._transfer(pipeline, message, a, b, route))
        name = f"{message.producer.name}->{message.consumer.name}"
        return Edge(name, producer, consumer, tuple(transfers))

    def _transfer(self, pipeline: Pipeline, message: Message, a: int, b: int, route: tuple[Passage, ...]) -> Transfer:
        situation, flow = self.situation, pipeline.flow
        network = situation.network
        size = pipeline.size(message)
        per_byte = delay = jitter = egress = 0.0
        visits: list[Visit] = []
        for passage in route:
            direction = network.direction(passage)
            link = network.link(passage)
            delay += link.delay.mean
            jitter += link.delay.jitter**2
            egress += direction.egress
            for key, rate, members, constraint in self._rates(passage):
                per_byte += 1 / rate
                server = self._server_index(key, ".".join(key[1:]), constraint)
                arrivals = flow.peak * message.share * flow.members / members
                visits.append(self._visit(server, arrivals, size.scaled(1 / rate)))
        hop = hop_moments(situation, size.mean)
        paid = flow.mean * flow.members * message.share * size.mean * egress * SECONDS_PER_MONTH
        variance = size.variance * per_byte**2 + jitter + hop.variance
        what = f"{message.producer.name} -> {message.consumer.name} over {', '.join(p.link for p in route)}"
        place = situation.infra.place("links", route[0].link)
        return Transfer(
            start=a,
            end=b,
            mean_us=sayable((size.mean * per_byte + delay + hop.mean) * 1e6, what, place),
            var_us2=sayable(variance * 1e12, what, place),
            visits=tuple(visits),
            cost=round(paid * MICRO),
        )

    def _rates(self, passage: Passage) -> list[tuple[tuple[str, ...], float, int, int]]:
        """The servers of one direction of a link: (key, bytes a second, how many there are, constraint)."""
        infra, network = self.situation.infra, self.situation.network
        direction = network.direction(passage)
        way = passage.way
        link = infra.value.links[passage.link]
        path: tuple[str, ...] = ("links", passage.link, way) if link.rate is None else ("links", passage.link)
        name = ".".join(path)
        constraint = self._name("rate", f"{name}.rate", infra.place(*path, "rate"))
        own: tuple[str, ...] = ("link", passage.link, way)
        found = [(own, direction.rate, network.instances(passage.link), constraint)]
        if direction.shared:
            constraint = self._name("rate", f"{name}.shared", infra.place(*path, "shared"))
            members = infra.value.members(direction.shared.by)
            found.append((("link", passage.link, way, "shared"), direction.shared.rate, members, constraint))
        return found

    # Limits

    def _limits(self, pipeline: Pipeline) -> tuple[Limit, ...]:
        found: list[Limit] = []
        for name, constraint in relevant(self.situation, pipeline.flow).items():
            shapes = pipeline.requests(constraint)
            paths = [self._paths(pipeline, s.runs, s.probability, constraint.to) for s in shapes]
            alone = len(shapes) == 1 and len(paths[0]) == 1
            for q, limit in constraint.limits.items():
                full = limit_name(name, q)
                limit_us = int(self.limits.get(full, limit) * 1e6 + 1e-6)
                rows = [tail_rows(limit_us, 1 - q, s.probability, alone) for s in shapes]
                tables = tuple(LimitShape(p, r) for p, r in zip(paths, rows, strict=True))
                found.append(Limit(self.constraint_of[full], round((1 - q) * PPB), tables))
        return tuple(found)

    def _paths(self, pipeline: Pipeline, runs: frozenset[str], probability: float, to: str) -> tuple[Path, ...]:
        order = pipeline.flow.components
        found: list[Path] = []
        for way in pipeline.paths(Shape(runs, probability), to):
            names = dict.fromkeys(pipeline.messages[i].consumer.name for i in way)
            found.append(Path(tuple(order.index(n) for n in names if n in order), way))
        return tuple(found)

    def _means(self, pipeline: Pipeline) -> tuple[tuple[MeanShape, ...], ...]:
        """Weights are parts per million of all requests of the objective, over flows and branch patterns."""
        app = self.situation.app
        found: list[tuple[MeanShape, ...]] = []
        for term in app.value.objective:
            if isinstance(term, LatencyObjective):
                constraint = app.value.constraints.get(term.latency)
                if not isinstance(constraint, PathConstraint):
                    message = f"objective latency: {term.latency!r} is not a path constraint"
                    raise InputError(Issue(message, app.place("objective")))
                found.append(self._mean_shapes(pipeline, constraint))
        return tuple(found)

    def _mean_shapes(self, pipeline: Pipeline, constraint: PathConstraint) -> tuple[MeanShape, ...]:
        flow = pipeline.flow
        if constraint.from_ != flow.source:
            return ()
        whole = sum(f.mean * f.members for f in self.situation.flows if f.source == flow.source)
        part = flow.mean * flow.members / whole if whole > 0 else 1.0
        return tuple(
            MeanShape(round(part * s.probability * 1e6), self._paths(pipeline, s.runs, s.probability, constraint.to))
            for s in pipeline.requests(constraint)
        )


def sayable(value: float, what: str, place: Place) -> int:
    """`value` rounded up. Raises InputError where it is more than a Problem can say, naming `what` takes so long."""
    if not value <= LIMIT:
        message = f"{what} takes, or varies by, more than can be planned with (a deviation of 31 s is the most)"
        raise InputError(Issue(message, place, "raise the rate, lower the load, or leave it out"))
    return ceil(value)


def limit_name(constraint: str, quantile: float) -> str:
    """The name of one limit of a path constraint, such as ``answer_time.p99``."""
    return f"{constraint}.p{quantile * 100:.0f}"


def moments(record: Record) -> Moments:
    return Moments(record.latency.mean, record.latency.second, record.latency.third)


def hop_moments(situation: Situation, size: float) -> Moments:
    """Overhead in seconds of a message of `size` bytes: measured sizes are interpolated, the ends hold beyond them."""
    hops = situation.hops
    of = [(h.bytes, Moments(h.latency.mean, h.latency.second, h.latency.third)) for h in hops]
    if size <= of[0][0]:
        return of[0][1]
    for (low, a), (high, b) in pairwise(of):
        if size <= high:
            t = (size - low) / (high - low)
            second = a.second + t * (b.second - a.second)
            return Moments(a.mean + t * (b.mean - a.mean), second, a.third + t * (b.third - a.third))
    return of[-1][1]


def device_price(situation: Situation, site: str, spec: PoolSpec, hardware: Hardware) -> float:
    """Money a month of one device: its price, unless it is owned, and its energy when idle."""
    price = 0.0 if spec.owned else (hardware.price if spec.price is None else spec.price)
    idle = power_of(spec, hardware)[0] / 1000 * situation.infra.value.sites[site].electricity
    return (price + idle) * HOURS_PER_MONTH


def busy_price(situation: Situation, site: str, spec: PoolSpec, hardware: Hardware) -> float:
    """Money a month for the energy that one device takes beyond idle when it is always busy."""
    idle, busy = power_of(spec, hardware)
    return (busy - idle) / 1000 * situation.infra.value.sites[site].electricity * HOURS_PER_MONTH


def power_of(spec: PoolSpec, hardware: Hardware) -> tuple[float, float]:
    return spec.power or hardware.power or (0.0, 0.0)


def undominated(records: list[Record], pool: Pool) -> list[Record]:
    """Ways to run that no other beats in everything that counts in this pool. Those that fit no device are left out.

    Counted: moments of the service (also its variance), memory, and, where cores are reserved, threads and
    core-seconds.
    """

    def cost(r: Record) -> tuple[float, ...]:
        m = moments(r)
        own = (m.mean, m.second, m.third, m.variance, r.memory)
        return (*own, r.threads, r.threads * m.mean) if pool.sharing == "cores" else own

    fitting = [r for r in records if r.threads <= pool.cores and ceil(r.memory / 1000) <= pool.memory_kb]
    kept: list[tuple[tuple[float, ...], Record]] = []
    for record in sorted(fitting, key=lambda r: (cost(r), r.backend, r.digest)):
        mine = cost(record)
        if not any(all(a <= b for a, b in zip(other, mine, strict=True)) for other, _ in kept):
            kept.append((mine, record))
    return [record for _, record in kept]


def station_levels(service: Moments, loads: list[int]) -> tuple[StationLevel, ...]:
    """For each load that can arise (ppb, rising), the replicas worth having and their wait."""
    levels: dict[tuple[int, int], StationLevel] = {}
    for load in loads:
        erlang = load / PPB
        fewest = max(1, ceil(erlang / MAX_UTILISATION - 1e-9))
        for replicas in range(fewest, fewest + SPARE_REPLICAS + 1):
            wait = many_servers(erlang / service.mean, service, replicas) if service.mean > 0 else None
            mean = wait.mean if wait else 0.0
            variance = wait.variance if wait else 0.0
            levels[replicas, load] = StationLevel(replicas, load, ceil(mean * 1e6), ceil(variance * 1e12))
            if mean < max(0.005 * service.mean, 20e-6):
                break
    return tuple(levels[key] for key in sorted(levels))


def _sums(loads: Mapping[int, set[int]]) -> list[int]:
    """Loads that a station can get: each flow brings one of its own or none. Many become `LOAD_STEPS` even steps."""
    sums = {0}
    for options in loads.values():
        sums |= {s + load for s in sums for load in options}
        if len(sums) > 64:
            break
    top = sum(max(options) for options in loads.values())
    if len(sums) > 64 or len(sums) - 1 > 2 * LOAD_STEPS:
        return [ceil(top * k / LOAD_STEPS) for k in range(1, LOAD_STEPS + 1)]
    return sorted(sums - {0})


def _distinct(situation: Situation, components: tuple[str, ...]) -> list[Behaviour]:
    """One behaviour for each combination of the variants of `components`."""
    seen: dict[tuple[str, ...], Behaviour] = {}
    for behaviour in situation.behaviours:
        seen.setdefault(tuple(behaviour.variants[c] for c in components), behaviour)
    return list(seen.values())

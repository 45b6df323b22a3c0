"""Problems made from Problems: on a tree, larger, looser, in another order, in other units."""

from __future__ import annotations

import random
from dataclasses import replace

from planner.problem import Edge, End, Option, Path, Problem, Scenario, Step, Transfer

NEIGHBOURS = {(0, 1), (1, 0), (1, 2), (2, 1)}
"""In worlds: edge and base, base and cloud."""


def with_hops(problem: Problem) -> Problem:
    """The messages of a world as hops between neighbours, of which changing site takes 70 us more."""

    def changed(edge: Edge) -> Edge:
        hops = tuple(t for t in edge.transfers if (t.start, t.end) in NEIGHBOURS)
        return replace(edge, transfers=(), hops=hops, apart_us=70, apart_us2=900) if hops else edge

    return _edges(problem, {id(e): changed(e) for s in problem.scenarios for e in s.edges})


def with_tables(problem: Problem) -> Problem:
    """Hops written out as a transfer for each two sites of a world."""

    def changed(edge: Edge) -> Edge:
        hop = {(t.start, t.end): t for t in edge.hops}
        table: list[Transfer] = []
        for a in range(3):
            for b in range(3):
                way = [(x, x + 1) for x in range(a, b)] or [(x, x - 1) for x in range(a, b, -1)]
                if way and all(pair in hop for pair in way):
                    on = [hop[pair] for pair in way]
                    mean = sum(h.mean_us for h in on) + edge.apart_us
                    variance = sum(h.var_us2 for h in on) + edge.apart_us2
                    visits = tuple(v for h in on for v in h.visits)
                    table.append(Transfer(a, b, mean, variance, visits, sum(h.cost for h in on)))
        return replace(edge, transfers=tuple(table), hops=(), apart_us=0, apart_us2=0) if edge.hops else edge

    return _edges(problem, {id(e): changed(e) for s in problem.scenarios for e in s.edges})


def _edges(problem: Problem, changed: dict[int, Edge]) -> Problem:
    scenarios = tuple(replace(s, edges=tuple(changed[id(e)] for e in s.edges)) for s in problem.scenarios)
    return replace(problem, scenarios=scenarios)


def with_more_devices(problem: Problem) -> Problem:
    """One more device in each pool that shares cores."""
    pools = tuple(replace(p, maximum=p.maximum + 1) if p.sharing == "cores" else p for p in problem.pools)
    return replace(problem, pools=pools)


def with_looser_limits(problem: Problem) -> Problem:
    """A fifth more time, at each row of each limit's table."""

    def changed(scenario: Scenario) -> Scenario:
        limits = tuple(
            replace(
                limit,
                shapes=tuple(
                    replace(shape, rows=tuple(replace(row, mean_us=row.mean_us * 6 // 5) for row in shape.rows))
                    for shape in limit.shapes
                ),
            )
            for limit in scenario.limits
        )
        return replace(scenario, limits=limits)

    return replace(problem, scenarios=tuple(changed(s) for s in problem.scenarios))


def with_costs_times(problem: Problem, factor: int) -> Problem:
    """Money in units that are `factor` times smaller."""

    def step(each: Step) -> Step:
        return replace(each, options=tuple(replace(o, cost=o.cost * factor) for o in each.options))

    def edge(each: Edge) -> Edge:
        return replace(each, transfers=tuple(replace(t, cost=t.cost * factor) for t in each.transfers))

    return replace(
        problem,
        pools=tuple(replace(p, price=p.price * factor) for p in problem.pools),
        budgets=tuple(replace(b, limit=b.limit * factor) for b in problem.budgets),
        scenarios=tuple(
            replace(s, steps=tuple(step(x) for x in s.steps), edges=tuple(edge(x) for x in s.edges))
            for s in problem.scenarios
        ),
    )


def with_worse_options(problem: Problem) -> Problem:
    """Beside each option one at a station like its own that is slower, less even and dearer."""
    stations = list(problem.stations)

    def doubled(step: Step) -> Step:
        options: list[Option] = []
        for option in step.options:
            stations.append(replace(stations[option.station], name="worse"))
            worse = {"mean_us": option.mean_us + 5, "var_us2": option.var_us2 + 5, "cost": option.cost + 5}
            options += [option, replace(option, station=len(stations) - 1, **worse)]  # type: ignore[arg-type]
        return replace(step, options=tuple(options))

    scenarios = tuple(replace(s, steps=tuple(doubled(x) for x in s.steps)) for s in problem.scenarios)
    return replace(problem, scenarios=scenarios, stations=tuple(stations))


def shuffled(problem: Problem, seed: int) -> Problem:
    """With other names, and its sites, stations, options, steps and edges in another order."""
    draw = random.Random(seed)
    sites = draw.sample(range(len(problem.sites)), len(problem.sites))
    stations = draw.sample(range(len(problem.stations)), len(problem.stations))
    at, station_at = ({old: new for new, old in enumerate(order)} for order in (sites, stations))

    def end(each: End, steps: dict[int, int]) -> End:
        return End(steps.get(each.step, -1), each.task, at[each.site] if each.step < 0 else 0)

    def transfer(each: Transfer) -> Transfer:
        return replace(each, start=at[each.start], end=at[each.end])

    def scenario(each: Scenario) -> Scenario:
        steps = draw.sample(range(len(each.steps)), len(each.steps))
        edges = draw.sample(range(len(each.edges)), len(each.edges))
        step_at, edge_at = ({old: new for new, old in enumerate(order)} for order in (steps, edges))

        def path(way: Path) -> Path:
            return Path(tuple(step_at[i] for i in way.steps), tuple(edge_at[e] for e in way.edges))

        def step(old: Step) -> Step:
            options = [replace(o, site=at[o.site], station=station_at[o.station]) for o in old.options]
            return replace(old, name="renamed", options=tuple(draw.sample(options, len(options))))

        def edge(old: Edge) -> Edge:
            transfers = tuple(transfer(t) for t in old.transfers)
            return replace(
                old, producer=end(old.producer, step_at), consumer=end(old.consumer, step_at), transfers=transfers
            )

        limits = tuple(
            replace(
                limit, shapes=tuple(replace(shape, paths=tuple(path(p) for p in shape.paths)) for shape in limit.shapes)
            )
            for limit in each.limits
        )
        means = tuple(
            tuple(replace(shape, paths=tuple(path(p) for p in shape.paths)) for shape in shapes)
            for shapes in each.means
        )
        return replace(
            each,
            name="renamed",
            steps=tuple(step(each.steps[i]) for i in steps),
            edges=tuple(edge(each.edges[e]) for e in edges),
            limits=limits,
            means=means,
        )

    return replace(
        problem,
        sites=tuple(f"renamed {i}" for i in sites),
        stations=tuple(problem.stations[k] for k in stations),
        scenarios=tuple(scenario(s) for s in problem.scenarios),
    )

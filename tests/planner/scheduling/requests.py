"""Random isolated requests, small enough for brute force, with everything that a Problem to schedule may hold."""

from __future__ import annotations

import random

from planner.problem import (
    Budget,
    Constraint,
    Edge,
    End,
    Objective,
    Option,
    Pool,
    Problem,
    Scenario,
    Station,
    Step,
    Transfer,
)


def request(seed: int, most_steps: int = 5, most_pools: int = 3) -> Problem:
    """Steps that take 0 to 9 us, sites with one or two devices, messages by table or over the hops of a tree."""
    draw = random.Random(f"request {seed}")
    pools = draw.randint(1, most_pools)
    sites = draw.randint(1, pools)
    at = [*range(sites), *(draw.randrange(sites) for _ in range(pools - sites))]
    steps = draw.randint(1, most_steps) if draw.random() < 0.4 else most_steps
    stations: list[Station] = []
    made: list[Step] = []
    for i in range(steps):
        options: list[Option] = []
        for pool in draw.sample(range(pools), draw.randint(1, pools)):
            for _ in range(draw.choice([1, 1, 2]) if steps < 4 else 1):
                shared = [s for s, each in enumerate(stations) if each.pool == pool] if draw.random() < 0.15 else []
                if not shared:
                    stations.append(Station(f"s{len(stations)}", pool, 1, draw.randint(0, 5), ()))
                station = draw.choice(shared) if shared else len(stations) - 1
                time = 0 if draw.random() < 0.1 else draw.randint(1, 9)
                barred = (0,) if draw.random() < 0.05 else ()
                options.append(
                    Option(station, at[pool], 0, 0, time, 0, 0, (), draw.randint(0, 4), barred, draw.randint(0, 4))
                )
        made.append(Step(f"c{i}", 1, tuple(options)))
    joins = [(a, b) for b in range(steps) for a in range(b) if draw.random() < 0.5]
    renamed = draw.sample(range(steps), steps)
    joins = [(renamed[a], renamed[b]) for a, b in joins]
    tree = draw.random() < 0.4
    ends = [(End(a, 0, -1), End(b, 0, -1)) for a, b in joins]
    if draw.random() < 0.6:
        ends += [(End(-1, 0, draw.randrange(sites)), End(draw.randrange(steps), 0, -1))]
        ends += [(End(draw.randrange(steps), 0, -1), End(-1, 0, draw.randrange(sites)))]
    edges = tuple(_edge(draw, f"m{n}", *pair, sites, tree) for n, pair in enumerate(ends))
    kinds = draw.choice(
        [["makespan"]] * 3 + [["makespan", "cost"], ["cost", "makespan"], ["makespan", "energy", "cost"]]
    )
    return Problem(
        name=f"request {seed}",
        constraints=(Constraint("pin", "pin", "made", 1), Constraint("budget", "budget", "made", 2)),
        sites=tuple(f"site{i}" for i in range(sites)),
        flows=("one",),
        members=(1,),
        pools=tuple(
            Pool(f"p{i}", "time", 0, 1, draw.randint(2, 14), *_bounds(draw), draw.randint(0, 5), draw.randint(0, 5))
            for i in range(pools)
        ),
        servers=(),
        stations=tuple(stations),
        scenarios=(Scenario("all", 0, (), tuple(made), edges, (), ()),),
        budgets=_budgets(draw, steps, pools),
        objectives=tuple(Objective(kind, kind) for kind in kinds),  # type: ignore[arg-type]
    )


def _bounds(draw: random.Random) -> tuple[int, int]:
    return draw.choice([(0, 1)] * 8 + [(1, 1)] * 2 + [(0, 0)])


def _budgets(draw: random.Random, steps: int, pools: int) -> tuple[Budget, ...]:
    found = []
    if draw.random() < 0.3:
        found.append(Budget(1, draw.randint(steps, 5 * steps + 3)))
    if draw.random() < 0.2:
        found.append(Budget(1, draw.randint(steps, 5 * steps + 3), "energy"))
    if draw.random() < 0.2:
        found.append(Budget(1, draw.randint(2, 10), "memory", (draw.randrange(pools),)))
    return tuple(found)


def _edge(draw: random.Random, name: str, start: End, end: End, sites: int, tree: bool) -> Edge:
    def transfer(a: int, b: int) -> Transfer:
        return Transfer(a, b, draw.randint(0, 6), 0, (), draw.choice([0, 0, 2]))

    if not tree:
        pairs = [(a, b) for a in range(sites) for b in range(sites) if a != b and draw.random() < 0.95]
        return Edge(name, start, end, tuple(transfer(a, b) for a, b in pairs))
    links = [(i, draw.randrange(i)) for i in range(1, sites)]
    hops = tuple(transfer(a, b) for link in links for a, b in (link, link[::-1]))
    return Edge(name, start, end, (), hops, draw.randint(0, 3) if hops else 0)

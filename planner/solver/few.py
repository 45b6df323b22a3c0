"""Few candidates for each step and site, among which a first choice is soon found."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Final

from planner.solver.build import Reduced
from planner.solver.candidates import Candidate, Key
from planner.solver.largest import largest

NEAR: Final = 8
"""So many sites for each flow are looked at."""


def few_of(given: Reduced) -> dict[Key, list[Candidate]]:
    """By key, few of the candidates at sites near the requests, where there are any."""
    near = near_sites(given)
    return {key: _few(given, *key, of, near) for key, of in given.candidates.items()}


def near_sites(given: Reduced) -> frozenset[int]:
    """By flow, the `NEAR` sites soonest reached from where its messages enter, and the site with most cores to buy."""
    found = {largest(given.problem)}
    for group in given.groups:
        for edge in group.edges:
            if edge.producer.step < 0:
                home = edge.producer.site
                ways = ((given.ways.between(edge, home, q), q) for q in range(len(given.problem.sites)) if q != home)
                reached = sorted((way.mean_us, q) for way, q in ways if way is not None)
                found |= {home, *(q for _, q in reached[: NEAR - 1])}
    return frozenset(found)


def _few(given: Reduced, g: int, i: int, j: int, of: Sequence[Candidate], near: frozenset[int]) -> list[Candidate]:
    """For each pool and tasks, the candidates on the lower hull of time and price, and the one that reserves least.

    Only at sites in `near`, where there are any there.

    Time is mean and two standard deviations; the price has the part of the device that the candidate reserves.
    """
    step = given.groups[g].slots[i][j].step
    places: dict[tuple[int, int, int], list[tuple[float, float, int, Candidate]]] = {}
    beside = [c for c in of if step.options[c.option].site in near]
    for c in beside or of:
        option = step.options[c.option]
        station = given.problem.stations[option.station]
        pool = given.problem.pools[station.pool]
        reserved = max(1, c.replicas) * station.threads
        price = option.cost + (pool.price + 1) * reserved / pool.cores
        time = c.mean_us + 2 * sqrt(c.var_us2)
        places.setdefault((station.pool, option.first, option.last), []).append((time, price, reserved, c))
    kept: dict[Candidate, None] = {}
    for at in places.values():
        kept[min(at, key=lambda w: (w[2], w[0]))[3]] = None
        kept.update(dict.fromkeys(c for _, _, _, c in _hull(sorted(at))))
    return list(kept)


def _hull(points: list[tuple[float, float, int, Candidate]]) -> list[tuple[float, float, int, Candidate]]:
    """Of points that rise in the first coordinate, those on the falling part of the lower convex hull."""
    hull: list[tuple[float, float, int, Candidate]] = []
    for point in points:
        if hull and point[1] >= hull[-1][1]:
            continue
        while len(hull) > 1 and _turns(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _turns(
    a: tuple[float, float, int, Candidate],
    b: tuple[float, float, int, Candidate],
    c: tuple[float, float, int, Candidate],
) -> bool:
    """Whether b is above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])

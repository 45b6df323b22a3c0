"""How many replicas the stations in use may have: each its own number, or all of a `time` pool that of its devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.problem import Problem

Together = tuple[int, ...]
"""Stations that have equally many replicas."""


def replica_counts(problem: Problem, replicas: Sequence[int]) -> Iterator[tuple[Together, list[int]]]:
    """Stations with more than none of `replicas`, and the numbers that they may have instead, rising."""
    pools: dict[int, list[int]] = {}
    for k, station in enumerate(problem.stations):
        if replicas[k] and station.levels:
            yield (k,), sorted({level.replicas for level in station.levels})
        elif replicas[k]:
            pools.setdefault(station.pool, []).append(k)
    for index, stations in pools.items():
        pool = problem.pools[index]
        yield tuple(stations), list(range(max(1, pool.minimum), pool.maximum + 1))

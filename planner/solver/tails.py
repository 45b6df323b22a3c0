"""The tables of limits, as they are looked up by one path."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from planner.problem import Path, TailRow
from planner.solver.groups import Group


class Tail:
    """A limit's table of one path: the largest mean that it has for a variance."""

    def __init__(self, path: Path, rows: Sequence[TailRow]) -> None:
        self.path = path
        self._variances: list[int] = []
        self._means: list[int] = []
        for row in sorted(rows, key=lambda row: (-row.var_us2, -row.mean_us)):
            if not self._means or row.mean_us > self._means[-1]:
                self._variances.append(row.var_us2)
                self._means.append(row.mean_us)
        self._variances.reverse()
        self._means.reverse()

    @property
    def most(self) -> int:
        """The largest mean of all; -1 without rows."""
        return self._means[0] if self._means else -1

    def mean(self, variance: int) -> int:
        """The largest mean with this variance; -1 where no row has so much."""
        k = bisect_left(self._variances, variance)
        return self._means[k] if k < len(self._means) else -1


def tails_of(group: Group, relaxed: frozenset[int]) -> list[Tail]:
    """That of each path of the group's limits."""
    return [
        Tail(path, shape.rows)
        for limit in group.limits
        if limit.constraint not in relaxed
        for shape in limit.shapes
        for path in shape.paths
    ]

"""What may be chosen: options with their replicas, less those that no best answer needs.

Three exact reductions. (1) A station that only one of its users can take at a time is *private*: a user's load is
known, so that the option and the replicas are chosen together, and their wait is a number. (2) Within a pool, a
candidate that is no better than another in anything that counts there is dropped. (3) A candidate is dropped where even
the soonest way there, through it and on misses a limit (reach.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from planner.problem import MILLION, Option, Pool, Problem, Station, StationLevel, at_scale
from planner.solver.groups import Group, allowed
from planner.solver.packing import memory_can_bind, totals_suffice
from planner.solver.throughput import fullness, is_objective, scales

UNLIMITED: Final = 10**18
"""More replicas than there are."""


class Candidate(NamedTuple):
    """Option `option` of a step; `level` of its private station, or -1. Times include the wait at a private station.

    `replicas` is 0 where it is not known.
    """

    option: int
    level: int
    mean_us: int
    var_us2: int
    replicas: int


Key = tuple[int, int, int]
"""(group, step, form of the step)."""


@dataclass(frozen=True)
class Candidates:
    """By key, what may be chosen; `private` are stations."""

    of: dict[Key, list[Candidate]]
    private: frozenset[int]


def candidates(
    problem: Problem, groups: Sequence[Group], relaxed: frozenset[int], kept: dict[Key, frozenset[int]] | None
) -> Candidates:
    """All candidates of allowed options (at the sites in `kept`, if given), without dominated ones."""
    usable = {
        (g, i, j): [
            o
            for o, option in enumerate(slot.step.options)
            if (kept is None or option.site in kept[g, i, j]) and (not option.barred or allowed(option.barred, relaxed))
        ]
        for g, group in enumerate(groups)
        for i, forms in enumerate(group.slots)
        for j, slot in enumerate(forms)
    }
    private = _private(groups, usable)
    tight = _memory_binds(problem, groups, usable)
    found: dict[Key, list[Candidate]] = {}
    known: dict[tuple[object, ...], list[int]] = {}
    rates = scales(problem, relaxed)
    replicated = _Replicated(problem, relaxed)
    more = is_objective(problem)
    for key, options in usable.items():
        g, i, j = key
        step = groups[g].slots[i][j].step
        by_place: dict[tuple[int, int, int], list[Candidate]] = {}
        shared: list[Candidate] = []
        for o in options:
            option = step.options[o]
            station = problem.stations[option.station]
            if option.station not in private:
                shared.append(Candidate(o, -1, option.mean_us, option.var_us2, 0))
                continue
            place = by_place.setdefault((station.pool, option.first, option.last), [])
            place += replicated.of(o, option, rates[groups[g].flow])
        found[key] = shared
        for (pool, _, _), all_of in by_place.items():
            merits = [_merit(problem, step.options[c.option], c, pool in tight, more) for c in all_of]
            at = tuple(merits)
            if at not in known:
                known[at] = _undominated(merits)
            found[key] += [all_of[k] for k in known[at]]
    return Candidates(found, private)


def _private(groups: Sequence[Group], usable: dict[Key, list[int]]) -> frozenset[int]:
    """Stations of whose users no two can be chosen together."""
    users: dict[int, list[tuple[Key, Option]]] = {}
    for (g, i, j), options in usable.items():
        step = groups[g].slots[i][j].step
        for o in options:
            users.setdefault(step.options[o].station, []).append(((g, i, j), step.options[o]))

    def apart(a: tuple[Key, Option], b: tuple[Key, Option]) -> bool:
        (g, i, j), (h, k, m) = a[0], b[0]
        if groups[g].flow != groups[h].flow:
            return False
        if g != h:
            return True
        if i != k:
            return False
        overlap = a[1].first <= b[1].last and b[1].first <= a[1].last
        return overlap or (j != m and not set(groups[g].slots[i][j].scenarios) & set(groups[g].slots[i][m].scenarios))

    return frozenset(
        k
        for k, of in users.items()
        if len(of) == 1 or (len(of) <= 8 and all(apart(a, b) for x, a in enumerate(of) for b in of[:x]))
    )


def _memory_binds(problem: Problem, groups: Sequence[Group], usable: dict[Key, list[int]]) -> frozenset[int]:
    """Pools in which memory may run out before the cores do, or is limited beside."""
    here: dict[int, set[tuple[int, int]]] = {}
    for (g, i, j), options in usable.items():
        step = groups[g].slots[i][j].step
        for o in options:
            station = problem.stations[step.options[o].station]
            here.setdefault(station.pool, set()).add((station.threads, station.memory_kb))
    limited = {pool for budget in problem.budgets for pool in budget.pools}
    return frozenset(p for p, kinds in here.items() if p in limited or memory_binds(problem.pools[p], kinds))


def memory_binds(pool: Pool, kinds: set[tuple[int, int]]) -> bool:
    """Whether the memory of a device of `pool` may run out before its cores do, with such (threads, memory)."""
    return pool.sharing == "time" or memory_can_bind(kinds, pool.cores, pool.memory_kb)


def totals_exact(pool: Pool, kinds: set[tuple[int, int]]) -> bool:
    """Whether replicas of these (threads, memory) fit into devices of `pool` whenever their cores do in total."""
    return not memory_binds(pool, kinds) and totals_suffice([t for t, _ in kinds], pool.cores)


class _Replicated:
    """Options with each number of replicas that shortens the wait, or is for more throughput where that counts."""

    def __init__(self, problem: Problem, relaxed: frozenset[int]) -> None:
        self._problem, self._relaxed = problem, relaxed
        self._more = is_objective(problem)
        self._known: dict[tuple[int, int, int, int, int], list[tuple[int, StationLevel]]] = {}

    def of(self, o: int, option: Option, scale: int) -> list[Candidate]:
        """The candidates of `option`, the `o`-th of its step; they carry `scale` times the load."""
        station = self._problem.stations[option.station]
        if not station.levels:
            return [Candidate(o, -1, option.mean_us, option.var_us2, 0)]
        pool = self._problem.pools[station.pool]
        most = UNLIMITED if pool.constraint in self._relaxed else pool.maximum * (pool.cores // station.threads)
        key = id(station.levels), station.standby, option.load_ppb, scale, most
        if key not in self._known:
            self._known[key] = self._levels(station, option.load_ppb, scale, most)
        return [
            Candidate(o, k, option.mean_us + level.wait_us, option.var_us2 + level.wait_var, level.replicas)
            for k, level in self._known[key]
        ]

    def _levels(self, station: Station, load_ppb: int, scale: int, most: int) -> list[tuple[int, StationLevel]]:
        """The level of each number of replicas, `most` at most."""
        best: dict[int, tuple[int, StationLevel]] = {}
        for k, level in enumerate(station.levels):
            if level.load_ppb >= load_ppb and (
                level.replicas not in best or level.load_ppb < best[level.replicas][1].load_ppb
            ):
                best[level.replicas] = (k, level)
        found: list[tuple[int, StationLevel]] = []
        asked = at_scale(load_ppb, scale)
        for replicas in sorted(r for r in best if asked <= station.carries(r) or scale == MILLION):
            if replicas > most:
                break
            level = best[replicas][1]
            last = found[-1][1] if found else None
            if self._more or last is None or level.wait_us < last.wait_us or level.wait_var < last.wait_var:
                found.append(best[replicas])
        return found


class _Merit(NamedTuple):
    """What counts in a pool: less of each is never worse. Only merits of equal `where` (servers visited) compare."""

    where: tuple[int, ...]
    counts: tuple[int, ...]
    replicas: int
    threads: int

    def no_worse(self, other: _Merit) -> bool:
        """Whether this can stand wherever `other` can, and is nowhere above it.

        Its replicas fit into the room of the other's: several into each, where they are smaller.
        """
        return (
            self.where == other.where
            and all(a <= b for a, b in zip(self.counts, other.counts, strict=True))
            and other.replicas * (other.threads // self.threads) >= self.replicas
        )


def _merit(problem: Problem, option: Option, c: Candidate, memory_binds: bool, throughput: bool) -> _Merit:
    station = problem.stations[option.station]
    counts = [c.mean_us, c.var_us2, option.cost, option.energy]
    replicas, threads = c.replicas, station.threads
    if not station.levels:
        replicas = threads = 1
    if station.levels and throughput:
        counts.append(fullness(option.load_ppb, station.carries(replicas)))
    counts.append(replicas * threads)
    if memory_binds:
        counts += [station.memory_kb, replicas]
    counts += [n for v in option.visits for n in (v.work_ns, v.load_ppb)]
    return _Merit(tuple(v.server for v in option.visits), tuple(counts), replicas, threads)


def _undominated(merits: Sequence[_Merit]) -> list[int]:
    """Indices of those that no other is no worse than; of equal ones the first."""
    order = sorted(range(len(merits)), key=lambda k: (merits[k], k))
    ranked = [merits[k] for k in order]
    kept: list[int] = []
    for p, below in enumerate(_nowhere_above([merit.counts for merit in ranked])):
        if not any(below >> q & 1 and ranked[q].no_worse(ranked[p]) for q in kept):
            kept.append(p)
    return sorted(order[p] for p in kept)


def _nowhere_above(rows: Sequence[tuple[int, ...]]) -> list[int]:
    """By row, the set (a bit each) of the rows that are at most as large in each of the columns that all have.

    One sorting for each column takes a quarter of the time of comparing each two rows.
    """
    found = [(1 << len(rows)) - 1] * len(rows)
    for column in zip(*rows, strict=False):
        up_to: dict[int, int] = {}
        seen = 0
        for p in sorted(range(len(rows)), key=column.__getitem__):
            seen |= 1 << p
            up_to[column[p]] = seen
        found = [here & up_to[value] for here, value in zip(found, column, strict=True)]
    return found

"""How few alike devices hold a set of replicas, each of which stands on one device.

This is bin packing in two dimensions (threads and memory). Nearly always the first device with room, the largest item
first, needs no more devices than the totals say. Else the counts between are tried: by depth-first search over sets of
equal free room, and by CP-SAT where that search is long. Where CP-SAT cannot say within `EFFORT` either (from about 20
replicas of as many sizes that fill their devices), the count known to suffice is taken: never too few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

from planner.solver import cpsat
from planner.solver.dual_feasible import weights
from planner.solver.model import Model, Terms

Item = tuple[int, int]
"""(threads, memory)"""
MOST_STATES: Final = 2000
"""A depth-first search that saw more states than this is given up."""
EFFORT: Final = 0.1
"""Of a search by CP-SAT, in its own deterministic seconds."""


def devices_needed(items: Sequence[Item], cores: int, memory: int, at_most: int) -> int | None:
    """The fewest devices of `cores` and `memory` for `items`, or None if more than `at_most`."""
    if not memory_can_bind(items, cores, memory):
        items, memory = [(threads, 0) for threads, _ in items], 0
    needed = _needed(tuple(sorted(items, reverse=True)), cores, memory)
    return needed if needed is not None and needed <= at_most else None


@lru_cache(maxsize=1 << 14)
def _needed(items: tuple[Item, ...], cores: int, memory: int) -> int | None:
    if not items:
        return 0
    if any(threads > cores or size > memory for threads, size in items):
        return None
    sizes = sum(m for _, m in items)
    by_threads = (-(-sum(row.of[t] for t, _ in items) // row.device) for row in weights((t for t, _ in items), cores))
    fewest = max(-(-sizes // memory) if memory else 0, 1, *by_threads)
    enough = min(_first_fit(items, cores, memory, order) for order in _ORDERS)
    return next((count for count in range(fewest, enough) if _fits(items, cores, memory, count)), enough)


_ORDERS: Final[tuple[Callable[[float, float], float], ...]] = (
    lambda t, _: t,
    lambda _, m: m,
    lambda t, m: t + m,
    max,
)
"""What makes an item large, from its parts of a device's cores and memory."""


def _first_fit(items: tuple[Item, ...], cores: int, memory: int, size: Callable[[float, float], float]) -> int:
    """Devices used when each item, the largest first, stands on the first that has room."""
    free: list[Item] = []
    for t, m in sorted(items, key=lambda item: size(item[0] / cores, item[1] / max(1, memory)), reverse=True):
        for d, (c, r) in enumerate(free):
            if c >= t and r >= m:
                free[d] = (c - t, r - m)
                break
        else:
            free.append((cores - t, memory - m))
    return len(free)


def _fits(items: tuple[Item, ...], cores: int, memory: int, count: int) -> bool:
    seen: set[tuple[int, tuple[Item, ...]]] = set()

    def place(index: int, free: tuple[Item, ...]) -> bool:
        if index == len(items):
            return True
        if (index, free) in seen:
            return False
        seen.add((index, free))
        if len(seen) > MOST_STATES:
            raise _TooLong
        threads, size = items[index]
        for room in dict.fromkeys(free):
            if room[0] >= threads and room[1] >= size:
                rest = list(free)
                rest.remove(room)
                left = (room[0] - threads, room[1] - size)
                if place(index + 1, tuple(sorted([*rest, left]))):
                    return True
        return False

    try:
        return place(0, ((cores, memory),) * count)
    except _TooLong:
        return _fits_by_search(items, cores, memory, count)


class _TooLong(Exception):
    """The depth-first search is given up."""


def _fits_by_search(items: tuple[Item, ...], cores: int, memory: int, count: int) -> bool:
    """Alike items are counted together, and devices hold fewer and fewer cores."""
    model = Model()
    stands: dict[Item, Terms] = {kind: [] for kind in Counter(items)}
    before: Terms = []
    for _ in range(count):
        here = {kind: model.integer(0, of) for kind, of in Counter(items).items()}
        for kind, n in here.items():
            stands[kind].append((n, 1))
        reserved: Terms = [(n, threads) for (threads, _), n in here.items()]
        model.add(reserved, None, cores)
        model.add([(n, size) for (_, size), n in here.items()], None, memory)
        if before:
            model.add([*before, *((n, -t) for n, t in reserved)], 0, None)
        before = reserved
    for kind, of in Counter(items).items():
        model.add(stands[kind], of, of)
    answer = cpsat.run(model, time_limit=60.0, effort=EFFORT)
    if answer.interrupted:
        raise KeyboardInterrupt
    return bool(answer.values)


def memory_can_bind(kinds: Collection[Item], cores: int, memory: int) -> bool:
    """Whether the memory of a device may run out before its cores do, with items of these kinds."""
    return bool(kinds) and cores // min(t for t, _ in kinds) * max(m for _, m in kinds) > memory


def totals_suffice(threads: Sequence[int], cores: int) -> bool:
    """Whether replicas of these `threads` always fit when their sum does: each divides the next, the last `cores`."""
    sizes = [*sorted(set(threads)), cores]
    return all(big % small == 0 for small, big in pairwise(sizes))

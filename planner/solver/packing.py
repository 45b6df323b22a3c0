"""How few alike devices hold a set of replicas, each of which stands on one device."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def devices_needed(items: Sequence[tuple[int, int]], cores: int, memory: int, at_most: int) -> int | None:
    """The fewest devices of `cores` and `memory` for `items` (threads, memory), or None if more than `at_most`.

    Exact: tries one device more at a time from the lower bound, by depth-first search, the largest items first.
    """
    if any(threads > cores or size > memory for threads, size in items):
        return None
    ordered = sorted(items, reverse=True)
    threads, sizes = sum(t for t, _ in items), sum(m for _, m in items)
    fewest = max(-(-threads // cores), -(-sizes // memory) if memory else 0, 1 if items else 0)
    for count in range(fewest, min(at_most, len(items)) + 1):
        if _fits(ordered, 0, [(cores, memory)] * count):
            return count
    return 0 if not items else None


def _fits(items: list[tuple[int, int]], index: int, free: list[tuple[int, int]]) -> bool:
    if index == len(items):
        return True
    threads, size = items[index]
    tried: set[tuple[int, int]] = set()
    for device, (cores, memory) in enumerate(free):
        if cores >= threads and memory >= size and (cores, memory) not in tried:
            tried.add((cores, memory))
            free[device] = (cores - threads, memory - size)
            if _fits(items, index + 1, free):
                return True
            free[device] = (cores, memory)
    return False


def totals_suffice(threads: Sequence[int], cores: int) -> bool:
    """Whether replicas of these `threads` always fit when their sum does: each divides the next, the last `cores`."""
    sizes = [*sorted(set(threads)), cores]
    return all(big % small == 0 for small, big in pairwise(sizes))

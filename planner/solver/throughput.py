"""What queues carry beyond the peak: loads at the rates that throughputs ask for, and how full the fullest queue is."""

from __future__ import annotations

from planner.problem import MILLION, PPB, Problem


def scales(problem: Problem, relaxed: frozenset[int]) -> tuple[int, ...]:
    """By flow, how many times its load (parts per million) throughputs that are not `relaxed` ask for."""
    found = [MILLION] * len(problem.flows)
    for each in problem.throughputs:
        if each.constraint not in relaxed:
            for flow in each.flows:
                found[flow] = max(found[flow], each.scale)
    return tuple(found)


def fullness(load_ppb: int, most: int) -> int:
    """The part of `most` that a load takes, in ppb, rounded up."""
    return -(-load_ppb * PPB // max(1, most))


def is_objective(problem: Problem) -> bool:
    return any(o.kind == "throughput" for o in problem.objectives)

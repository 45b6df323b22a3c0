"""The fullest queue as a variable, and queues that must carry more than the peak."""

from __future__ import annotations

from collections.abc import Sequence

from planner.problem import MILLION, REPLICA_LOAD, at_scale
from planner.solver.draft import Draft
from planner.solver.model import Terms
from planner.solver.throughput import fullness, is_objective, scales


def fullest(draft: Draft) -> Terms:
    """The variable that is at least as large as every queue is full; nothing where no objective asks for it.

    What throughputs ask for is added on the way. Of private stations it is known of each candidate (candidates.py).
    """
    rates = scales(draft.problem, draft.relaxed)
    level = draft.model.integer(0, 0) if is_objective(draft.problem) else None
    for index, visits in draft.visitors.items():
        server = draft.problem.servers[index]
        loads = [(v.literal, v.load_ppb, rates[v.flow]) for v in visits if v.work_ns]
        if server.constraint not in draft.relaxed and loads:
            _carried(draft, loads, [(None, 1, server.max_load)])
            _fills(draft, level, [(x, fullness(load, server.max_load)) for x, load, _ in loads])
    for k, users in draft.users.items():
        station = draft.problem.stations[k]
        if k in draft.private and station.levels and level is not None:
            own = [(x, fullness(o.load_ppb, REPLICA_LOAD * max(1, c.replicas))) for x, c, o in users]
            _fills(draft, level, own)
        elif k in draft.level:
            flows = [draft.groups[draft.step_of[x][0]].flow for x, _, _ in users]
            loads = [(x, o.load_ppb, rates[f]) for (x, _, o), f in zip(users, flows, strict=True)]
            held = [(v, station.levels[i].replicas, REPLICA_LOAD) for v, i in draft.level[k]]
            _carried(draft, loads, held)
            for v, replicas, each in held:
                _fills(draft, level, [(x, fullness(load, each * replicas)) for x, load, _ in loads], when=v)
    return [] if level is None else [(level, 1)]


def _carried(draft: Draft, loads: Sequence[tuple[int, int, int]], held: Sequence[tuple[int | None, int, int]]) -> None:
    """The loads (literal, load, scale) at scale are at most what is there: (literal or always, how many, load each)."""
    if all(scale == MILLION for _, _, scale in loads):
        return  # more is not asked for than the queue's own constraint does
    terms: Terms = [(x, at_scale(load, scale)) for x, load, scale in loads]
    always = sum(count * each for v, count, each in held if v is None)
    draft.model.add([*terms, *((v, -count * each) for v, count, each in held if v is not None)], None, always)


def _fills(draft: Draft, level: int | None, terms: Terms, when: int | None = None) -> None:
    """`level` is at least the sum of `terms`."""
    if level is not None:
        most = draft.model.domains[level][1]
        draft.model.domains[level] = (0, max(most, draft.model.most(terms)))
        draft.model.add([(level, 1), *((x, -part) for x, part in terms)], 0, None, when=when)

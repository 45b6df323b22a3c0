"""The fullest queue as a variable, and queues that must carry more than the peak."""

from __future__ import annotations

from collections.abc import Sequence

from planner.problem import MILLION, REPLICA_LOAD, Server, at_scale
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
            held = _executors(draft, server)
            _carried(draft, loads, held)
            for v, n, each in held if level is not None else []:
                _fills(draft, level, [(x, fullness(load, each * n)) for x, load, _ in loads], when=v)
    for k, users in draft.users.items():
        station = draft.problem.stations[k]
        if k in draft.private and station.levels and level is not None:
            own = [(x, fullness(o.load_ppb, station.carries(c.replicas))) for x, c, o in users]
            _fills(draft, level, own)
        elif k in draft.level:
            flows = [draft.groups[draft.step_of[x][0]].flow for x, _, _ in users]
            loads = [(x, o.load_ppb, rates[f]) for (x, _, o), f in zip(users, flows, strict=True)]
            held = [(v, station.levels[i].replicas - station.standby, REPLICA_LOAD) for v, i in draft.level[k]]
            _carried(draft, loads, held)
            for v, replicas, each in held:
                _fills(draft, level, [(x, fullness(load, each * replicas)) for x, load, _ in loads], when=v)
    return [] if level is None else [(level, 1)]


def _executors(draft: Draft, server: Server) -> list[tuple[int | None, int, int]]:
    """(literal or always, how many, load each): of the executors of a pool for each number of devices, one literal is
    true where any is bought.
    """
    devices = draft.executors(server)
    if devices is None:
        return [(None, 1, server.max_load)]
    model = draft.model
    low, high = model.domains[devices]
    counts = [(model.boolean(), n) for n in range(max(1, low), high + 1)]
    model.add([(devices, -1), *counts], 0, 0)
    model.add([(v, 1) for v, _ in counts], None, 1)
    return [(v, n, server.max_load) for v, n in counts]


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

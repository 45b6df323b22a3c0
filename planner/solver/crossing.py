"""Messages between sites by their tables of transfers, in two encodings."""

from __future__ import annotations

from planner.problem import Edge, Transfer
from planner.solver.cover import sites
from planner.solver.draft import Crossing, Draft, Visitor
from planner.solver.model import Terms


def cross_by_pair(draft: Draft, g: int, e: int, edge: Edge) -> None:
    """One boolean for each pair of sites between which the message may pass; the two ends agree with the pair."""
    model = draft.model
    starts, ends = sites(draft, g, edge.producer), sites(draft, g, edge.consumer)
    table = draft.ways.table(edge)
    pairs: dict[tuple[int, int], int] = {}
    for a in starts:
        for b in ends:
            if a == b or (a, b) in table:
                pairs[a, b] = _pair(draft, g, starts, ends, a, b)
    for site, literal in starts.items():
        out: Terms = [(z, -1) for (a, _), z in pairs.items() if a == site]
        model.add([(literal, 1), *out], 0, 0)
    for site, literal in ends.items():
        into: Terms = [(z, -1) for (_, b), z in pairs.items() if b == site]
        model.add([(literal, 1), *into], 0, 0)
    for (a, b), z in pairs.items():
        if a != b:
            draft.crossing.setdefault((g, e), []).append(charge(draft, draft.groups[g].flow, z, table[a, b]))


def _pair(draft: Draft, g: int, starts: dict[int, int], ends: dict[int, int], a: int, b: int) -> int:
    """A new literal, or the other end's where one end has no choice."""
    if len(starts) == 1:
        return ends[b]
    if len(ends) == 1:
        return starts[a]
    return draft.model.boolean()


def charge(draft: Draft, flow: int, literal: int, transfer: Transfer) -> Crossing:
    """What a transfer or a hop of `flow` costs and visits if `literal` is true."""
    if transfer.cost:
        draft.cost.append((literal, transfer.cost))
    for visit in transfer.visits:
        draft.visitors.setdefault(visit.server, []).append(Visitor(literal, visit.work_ns, visit.load_ppb, flow))
    servers = tuple(v.server for v in transfer.visits)
    return Crossing(literal, transfer.mean_us, transfer.var_us2, servers)


def cross_by_condition(draft: Draft, g: int, e: int, edge: Edge) -> None:
    """Time, variance and cost of a message are at least what they are from site a to the consumer's, if it leaves a;
    and, the other way round, at least what they are to site b from the producer's, if it arrives at b.

    A literal for each server on the way says that it is visited; nothing gains from one that is true needlessly.
    """
    model = draft.model
    starts, ends = sites(draft, g, edge.producer), sites(draft, g, edge.consumer)
    if len(starts) == 1 or len(ends) == 1:
        cross_by_pair(draft, g, e, edge)
        return
    table = draft.ways.table(edge)
    used = {(a, b): table[a, b] for a in starts for b in ends if a != b and (a, b) in table}
    most = [max((f(t) for t in used.values()), default=0) for f in (_mean, _variance, _cost)]
    mean, variance, cost = (model.integer(0, m) for m in most)
    visit_of = {v.server: v for t in used.values() for v in t.visits}
    for a, leaves in starts.items():
        _least(draft, leaves, {b: (ends[b], used.get((a, b)), a == b) for b in ends}, mean, variance, cost)
    for b, arrives in ends.items():
        _least(draft, arrives, {a: (starts[a], used.get((a, b)), a == b) for a in starts}, mean, variance, cost)
    draft.cost.append((cost, 1))
    draft.edge_time[g, e] = ([(mean, 1)], [(variance, 1)])
    for server, visit in visit_of.items():
        passed = model.boolean()
        for a, leaves in starts.items():
            over: Terms = [
                (ends[b], -1) for b in ends if (a, b) in used and any(v.server == server for v in used[a, b].visits)
            ]
            if over:
                model.add([(passed, 1), *over], 0, None, when=leaves)
        draft.visitors.setdefault(server, []).append(
            Visitor(passed, visit.work_ns, visit.load_ppb, draft.groups[g].flow)
        )
        draft.crossing.setdefault((g, e), []).append(Crossing(passed, 0, 0, (server,)))


def _least(
    draft: Draft, when: int, others: dict[int, tuple[int, Transfer | None, bool]], mean: int, variance: int, cost: int
) -> None:
    """If the literal `when` is true, the message costs what it does to the other end, which has a route."""
    model = draft.model
    forbidden = [literal for literal, transfer, same in others.values() if transfer is None and not same]
    if forbidden:
        model.add([(v, 1) for v in forbidden], None, 0, when=when)
    for variable, value in ((mean, _mean), (variance, _variance), (cost, _cost)):
        terms: Terms = [(literal, -value(t)) for literal, t, _ in others.values() if t is not None and value(t)]
        if terms:
            model.add([(variable, 1), *terms], 0, None, when=when)


def _mean(transfer: Transfer) -> int:
    return transfer.mean_us


def _variance(transfer: Transfer) -> int:
    return transfer.var_us2


def _cost(transfer: Transfer) -> int:
    return transfer.cost


def conditions_fit(edge: Edge) -> bool:
    """Whether each server is visited at most once, and alike by every transfer, as `cross_by_condition` needs."""
    seen: dict[int, tuple[int, int]] = {}
    for transfer in edge.transfers:
        servers = [v.server for v in transfer.visits]
        if len(set(servers)) != len(servers):
            return False
        for v in transfer.visits:
            if seen.setdefault(v.server, (v.work_ns, v.load_ppb)) != (v.work_ns, v.load_ppb):
                return False
    return True

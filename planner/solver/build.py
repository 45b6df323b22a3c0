"""From a Problem to its linear model, and from values of the model's variables back to a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.problem import Problem
from planner.solver.candidates import Candidate, Key, candidates
from planner.solver.capacity import buy, carry, serve
from planner.solver.cover import cover, take
from planner.solver.crossing import conditions_fit, cross_by_condition, cross_by_pair
from planner.solver.draft import Draft, Scope
from planner.solver.fullest import fullest
from planner.solver.groups import Group, groups_of
from planner.solver.model import Model, Terms
from planner.solver.reach import reachable, within_reach
from planner.solver.solution import Choice
from planner.solver.timing import INLINE_PATHS, Timing, limit, means
from planner.solver.tree_crossing import cross_on_tree
from planner.solver.ways import Ways


@dataclass(frozen=True)
class Reduced:
    """A Problem without the constraints in `relaxed`, and what may be chosen in it. `merged` are sites that stand for
    several, in a relaxation (coarse.py).
    """

    problem: Problem
    relaxed: frozenset[int]
    groups: Sequence[Group]
    candidates: dict[Key, list[Candidate]]
    private: frozenset[int]
    ways: Ways
    merged: frozenset[int] = frozenset()


def reduced(problem: Problem, relaxed: frozenset[int] = frozenset()) -> Reduced:
    """`problem` with only the candidates that an optimum may need (see candidates.py and reach.py)."""
    ways = Ways()
    groups = groups_of(problem, relaxed)
    found = candidates(problem, groups, relaxed, reachable(groups, relaxed, ways))
    narrowed, kept = within_reach(groups, found.of, relaxed, ways)
    return Reduced(problem, relaxed, narrowed, kept, found.private, ways)


def build(given: Reduced, scope: Scope = Scope()) -> Draft:  # noqa: B008 - it is immutable
    """The model of `given`, or of the relaxation that `scope` asks for."""
    draft = Draft(
        given.problem, given.relaxed, scope, given.groups, given.candidates, given.private, given.ways, given.merged
    )
    take(draft)
    if draft.model.impossible:
        return draft
    for g, group in enumerate(given.groups):
        cover(draft, g)
        for e, edge in enumerate(group.edges):
            if edge.hops:
                cross_on_tree(draft, g, e, edge)
            elif scope.encoding == "cond" and conditions_fit(edge):
                cross_by_condition(draft, g, e, edge)
            else:
                cross_by_pair(draft, g, e, edge)
    carry(draft)
    buy(draft)
    serve(draft)
    latencies: list[Terms] = [[] for o in given.problem.objectives if o.kind == "latency"]
    for g, group in enumerate(given.groups):
        paths = sum(len(shape.paths) for each in group.limits for shape in each.shapes)
        timing = Timing(draft, g, paths > INLINE_PATHS)
        limit(draft, g, timing)
        for i, terms in enumerate(means(draft, g, timing)):
            latencies[i] += terms
    wrong: Terms = [(v, given.problem.scenarios[s].wrong) for s, v in draft.taken.items()]
    sums = {"cost": draft.cost, "energy": draft.energy, "accuracy": wrong, "throughput": fullest(draft)}
    for budget in given.problem.budgets:
        if budget.constraint not in given.relaxed:
            here: Terms = [term for pool in budget.pools for term in draft.memory.get(pool, [])]
            draft.model.add(here if budget.of == "memory" else sums[budget.of], None, budget.limit)
    rest = iter(latencies)
    draft.model.objectives = [sums[o.kind] if o.kind in sums else next(rest) for o in given.problem.objectives]
    return draft


def model_of(problem: Problem) -> Model:
    """The whole linear model of `problem`, for other solvers."""
    return build(reduced(problem)).model


def read_choice(draft: Draft, values: Sequence[int]) -> Choice:
    """The choice that values of the model's variables stand for."""
    problem = draft.problem
    taken = {problem.scenarios[s].flow: s for s, v in draft.taken.items() if values[v]}
    scenarios = tuple(taken[f] for f in range(len(problem.flows)))
    replicas = [0] * len(problem.stations)
    options: list[tuple[tuple[int, ...], ...]] = []
    for s in scenarios:
        g = next(g for g, group in enumerate(draft.groups) if s in group.scenarios)
        flow: list[tuple[int, ...]] = []
        for i, forms in enumerate(draft.groups[g].slots):
            j = next(j for j, slot in enumerate(forms) if s in slot.scenarios)
            step = forms[j].step
            chosen = sorted((step.options[c.option].first, c) for x, c in draft.picked[g, i, j] if values[x])
            flow.append(tuple(c.option for _, c in chosen))
            for _, c in chosen:
                station = step.options[c.option].station
                replicas[station] = c.replicas or _replicas(draft, station, values)
        options.append(tuple(flow))
    return Choice(scenarios, tuple(options), problem.members, tuple(replicas))


def _replicas(draft: Draft, station: int, values: Sequence[int]) -> int:
    levels = draft.problem.stations[station].levels
    if not levels:
        return values[draft.bought[draft.problem.stations[station].pool]]
    return next((levels[k].replicas for v, k in draft.level[station] if values[v]), 1)

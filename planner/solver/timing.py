"""Times along paths: services, transfers and waits, and the limits on them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isqrt

from planner.problem import LIMIT, Beside, Option, Path
from planner.solver.candidates import Candidate
from planner.solver.draft import Draft
from planner.solver.model import Norm, Terms

_Pick = tuple[int, Candidate, Option]
"""A variable, and what is chosen where it is true."""
INLINE_PATHS = 2
"""With more paths than this, the time of each step and message is a variable of its own."""


@dataclass
class Timing:
    """Mean and variance of the steps and messages of one group."""

    draft: Draft
    g: int
    shorten: bool
    steps: dict[int, tuple[Terms, Terms]] = field(default_factory=dict)
    edges: dict[int, tuple[Terms, Terms]] = field(default_factory=dict)
    beside: dict[Beside, tuple[Terms, Terms]] = field(default_factory=dict)
    deviations: dict[tuple[int, int], Terms] = field(default_factory=dict)

    def step(self, i: int) -> tuple[Terms, Terms]:
        """Of a step: the candidate's, and the waits where it queues with others."""
        if i not in self.steps:
            draft = self.draft
            mean: Terms = []
            variance: Terms = []
            waits = _Waits(draft)
            for x, c, option in draft.picks(self.g, i):
                mean.append((x, c.mean_us))
                variance.append((x, c.var_us2))
                station = option.station if option.station not in draft.private else None
                waits.at_least(option.first, x, station, tuple(v.server for v in option.visits))
            waits.close()
            self.steps[i] = self._kept([*mean, *waits.means()], [*variance, *waits.variances()])
        return self.steps[i]

    def edge(self, e: int) -> tuple[Terms, Terms]:
        """Of a message: its transfer or hops, and the waits on the way. Each hop waits on its own."""
        if e not in self.edges:
            draft = self.draft
            mean, variance = draft.edge_time.get((self.g, e), ([], []))
            mean, variance = list(mean), list(variance)
            waits = _Waits(draft)
            hops = bool(draft.groups[self.g].edges[e].hops) or (self.g, e) in draft.edge_time
            for k, c in enumerate(draft.crossing.get((self.g, e), [])):
                mean.append((c.literal, c.mean_us))
                variance.append((c.literal, c.var_us2))
                waits.at_least(k if hops else 0, c.literal, None, c.servers)
            waits.close()
            self.edges[e] = self._kept([*mean, *waits.means()], [*variance, *waits.variances()])
        return self.edges[e]

    def met(self, beside: Beside) -> tuple[Terms, Terms]:
        """Of a step beside a path: as `step`, of what shares an executor with one of the path's own."""
        if beside not in self.beside:
            draft, model = self.draft, self.draft.model
            own = [self._at_executors(i) for i in beside.of]
            mean: Terms = []
            variance: Terms = []
            waits = _Waits(draft)
            for pool, picked in self._at_executors(beside.step).items():
                others = [together for at in own for together in _by_first(at.get(pool, []))]
                for x, c, option in picked if others else []:
                    both = model.boolean()
                    for together in others:
                        model.add([(both, 1), (x, -1), *((y, -1) for y in together)], -1, None)
                    mean.append((both, c.mean_us))
                    variance.append((both, c.var_us2))
                    waits.at_least(option.first, both, None, tuple(v.server for v in option.visits))
            self.beside[beside] = self._kept([*mean, *waits.means()], [*variance, *waits.variances()])
        return self.beside[beside]

    def _at_executors(self, i: int) -> dict[int, list[_Pick]]:
        """A step's candidates by `time` pool. In merged ones each may have an executor of its own."""
        draft, found = self.draft, dict[int, list[_Pick]]()
        for x, c, option in draft.picks(self.g, i):
            index = draft.problem.stations[option.station].pool
            pool = draft.problem.pools[index]
            if pool.sharing == "time" and pool.constraint not in draft.relaxed and option.site not in draft.merged:
                found.setdefault(index, []).append((x, c, option))
        return found

    def _kept(self, mean: Terms, variance: Terms) -> tuple[Terms, Terms]:
        mean, variance = [t for t in mean if t[1]], [t for t in variance if t[1]]
        if not self.shorten:
            return mean, variance
        model = self.draft.model
        return [(model.total(mean), 1)] if mean else [], [(model.total(variance), 1)] if variance else []

    def deviation(self, path: Path) -> Terms:
        """Parts of which the squares add up to the variance of a path at most. None is of a wait at a server.

        Of a step's candidates and a message's pairs one is chosen, so that their deviations add up to one part.
        """
        found: Terms = []
        for i in path.steps:
            single = all(slot.step.tasks == 1 for slot in self.draft.groups[self.g].slots[i])
            picks = [(x, c.var_us2) for x, c, _ in self.draft.picks(self.g, i)]
            found += self._deviation(0, i, picks, single)
        for e in path.edges:
            crossing = [(c.literal, c.var_us2) for c in self.draft.crossing.get((self.g, e), [])]
            found += self._deviation(1, e, crossing, not self.draft.groups[self.g].edges[e].hops)
        return found

    def _deviation(self, kind: int, index: int, variance: Terms, one: bool) -> Terms:
        """Of a step (`kind` 0) or a message, of whose literals at most `one` is true, or several are."""
        if (kind, index) not in self.deviations:
            terms: Terms = [(v, isqrt(f)) for v, f in variance if f]
            together = one and len(terms) > 1
            self.deviations[kind, index] = [(self.draft.model.total(terms), 1)] if together else terms
        return self.deviations[kind, index]

    def path(self, path: Path) -> tuple[Terms, Terms]:
        parts = [
            *(self.step(i) for i in path.steps),
            *(self.edge(e) for e in path.edges),
            *(self.met(beside) for beside in path.beside),
        ]
        return [t for mean, _ in parts for t in mean], [t for _, variance in parts for t in variance]


def _by_first(picked: list[_Pick]) -> Iterable[list[int]]:
    """The variables of candidates of which at most one is chosen, since they begin with the same task."""
    found: dict[int, list[int]] = {}
    for x, _, option in picked:
        found.setdefault(option.first, []).append(x)
    return found.values()


@dataclass
class _Waits:
    """Variables that are at least the wait of whichever literal is true; those of one key share a variable, and of
    their literals at most one is true. `alone` has by key (literal, wait, variance) of what visits its servers alone.
    """

    draft: Draft
    of: dict[int, tuple[int, int]] = field(default_factory=dict)
    alone: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)

    def close(self) -> None:
        """What waits at all waits as long as if nothing else came, which the linear relaxation does not see."""
        for key, found in self.alone.items():
            if key in self.of:
                for part, variable in enumerate(self.of[key]):
                    own = [(each[0], -each[1 + part]) for each in found if each[1 + part]]
                    if own:
                        self.draft.model.add([(variable, 1), *own], 0, None)

    def means(self) -> Terms:
        return [(mean, 1) for mean, _ in self.of.values()]

    def variances(self) -> Terms:
        return [(variance, 1) for _, variance in self.of.values()]

    def at_least(self, key: int, literal: int, station: int | None, servers: tuple[int, ...]) -> None:
        draft, model = self.draft, self.draft.model
        mean: Terms = []
        variance: Terms = []
        if station is not None and station in draft.level:
            for v, k in draft.level[station]:
                level = draft.problem.stations[station].levels[k]
                mean.append((v, level.wait_us))
                variance.append((v, level.wait_var))
        own = [draft.wait_alone(index, literal) for index in servers if index in draft.server_levels]
        self.alone.setdefault(key, []).append((literal, sum(m for m, _ in own), sum(v for _, v in own)))
        for index in servers:
            for v, k in draft.server_levels.get(index, []):
                mean.append((v, draft.problem.servers[index].levels[k].wait_us))
                variance.append((v, draft.problem.servers[index].levels[k].wait_var))
        if not any(f for _, f in (*mean, *variance)):
            return
        if key not in self.of:
            self.of[key] = (model.integer(0, 0), model.integer(0, 0))
        for variable, terms in zip(self.of[key], (mean, variance), strict=True):
            most = min(LIMIT, model.most(terms))
            model.domains[variable] = (0, max(model.domains[variable][1], most))
            model.add([(variable, 1), *((v, -f) for v, f in terms)], 0, None, when=literal)


def limit(draft: Draft, g: int, timing: Timing) -> None:
    """Each path of each branch pattern takes one row of its table; what the rows give away is bounded."""
    model, present = draft.model, draft.present[g]
    for each in draft.groups[g].limits:
        if each.constraint in draft.relaxed:
            continue
        given_away: Terms = []
        for shape in each.shapes:
            for path in shape.paths:
                mean, variance = timing.path(path)
                most = (model.most(mean), model.most(variance))
                rows = [(model.boolean(), row) for row in shape.rows]
                model.add([*((v, 1) for v, _ in rows), (present, -1)], 0, 0)
                model.add([*mean, *((v, -min(most[0], r.mean_us)) for v, r in rows)], None, 0)
                model.add([*variance, *((v, -min(most[1], r.var_us2)) for v, r in rows)], None, 0)
                given_away += [(v, row.excess_ppb) for v, row in rows]
                if draft.scope.servers is not None:  # the whole model is solved without linear relaxations
                    at_most = tuple((v, min(most[1], r.var_us2)) for v, r in rows)
                    model.norms.append(Norm(tuple(timing.deviation(path)), at_most))
        model.add(given_away, None, each.allowed_ppb)


def means(draft: Draft, g: int, timing: Timing) -> list[Terms]:
    """By latency objective, its terms: a branch pattern counts with its slowest path."""
    model = draft.model
    found: list[Terms] = []
    for shapes in draft.groups[g].means:
        terms: Terms = []
        for shape in shapes:
            paths = [timing.path(path)[0] for path in shape.paths]
            if len(paths) == 1:
                terms += [(v, f * shape.weight) for v, f in paths[0]]
            elif paths:
                slowest = model.integer(0, max(model.most(m) for m in paths))
                for mean in paths:
                    model.add([(slowest, 1), *((v, -f) for v, f in mean)], 0, None)
                terms.append((slowest, shape.weight))
        found.append(terms)
    return found

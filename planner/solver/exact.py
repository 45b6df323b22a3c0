"""The exact strategies: CP-SAT over the whole model, or over relaxations that grow until their answer holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from planner.problem import Problem
from planner.solver import cpsat
from planner.solver.branches import Branch, Group, every_choice, groups_of, parts_of
from planner.solver.build import Reduced, build, read_choice, reduced
from planner.solver.coarse import Coarse, Labels, coarsen, labels_of, real, split, used_blocks
from planner.solver.draft import Draft, Encoding, Scope
from planner.solver.evaluate import Evaluation, evaluate
from planner.solver.largest import largest
from planner.solver.linear import Bound, LinearRelaxation
from planner.solver.model import Row, Terms
from planner.solver.neighbourhood import neighbourhood
from planner.solver.replicas import replica_counts
from planner.solver.site_branches import barred, by_site
from planner.solver.solution import Choice, Solution, Status, relative_gap
from planner.solver.stop import Clock, Stop

AT_ONCE: Final = 400
"""Up to so many candidates the whole model is solved at once."""
EFFORT: Final = 1.2
"""Deterministic seconds of the first search of a branch."""
HARDER: Final = 4
"""A branch gets so many times as much where it was not enough."""
OTHERS: Final = 24
"""Where a neighbourhood has no plan, so many choices of each step at other sites are looked at too."""
NEAR: Final = 0.01
"""A first plan of a branch may be so far from the best one."""
TANGENTS: Final = 6
"""Rounds of tangents where the linear relaxation buys whole devices."""
ANY: Final = 1e6
"""A relative gap within which is whatever is found first."""
TRIES: Final = 3
"""Relaxations of which any answer is asked for, whatever it costs."""
MOST: Final = 2**63 - 1
"""No objective is as large."""
SITES: Final = 10_000
"""With more candidates than this, choices are divided by where steps run too: below, CP-SAT alone is as fast."""
BLOCKS: Final = 0.5
"""Sites are merged if at most this share of them is left."""


Possible = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Exact:
    """CP-SAT. Messages with tables are encoded as `encoding` says; those with hops by the links they cross.

    With more than `at_once` candidates, the choices are divided by what is bought (branches.py), and relaxations are
    solved, each of which has more of what the answer to the last one left out: far sites one by one (coarse.py), waits
    at servers, and the packing into devices. Each bound is a bound of the whole, and the last answer holds in full.
    Sites are merged where at most the share `blocks` of them is left. With more than `sites` candidates left, choices
    are divided by where steps run too (site_branches.py).
    """

    encoding: Encoding = "pair"
    name: str = "pair"
    at_once: int = AT_ONCE
    blocks: float = BLOCKS
    sites: int = SITES

    def solve(self, problem: Problem, stop: Stop) -> Solution:
        """The best choice, or the best within the limits of `stop`, and what is proven."""
        clock = Clock(stop)
        try:
            given = reduced(problem)
        except KeyboardInterrupt:
            return Solution("unknown", seconds=clock.spent, strategy=self.name, interrupted=True)
        search = _Search(given, clock, self.encoding, self.sites)
        try:
            if sum(map(len, given.candidates.values())) <= self.at_once:
                proven = search.minimise(Relaxation(Scope(self.encoding)))
            else:
                proven = search.minimise(search.start(self.blocks))
        except KeyboardInterrupt:  # between two searches, which end themselves
            search.interrupted, proven = True, False
        return replace(search.solution(proven), strategy=self.name)

    def possible(self, problem: Problem, relaxed: frozenset[int], stop: Stop) -> tuple[Possible, Choice | None]:
        """Whether any choice keeps the constraints not in `relaxed`, as far as `stop` allows to find out; and one that
        does, if it was found with all its devices.

        Raises KeyboardInterrupt where Ctrl-C ended the search.
        """
        clock = Clock(replace(stop, gap=ANY))
        search = _Search(reduced(problem, relaxed), clock, self.encoding, self.sites)
        small = sum(map(len, search.given.candidates.values())) <= self.at_once
        answer = search.possible(Relaxation(Scope(self.encoding)) if small else search.start(self.blocks))
        best = None if search.interrupted else search.without_spare()
        if search.interrupted:
            raise KeyboardInterrupt
        return answer, None if best is None else best[0]


@dataclass(frozen=True)
class Relaxation:
    """What a model has of the whole. No `labels`: every site."""

    scope: Scope
    labels: Labels | None = None


def _ignore(_: int) -> None:
    """Hears of a value, and does nothing."""


@dataclass
class _Search:
    """`best` is the best choice known that keeps all constraints; `held` has the values of earlier objectives.

    `built` is the relaxation whose model was built last, `merged` the labels for which sites were merged last, `linear`
    the relaxation whose linear one was made last. `groups` are what the first objective pays for by the device. The
    best choice may have `spare` replicas.
    """

    given: Reduced
    clock: Clock
    encoding: Encoding
    sites: int = SITES
    best: tuple[Choice, Evaluation] | None = None
    held: list[int] = field(default_factory=list)
    bounds: list[int] = field(default_factory=list)
    interrupted: bool = False
    built: tuple[Relaxation, Coarse, Draft] | None = None
    merged: tuple[Labels, Coarse] | None = None
    linear: tuple[Relaxation, LinearRelaxation] | None = None
    groups: tuple[Group, ...] = ()
    spare: bool = False

    def start(self, blocks: float) -> Relaxation:
        """The first relaxation: waits at the application's own ends, between near sites and on the way from the ends to
        the site with most to buy, where most plans buy; no packing.
        """
        if self.clock.left <= 0:
            return Relaxation(Scope(self.encoding, frozenset(), frozenset()))
        labels = labels_of(self.given)
        coarse = self._coarse(labels)
        merged = len(set(coarse.block.values())) <= blocks * len(coarse.block)
        servers = _at_the_ends(self.given.problem) | _on_the_way_to_most(self.given)
        if merged:
            servers |= _between(self.given.problem, coarse)
        return Relaxation(Scope(self.encoding, servers, frozenset()), labels if merged else None)

    def _offer(self, choice: Choice, most: int | None = None) -> Evaluation:
        """Evaluate `choice`; it becomes the best if it keeps all constraints, is wanted and better.

        Spare replicas are left out, for which many choices are evaluated, later where it costs `most` as it is.
        """
        found = self._evaluated(choice)
        spare = most is not None and found.holds() and found.objectives[0] <= most
        if not spare:
            choice = fewest_replicas(self.given, choice)
            found = self._evaluated(choice)
        at_most = self.clock.stop.at_most
        wanted = found.holds() and (at_most is None or found.objectives[0] <= at_most)
        if wanted and (self.best is None or found.objectives < self.best[1].objectives):
            self.best, self.spare = (choice, found), spare
            self.clock.found(found.objectives[0])
        return found

    def _evaluated(self, choice: Choice) -> Evaluation:
        return evaluate(self.given.problem, choice, self.given.relaxed, self.given.ways)

    def without_spare(self) -> tuple[Choice, Evaluation] | None:
        """The best choice, without replicas that nothing asks for; with them where Ctrl-C comes meanwhile."""
        if self.best is not None and self.spare:
            try:
                choice = fewest_replicas(self.given, self.best[0])
                self.best, self.spare = (choice, self._evaluated(choice)), False
            except KeyboardInterrupt:
                self.interrupted = True
        return self.best

    def minimise(self, relaxation: Relaxation) -> bool:
        """All objectives, one after the other, each with those before it held at the value found. Whether proven."""
        proven = True
        for k in range(len(self.given.problem.objectives)):
            divided = k == 0 and relaxation.scope.servers is not None
            status, relaxation = self._divided(relaxation) if divided else self._minimise(k, relaxation)
            if self.best is None:
                return status == "infeasible"
            proven = proven and status == "optimal"
            self.held.append(self.best[1].objectives[k])
        return proven

    def possible(self, relaxation: Relaxation) -> Possible:
        """Whether there is any choice: of relaxations for a moment, then by the search for the best one, to the first.

        If a relaxation has none, there is none. Where only choices of a least value count, bounds say more than models
        without an objective, which are left out.
        """
        for _ in range(TRIES if self.clock.stop.at_most is None else 0):
            coarse, draft = self._built(relaxation)
            whole = relaxation.scope.servers is None
            answer = self._any(draft, None if whole else EFFORT)
            if answer.status == "infeasible":
                return "no"
            if not answer.values:
                break
            used = used_blocks(coarse, draft, answer.values)
            found = None if used else self._offer(real(self.given.problem, read_choice(draft, answer.values)))
            if self.best is not None or (whole and not used):
                return "yes"
            relaxation = self._tighter(relaxation, coarse, draft, answer.values, found, used)
        status, _ = self._divided(relaxation, first=True)
        return "yes" if self.best is not None else "no" if status == "infeasible" else "unknown"

    def _any(self, draft: Draft, effort: float | None) -> cpsat.Answer:
        """Any answer of the model."""
        if draft.model.impossible:
            return cpsat.Answer("infeasible")
        left, seed = self.clock.left, self.clock.stop.seed
        answer = cpsat.run(draft.model, time_limit=left, effort=effort, seed=seed)
        self.interrupted = self.interrupted or answer.interrupted
        return answer

    def solution(self, proven: bool) -> Solution:
        """What was found; `proven`: that it is optimal, or that there is nothing."""
        best = self.without_spare()
        now, clock = self.clock.spent, self.clock
        certain = now if proven else None
        if best is None:
            status: Status = "infeasible" if proven else "unknown"
            return Solution(status, seconds=now, seconds_proof=certain, interrupted=self.interrupted)
        choice, found = best
        bounds = [*self.bounds, *[0] * len(found.objectives)]
        limits = tuple(v if proven else min(v, b) for v, b in zip(found.objectives, bounds, strict=False))
        return Solution(
            "optimal" if proven else "feasible",
            choice,
            found.objectives,
            limits,
            relative_gap(found.objectives, limits),
            now,
            clock.first,
            clock.best,
            certain,
            interrupted=self.interrupted,
        )

    def _divided(self, relaxation: Relaxation, *, first: bool = False) -> tuple[str, Relaxation]:
        """The first objective: branches by what is bought, the one with the least bound next once there is a plan.

        To the `first` plan, if that is all that is asked for.
        """
        if self.clock.left > 0:
            coarse, draft = self._built(relaxation)
            if draft.model.impossible:
                self.bounds.append(0)
                return "infeasible", relaxation
            self.groups = groups_of(self.given, coarse)
        todo = [replace(every_choice(self.given.problem, self.groups), effort=EFFORT, others=0)]
        settled: list[Branch] = []
        while todo and self.clock.left > 0 and not self.interrupted and not (first and self.best):
            least = min(range(len(todo)), key=lambda i: todo[i].bound)
            branch = todo.pop(-1 if self._best(0) is None else least)
            relaxation, left = self._branch(branch, relaxation)
            for part in left:
                (settled if part.done or self._settles(part.bound) else todo).append(part)
            if self.best is not None or settled or todo:
                self.clock.proven(self._least([*settled, *todo]))
        here, bound = self._best(0), self._least([*settled, *todo])
        self.bounds.append(bound)
        if here is None:
            return ("unknown" if todo or settled else "infeasible"), relaxation
        return ("optimal" if bound >= here else "feasible"), relaxation

    def _least(self, branches: Sequence[Branch]) -> int:
        """The least that a choice in one of `branches`, or the best one known, may cost."""
        here = self._best(0)
        return min([branch.bound for branch in branches] + [MOST if here is None else here])

    def _settles(self, bound: int) -> bool:
        """Whether the best choice known is as near to `bound` as was asked for."""
        here = self._best(0)
        return here is not None and here - bound <= self.clock.stop.gap * abs(here)

    def _ceiling(self) -> int | None:
        """Only choices with a first objective below this are looked for."""
        here, most = self._best(0), self.clock.stop.at_most
        if here is None:
            return None if most is None else most + 1
        return here if most is None else min(here, most + 1)

    def _branch(self, branch: Branch, relaxation: Relaxation) -> tuple[Relaxation, list[Branch]]:
        """One step: the branch's linear relaxation, then its parts or a search. What it took, and what is left to do.

        Nothing is left of a branch where no choice is below the ceiling.
        """
        ceiling = self._ceiling()
        coarse, draft = self._built(relaxation)
        large = sum(map(len, coarse.given.candidates.values())) > self.sites

        def solve(part: Branch, rounds: int = 0) -> Bound | None:
            bar = barred(draft, coarse, part)
            return self._linear(relaxation).solve(part.limits, self.clock.left, rounds, bar)

        def parted(by: Bound) -> tuple[Relaxation, list[Branch]] | None:
            parts = by_site(draft, coarse, branch, by, solve, ceiling)
            if parts is None:
                return None
            return relaxation, [part for part in parts if ceiling is None or part.bound < ceiling]

        linear: Bound | None = None
        for rounds in (0, TANGENTS):
            further = bool(rounds and branch.away)  # tangents are for what is not divided further
            if further and linear is not None and (divided := parted(linear)) is not None:
                return divided
            found = solve(branch, rounds)
            if found is not None:
                linear = found
                branch = replace(branch, bound=max(branch.bound, found.value))
            if ceiling is not None and branch.bound >= ceiling:
                return relaxation, []
            if found is not None and (parts := parts_of(self.groups, branch, found)):
                return relaxation, list(parts)
        if large and linear is not None and (divided := parted(linear)) is not None:
            return divided
        return self._searched(branch, relaxation, linear, ceiling)

    def _searched(
        self, branch: Branch, relaxation: Relaxation, linear: Bound | None, ceiling: int | None
    ) -> tuple[Relaxation, list[Branch]]:
        """The same by CP-SAT, over what answers below the ceiling can use: first near the linear relaxation's."""
        coarse, draft = self._built(relaxation)
        domains = kept = list(draft.model.domains)
        for literal in barred(draft, coarse, branch):
            domains[literal] = 0, 0
        if linear is not None and ceiling is not None:
            domains = kept = linear.below(ceiling, domains)
        near = ceiling is not None and bool(branch.away) and branch.bound >= (1 - NEAR) * ceiling
        if linear is not None and branch.others is not None and not near:
            kept = neighbourhood(draft, linear, branch.others, domains)
        narrow = kept != domains
        between = (0 if narrow else branch.bound, MOST if ceiling is None else ceiling - 1)
        limits = list(branch.rows(self.groups, draft))
        effort = branch.effort if self.groups else None
        rows = () if linear is None else self._linear(relaxation).tangents
        gap = NEAR if narrow else 0.0
        answer = self._run(draft, 0, domains=kept, rows=rows, limits=limits, between=between, effort=effort, gap=gap)
        if answer.status == "infeasible":
            others = None if self.best or branch.others else OTHERS
            return relaxation, [replace(branch, others=others)] if narrow else []
        if not narrow and answer.bound is not None:
            branch = replace(branch, bound=max(branch.bound, answer.bound))
        if not answer.values:
            return relaxation, [replace(branch, effort=HARDER * branch.effort)]
        used = used_blocks(coarse, draft, answer.values)
        value = sum(factor * answer.values[v] for v, factor in draft.model.objectives[0])
        found = None if used else self._offer(real(self.given.problem, read_choice(draft, answer.values)), value)
        if not answer.ended:
            return relaxation, [replace(branch, effort=HARDER * branch.effort)]
        held = found is not None and found.holds() and found.objectives[0] <= value
        whole = relaxation.scope.servers is None and not used
        if held or (whole and narrow):
            return relaxation, [replace(branch, others=None)]
        if whole:  # how few devices hold the replicas was not found out
            return relaxation, [replace(branch, done=True)]
        return self._tighter(relaxation, coarse, draft, answer.values, found, used), [branch]

    def _linear(self, relaxation: Relaxation) -> LinearRelaxation:
        """That of the model of `relaxation`."""
        if self.linear is None or self.linear[0] is not relaxation:
            draft = self._built(relaxation)[1]
            sums = [group.bought(draft) for group in self.groups]
            self.linear = relaxation, LinearRelaxation(draft.model, draft.model.objectives[0], sums)
        return self.linear[1]

    def _minimise(self, k: int, relaxation: Relaxation) -> tuple[str, Relaxation]:
        """Objective `k`: relaxations, each with what the answer to the one before had left out, until one holds."""
        bound = 0
        while True:
            if self.clock.left <= 0 or self.interrupted:
                self.bounds.append(bound)
                return "unknown", relaxation
            coarse, draft = self._built(relaxation)
            # Of the first objective this is the whole model, whose answers hold.
            answer = self._run(draft, k, better=self.clock.found if k == 0 else _ignore)
            if answer.bound is not None:
                bound = max(bound, answer.bound)
            if answer.status == "infeasible":
                # No choice is better than the one known, if any.
                self.bounds.append(self.best[1].objectives[k] if self.best else 0)
                return ("optimal" if self.best else "infeasible"), relaxation
            if not answer.values:
                self.bounds.append(bound)
                return "unknown", relaxation
            used = used_blocks(coarse, draft, answer.values)
            found = None if used else self._offer(real(self.given.problem, read_choice(draft, answer.values)))
            if k == 0:
                self.clock.proven(bound)
            here = self._best(k)
            if here is not None and bound >= here:
                self.bounds.append(here)
                return "optimal", relaxation
            within = here is not None and here - bound <= self.clock.stop.gap * abs(here)
            whole = relaxation.scope.servers is None and not used
            if within or whole:
                self.bounds.append(bound)
                return "feasible", relaxation
            relaxation = self._tighter(relaxation, coarse, draft, answer.values, found, used)

    def _tighter(
        self,
        relaxation: Relaxation,
        coarse: Coarse,
        draft: Draft,
        values: Sequence[int],
        found: Evaluation | None,
        used: frozenset[int],
    ) -> Relaxation:
        """With what the answer `values`, which uses the merged blocks `used` or was `found` to be so, left out."""
        if found is not None:
            return replace(relaxation, scope=_wider(draft, values, found, relaxation.scope))
        assert relaxation.labels is not None
        return replace(relaxation, labels=split(self.given, relaxation.labels, coarse, used))

    def _built(self, relaxation: Relaxation) -> tuple[Coarse, Draft]:
        """The model of `relaxation`, which stays as it is from one objective to the next."""
        if self.built is None or self.built[0] is not relaxation:
            labels = relaxation.labels
            coarse = Coarse(self.given) if labels is None else self._coarse(labels)
            self.built = relaxation, coarse, build(coarse.given, relaxation.scope)
        return self.built[1:]

    def _coarse(self, labels: Labels) -> Coarse:
        """The sites merged as `labels` say, which stay so while only waits and packing are added."""
        if self.merged is None or self.merged[0] is not labels:
            self.merged = labels, coarsen(self.given, labels)
        return self.merged[1]

    def _best(self, k: int) -> int | None:
        """The best known value of objective `k`, if the best choice has those before it at the values held."""
        if self.best is None or list(self.best[1].objectives[:k]) != self.held[:k]:
            return None
        return self.best[1].objectives[k]

    def _run(
        self,
        draft: Draft,
        k: int,
        *,
        better: Callable[[int], None] = _ignore,
        domains: list[tuple[int, int]] | None = None,
        rows: Sequence[Row] = (),
        limits: Sequence[tuple[Terms, int]] = (),
        between: tuple[int, int] | None = None,
        effort: float | None = None,
        gap: float = 0.0,
    ) -> cpsat.Answer:
        """The best value of objective `k` in the model with these `domains` and `limits`, `between` two values if there
        are any; else no worse than the best one known.
        """
        model, clock = draft.model, self.clock
        if model.impossible:
            return cpsat.Answer("infeasible")
        if self.interrupted:
            return cpsat.Answer("unknown")
        within = [*zip(model.objectives, self.held, strict=False), *limits]
        hint: dict[int, int] = {}
        if between is None and clock.stop.at_most is not None:
            within.append((model.objectives[0], clock.stop.at_most))
        here = self._best(k)
        if between is None and here is not None and self.best is not None:
            hint = hint_of(draft, self.best[0])
            within.append((model.objectives[k], here))
        answer = cpsat.run(
            model if domains is None else replace(model, domains=domains, rows=[*model.rows, *rows]),
            model.objectives[k],
            within=within,
            between=between,
            hint=hint,
            time_limit=clock.left,
            effort=effort,
            gap=max(gap, clock.stop.gap),
            seed=clock.stop.seed,
            better=better,
            bound=clock.proven if k == 0 and domains is None else _ignore,
        )
        self.interrupted = self.interrupted or answer.interrupted
        return answer


def _at_the_ends(problem: Problem) -> frozenset[int]:
    """Servers of the links where requests enter and answers leave: whatever goes elsewhere passes them."""
    return frozenset(
        visit.server
        for scenario in problem.scenarios
        for edge in scenario.edges
        for end in (edge.producer, edge.consumer)
        if end.step < 0
        for hop in edge.hops
        if end.site in (hop.start, hop.end)
        for visit in hop.visits
    )


def _on_the_way_to_most(given: Reduced) -> frozenset[int]:
    """Servers between the sites where requests enter or answers leave and the site with most to buy."""
    there = largest(given.problem)
    found: set[int] = set()
    for edge in (edge for scenario in given.problem.scenarios for edge in scenario.edges):
        ways = [(edge.producer.site, there)] if edge.producer.step < 0 <= edge.consumer.step else []
        ways += [(there, edge.consumer.site)] if edge.consumer.step < 0 <= edge.producer.step else []
        for start, end in ways:
            transfer = given.ways.between(edge, start, end) if start != end else None
            found |= {visit.server for visit in transfer.visits} if transfer is not None else set()
    return frozenset(found)


def _between(problem: Problem, coarse: Coarse) -> frozenset[int]:
    """Servers of the links between sites that are not merged, where messages have hops."""
    return frozenset(
        visit.server
        for scenario in problem.scenarios
        for edge in scenario.edges
        for hop in edge.hops
        if coarse.merged.isdisjoint((coarse.block[hop.start], coarse.block[hop.end]))
        for visit in hop.visits
    )


def _wider(draft: Draft, values: Sequence[int], found: Evaluation, scope: Scope) -> Scope:
    """`scope` with the servers where something waits in the answer and the pools of which it has too few devices."""
    assert scope.servers is not None
    assert scope.packed is not None
    servers = scope.servers | found.waiting
    servers |= {i for i, s in enumerate(draft.problem.servers) if s.constraint in found.broken}
    packed = scope.packed | _short(draft, values, found)
    if (servers, packed) == (scope.servers, scope.packed):
        return Scope(scope.encoding)
    return Scope(scope.encoding, servers, packed)


def _short(draft: Draft, values: Sequence[int], found: Evaluation) -> frozenset[int]:
    """Pools of which the answer `values` has too few devices."""
    few = (p for p, bought in draft.bought.items() if found.bought[p] > values[bought])
    return frozenset(few) | {p for p, s in enumerate(draft.problem.pools) if s.constraint in found.broken}


def hint_of(draft: Draft, choice: Choice) -> dict[int, int]:
    """Values for the variables of scenarios and candidates that stand for `choice`."""
    hint = {v: int(s in choice.scenarios) for s, v in draft.taken.items()}
    for (g, i, j), picked in draft.picked.items():
        slot = draft.groups[g].slots[i][j]
        scenario = choice.scenarios[draft.groups[g].flow]
        chosen = choice.options[draft.groups[g].flow][i] if scenario in slot.scenarios else ()
        for x, c in picked:
            station = slot.step.options[c.option].station
            hint[x] = int(c.option in chosen and c.replicas in (0, choice.replicas[station]))
    return hint


def fewest_replicas(given: Reduced, choice: Choice) -> Choice:
    """`choice` without replicas that nothing asks for (they are free where devices are bought anyway)."""
    problem, relaxed, ways = given.problem, given.relaxed, given.ways
    current, value = choice, evaluate(problem, choice, relaxed, ways)
    for together, counts in replica_counts(problem, choice.replicas):
        for fewer in (n for n in counts if n < choice.replicas[together[0]]):
            replicas = tuple(fewer if k in together else n for k, n in enumerate(current.replicas))
            trial = Choice(current.scenarios, current.options, current.members, replicas)
            found = evaluate(problem, trial, relaxed, ways)
            if found.holds() and found.objectives <= value.objectives:
                current, value = trial, found
                break
    return current

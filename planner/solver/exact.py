"""The exact strategies: CP-SAT over the whole model, or over relaxations that grow until their answer holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from planner.problem import Problem
from planner.solver import cpsat
from planner.solver.build import Reduced, build, read_choice, reduced
from planner.solver.coarse import Coarse, Labels, coarsen, labels_of, real, split, used_blocks, without_blocks
from planner.solver.draft import Draft, Encoding, Scope
from planner.solver.evaluate import Evaluation, evaluate
from planner.solver.few import few_of
from planner.solver.solution import Choice, Solution, Status, relative_gap
from planner.solver.stop import Clock, Stop

AT_ONCE: Final = 400
"""Up to so many candidates the whole model is solved at once."""

BLOCKS: Final = 0.5
"""Sites are merged if at most this share of them is left."""
FIRST_SHARE: Final = 0.2
"""The part of the time limit that the search among few candidates may take."""
NEAR_SHARE: Final = 0.4
"""The part of the time limit that the search at near sites may take."""
NEAR_GAP: Final = 0.01


@dataclass(frozen=True)
class Exact:
    """CP-SAT. Messages with tables are encoded as `encoding` says; those with hops by the links they cross.

    With more than `at_once` candidates, relaxations are solved, each of which has more of what the answer to the last
    one left out: candidates one by one instead of clusters of them (coarse.py), waits at servers, and the packing into
    devices. Each bound is a bound of the whole, and the last answer holds in full.
    """

    encoding: Encoding = "pair"
    name: str = "pair"
    at_once: int = AT_ONCE
    blocks: float = BLOCKS

    def solve(self, problem: Problem, stop: Stop) -> Solution:
        """The best choice, or the best within the limits of `stop`, and what is proven."""
        clock = Clock(stop)
        try:
            given = reduced(problem)
        except KeyboardInterrupt:
            return Solution("unknown", seconds=clock.spent, strategy=self.name, interrupted=True)
        search = _Search(given, clock, self.encoding)
        try:
            if sum(map(len, given.candidates.values())) <= self.at_once:
                proven = search.minimise(Relaxation(Scope(self.encoding)))
            else:
                ends = Scope(self.encoding, _at_the_ends(problem), frozenset())
                proven = search.minimise(search.start(ends, self.blocks))
        except KeyboardInterrupt:  # between two searches, which end themselves
            search.interrupted, proven = True, False
        return replace(search.solution(proven), strategy=self.name)


@dataclass(frozen=True)
class Relaxation:
    """What a model has of the whole. No `labels`: every site."""

    scope: Scope
    labels: Labels | None = None


@dataclass
class _Search:
    """`best` is the best choice known that keeps all constraints; `held` has the values of earlier objectives.

    `built` is the relaxation whose model was built last, `merged` the labels for which sites were merged last.
    """

    given: Reduced
    clock: Clock
    encoding: Encoding
    best: tuple[Choice, Evaluation] | None = None
    held: list[int] = field(default_factory=list)
    bounds: list[int] = field(default_factory=list)
    interrupted: bool = False
    built: tuple[Relaxation, Coarse, Draft] | None = None
    merged: tuple[Labels, Coarse] | None = None

    def start(self, scope: Scope, blocks: float) -> Relaxation:
        """A first choice, if it is soon found, and the first relaxation."""
        if self.clock.left <= 0:
            return Relaxation(scope)
        labels = labels_of(self.given)
        coarse = self._coarse(labels)
        if len(set(coarse.block.values())) <= blocks * len(coarse.block):
            return Relaxation(self.near(coarse, scope), labels)
        self.among_few()
        waiting = self.best[1].waiting if self.best else frozenset[int]()
        assert scope.servers is not None
        return Relaxation(replace(scope, servers=scope.servers | waiting))

    def among_few(self) -> None:
        """A first choice, from few candidates for each step and site.

        Packing is left out, which has variables for each device, but in pools where the last answer did not fit.
        """
        few = few_of(self.given)
        ends = self.clock.spent + FIRST_SHARE * self.clock.stop.time_limit
        packed: frozenset[int] = frozenset()
        while not self.interrupted:
            draft = build(replace(self.given, candidates=few), Scope(self.encoding, None, packed))
            if draft.model.impossible:
                return
            answer = cpsat.run(
                draft.model,
                draft.model.objectives[0],
                time_limit=min(self.clock.left, ends - self.clock.spent),
                gap=max(0.02, self.clock.stop.gap),
                seed=self.clock.stop.seed,
            )
            self.interrupted = answer.interrupted
            if not answer.values:
                return
            found = self._offer(read_choice(draft, answer.values))
            short = _short(draft, answer.values, found)
            if found.holds() or short <= packed:
                return
            packed |= short

    def near(self, coarse: Coarse, scope: Scope) -> Scope:
        """The best choice at sites that are not merged, as far as it is found soon; what it took to make it hold."""
        few = without_blocks(coarse)
        ends = self.clock.spent + NEAR_SHARE * self.clock.stop.time_limit
        while not self.interrupted:
            draft = build(replace(self.given, candidates=few), scope)
            if draft.model.impossible:
                return scope
            answer = cpsat.run(
                draft.model,
                draft.model.objectives[0],
                time_limit=min(self.clock.left, ends - self.clock.spent),
                gap=max(NEAR_GAP, self.clock.stop.gap),
                seed=self.clock.stop.seed,
            )
            self.interrupted = answer.interrupted
            if not answer.values:
                return scope
            found = self._offer(read_choice(draft, answer.values))
            wider = _wider(draft, answer.values, found, scope)
            if found.holds() or wider.servers is None:
                return wider if wider.servers is not None else scope
            scope = wider
        return scope

    def _offer(self, choice: Choice) -> Evaluation:
        """Evaluate `choice`; it becomes the best if it keeps all constraints, is wanted and better."""
        choice = fewest_replicas(self.given, choice)
        found = evaluate(self.given.problem, choice, ways=self.given.ways)
        at_most = self.clock.stop.at_most
        wanted = found.holds() and (at_most is None or found.objectives[0] <= at_most)
        if wanted and (self.best is None or found.objectives < self.best[1].objectives):
            self.best = (choice, found)
            self.clock.found(found.objectives[0])
        return found

    def minimise(self, relaxation: Relaxation) -> bool:
        """All objectives, one after the other, each with those before it held at the value found. Whether proven."""
        proven = True
        for k in range(len(self.given.problem.objectives)):
            status, relaxation = self._minimise(k, relaxation)
            if self.best is None:
                return status == "infeasible"
            proven = proven and status == "optimal"
            self.held.append(self.best[1].objectives[k])
        return proven

    def solution(self, proven: bool) -> Solution:
        """What was found; `proven`: that it is optimal, or that there is nothing."""
        now, clock = self.clock.spent, self.clock
        certain = now if proven else None
        if self.best is None:
            status: Status = "infeasible" if proven else "unknown"
            return Solution(status, seconds=now, seconds_proof=certain, interrupted=self.interrupted)
        choice, found = self.best
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

    def _minimise(self, k: int, relaxation: Relaxation) -> tuple[str, Relaxation]:
        """Objective `k`: relaxations, each with what the answer to the one before had left out, until one holds."""
        bound = 0
        while True:
            if self.clock.left <= 0 or self.interrupted:
                self.bounds.append(bound)
                return "unknown", relaxation
            coarse, draft = self._built(relaxation)
            answer = self._run(draft, k, exact=relaxation.scope.servers is None and not coarse.merged)
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
            if found is not None:
                relaxation = replace(relaxation, scope=_wider(draft, answer.values, found, relaxation.scope))
            elif relaxation.labels is not None:
                relaxation = replace(relaxation, labels=split(self.given, relaxation.labels, coarse, used))

    def _built(self, relaxation: Relaxation) -> tuple[Coarse, Draft]:
        """The model of `relaxation`, which stays as it is from one objective to the next."""
        if self.built is None or self.built[0] is not relaxation:
            labels = relaxation.labels
            coarse = Coarse(self.given, {}, frozenset()) if labels is None else self._coarse(labels)
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

    def _run(self, draft: Draft, k: int, exact: bool) -> cpsat.Answer:
        model, clock = draft.model, self.clock
        if model.impossible:
            return cpsat.Answer("infeasible")
        within = list(zip(model.objectives, self.held, strict=False))
        if clock.stop.at_most is not None:
            within.append((model.objectives[0], clock.stop.at_most))
        hint: dict[int, int] = {}
        here = self._best(k)
        if here is not None and self.best is not None:
            hint = hint_of(draft, self.best[0])
            within.append((model.objectives[k], here))
        answer = cpsat.run(
            model,
            model.objectives[k],
            within=within,
            hint=hint,
            time_limit=clock.left,
            gap=clock.stop.gap,
            seed=clock.stop.seed,
            better=clock.found if exact and k == 0 else lambda _: None,
            bound=clock.proven if k == 0 else lambda _: None,
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
    problem, ways = given.problem, given.ways
    current, value = choice, evaluate(problem, choice, ways=ways)
    for k, station in enumerate(problem.stations):
        if not current.replicas[k]:
            continue
        for fewer in sorted({level.replicas for level in station.levels if level.replicas < current.replicas[k]}):
            replicas = (*current.replicas[:k], fewer, *current.replicas[k + 1 :])
            trial = Choice(current.scenarios, current.options, current.members, replicas)
            found = evaluate(problem, trial, ways=ways)
            if found.holds() and found.objectives <= value.objectives:
                current, value = trial, found
                break
    return current

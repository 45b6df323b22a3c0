"""Affinity, separation and capabilities: the solver's best is the best of all placements that keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, product

import pytest

from planner.answers.again import vary
from planner.formulation import Formulation, formulation
from planner.plan import solve
from planner.problem import Problem, Scenario
from planner.situation import Situation
from planner.solver import solve_problem
from planner.verification import verify
from planner.verification.claims import Claims
from planner.verification.placement import check_pins_and_residency
from planner.verification.reading import Reading
from specs.errors import AnswerIsNo, InputError, NotKnown
from specs.plan import Plan
from tests.planner.brute import TooLarge, brute_force
from tests.planner.worlds import world

Allowed = Callable[[str, str], set[str]]
"""(flow, component) -> sites."""


def best(problem: Problem) -> tuple[int, ...] | None:
    found = solve_problem(problem)
    assert found.status in ("optimal", "infeasible")
    return found.objectives if found.choice else None


def only(given: Formulation, allowed: Allowed) -> Problem:
    """The Problem with options of components at allowed sites alone."""
    problem = given.problem

    def changed(scenario: Scenario) -> Scenario:
        flow = problem.flows[scenario.flow]
        steps = tuple(
            replace(step, options=tuple(o for o in step.options if problem.sites[o.site] in allowed(flow, step.name)))
            for step in scenario.steps
        )
        return replace(scenario, steps=steps)

    return replace(problem, scenarios=tuple(map(changed, problem.scenarios)))


def ways_apart(given: Formulation, a: str, b: str) -> Iterator[Allowed]:
    """Every way to give some sites to `a` and the others to `b`."""
    sites = set(given.problem.sites)
    for size in range(len(sites) + 1):
        for of in combinations(sorted(sites), size):
            parts = {a: set(of), b: sites - set(of)}
            yield lambda _, component, parts=parts: parts.get(component, sites)  # type: ignore[misc]


def ways_together(given: Formulation, a: str, b: str) -> Iterator[Allowed]:
    """Every way to give each flow one site for both."""
    sites = set(given.problem.sites)
    for chosen in product(sorted(sites), repeat=len(given.problem.flows)):
        of = dict(zip(given.problem.flows, chosen, strict=True))
        yield lambda flow, component, of=of: {of[flow]} if component in (a, b) else sites  # type: ignore[misc]


def pairs(seeds: range) -> Iterator[tuple[Situation, str, str]]:
    for seed in seeds:
        given = world(seed)
        names = list(given.app.value.components)
        if len(names) > 1:
            yield given, names[0], names[-1]


def check(word: str, ways: Callable[[Formulation, str, str], Iterator[Allowed]], seeds: range) -> tuple[int, int]:
    """Returns how many worlds were compared, and in how many the pairing costs something."""
    compared = dearer = 0
    for given, a, b in pairs(seeds):
        try:
            free = formulation(given)
            held = formulation(vary(given, [f"component.{b}.{word}=[{a}]"])).problem
        except InputError:
            continue
        found = best(held)
        each = [value for way in ways(free, a, b) if (value := best(only(free, way))) is not None]
        assert found == min(each, default=None)
        compared += 1
        dearer += found != best(free.problem)
    return compared, dearer


def test_components_apart_are_placed_as_well_as_any_division_of_sites_allows() -> None:
    compared, dearer = check("apart_from", ways_apart, range(14))
    assert compared >= 6
    assert dearer >= 1


def test_components_together_are_placed_as_well_as_at_the_best_site_of_each_flow() -> None:
    compared, dearer = check("with", ways_together, range(10))
    assert compared >= 4
    assert dearer >= 1


@pytest.mark.deep
def test_pairings_equal_enumeration_in_many_more_worlds() -> None:
    assert check("apart_from", ways_apart, range(14, 80))[1] >= 5
    assert check("with", ways_together, range(10, 60))[1] >= 5


@pytest.mark.parametrize("word", ["with", "apart_from"])
def test_a_problem_with_pairings_is_solved_as_brute_force_does(word: str) -> None:
    compared = 0
    for given, a, b in pairs(range(100, 124)):
        try:
            problem = formulation(vary(given, [f"component.{b}.{word}=[{a}]"])).problem
            expected = brute_force(problem)
        except (InputError, TooLarge):
            continue
        assert best(problem) == expected
        compared += 1
    assert compared >= 5


def test_a_capability_rules_out_what_a_pin_to_the_sites_that_have_it_does() -> None:
    feasible = 0
    for seed in range(24):
        given = world(seed)
        site, name = list(given.infra.value.sites)[-1], next(iter(given.app.value.components))
        if given.app.value.components[name].at is not None:
            continue
        given = vary(given, [f"site.{site}.labels={{gpu: a100}}"])
        found = [vary(given, [f"component.{name}.{said}"]) for said in ("requires=[gpu=a100]", f"at={{site: {site}}}")]
        try:
            required, pinned = (formulation(each).problem for each in found)
        except InputError:
            continue
        assert best(required) == best(pinned)
        feasible += best(required) is not None
        assert {c.kind for c in required.constraints} - {c.kind for c in pinned.constraints} <= {"capability"}
    assert feasible >= 3


def test_a_plan_with_a_capability_keeps_it_and_verifies() -> None:
    verified = 0
    for seed in range(12):
        given = world(seed)
        plan = _solved(given)
        if plan is None or not plan.assignments:
            continue
        a = plan.assignments[0]
        held = vary(given, [f"site.{a.site}.labels={{tee: sgx}}", f"component.{a.component}.requires=[tee]"])
        found = _solved(held)
        if found is not None and found.assignments:
            assert {x.site for x in found.assignments if x.component == a.component} == {a.site}
            assert not verify(held, found, 20_000).wrong
            verified += 1
    assert verified >= 2


def _solved(given: Situation) -> Plan | None:
    try:
        return solve(given, proofs=False)
    except (AnswerIsNo, NotKnown, InputError):
        return None


@pytest.mark.parametrize("word", ["with", "apart_from"])
def test_the_verifier_finds_a_pairing_broken(word: str) -> None:
    kept = broken = 0
    for given, a, b in pairs(range(24)):
        plan = _solved(given)
        if plan is None or not plan.assignments:
            continue
        at = {(f, x.component): x.site for x in plan.assignments for f in x.flows}
        flows = [f for f, c in at if c == a]
        together = all(at[f, a] == at[f, b] for f in flows)
        apart = not {at[f, a] for f in flows} & {at[f, b] for f in flows}
        claims = Claims()
        check_pins_and_residency(Reading(vary(given, [f"component.{b}.{word}=[{a}]"]), plan), claims)
        if len({x.segment.is_whole for x in plan.assignments}) == 1:  # a cut model may be at several sites
            assert claims.ok == (together if word == "with" else apart)
        kept += claims.ok
        broken += not claims.ok
    assert min(kept, broken) >= 3

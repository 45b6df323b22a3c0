"""What one isolated request on serial devices cannot have: each thing with its place in the Problem."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from planner.problem import Edge, Option, Problem, Scenario
from specs.errors import InputError, Issue

KINDS = ("makespan", "cost", "energy")
MOST_ISSUES = 5


def refuse(problem: Problem) -> None:
    """Raises InputError where `problem` holds what scheduling gives no meaning."""
    hint = "docs/scheduling.md says what a Problem with the objective makespan may hold"
    if issues := [Issue(what, None, hint) for what in islice(_refused(problem), MOST_ISSUES)]:
        raise InputError(*issues)


def _refused(problem: Problem) -> Iterator[str]:
    kinds = [o.kind for o in problem.objectives]
    for i, kind in enumerate(kinds):
        if kind not in KINDS or kind in kinds[:i]:
            yield f"objectives[{i}].kind: beside makespan expected cost and energy, each once at most; got {kind}"
    for what, found in (("flows", problem.flows), ("scenarios", problem.scenarios)):
        if len(found) != 1:
            yield f"{what}: expected exactly one beside the objective makespan, got {len(found)}"
    if problem.throughputs:
        yield "throughputs: expected none, for one request has no rate"
    for s, scenario in enumerate(problem.scenarios):
        yield from _refused_in(problem, scenario, f"scenarios[{s}]")


def _refused_in(problem: Problem, scenario: Scenario, where: str) -> Iterator[str]:
    if scenario.limits:
        yield f"{where}.limits: expected none, for times are fixed: a makespan has no percentile"
    for i, step in enumerate(scenario.steps):
        at = f"{where}.steps[{i}]"
        if step.tasks != 1:
            yield f"{at}.tasks: expected 1, got {step.tasks}: make each part a step"
        for o, option in enumerate(step.options):
            yield from _refused_of(problem, option, f"{at}.options[{o}]")
    for e, edge in enumerate(scenario.edges):
        yield from _refused_on(edge, f"{where}.edges[{e}]")


def _refused_of(problem: Problem, option: Option, where: str) -> Iterator[str]:
    pool = problem.pools[problem.stations[option.station].pool]
    if pool.sharing != "time":
        yield f"{where}.station: expected one of a pool that shares time, which is a serial device; got {pool.name}"
    elif pool.maximum > 1:
        yield f"{where}.station: expected a pool of one device; {pool.name} has up to {pool.maximum}: make each a pool"
    if option.var_us2:
        yield f"{where}.var_us2: expected 0, for times are fixed; got {option.var_us2}"
    if option.load_ppb or option.visits:
        yield f"{where}: expected load_ppb 0 and no visits, for one request has no rate and meets no queue"


def _refused_on(edge: Edge, where: str) -> Iterator[str]:
    for kind, transfers in (("transfers", edge.transfers), ("hops", edge.hops)):
        for t, transfer in enumerate(transfers):
            if transfer.var_us2 or transfer.visits:
                yield f"{where}.{kind}[{t}]: expected var_us2 0 and no visits, for times are fixed and nothing queues"
    if edge.apart_us2:
        yield f"{where}.apart_us2: expected 0, for times are fixed; got {edge.apart_us2}"

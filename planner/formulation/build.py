"""Walks through the scenarios (a combination of variants of a flow each) and assembles the Problem of their tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.formulation.accuracy import wrong_of
from planner.formulation.barred import barred_scenario
from planner.formulation.edges import Edges
from planner.formulation.limits import limits_of, means_of
from planner.formulation.meeting import meeting_of
from planner.formulation.names import constraints_of
from planner.formulation.numbers import MICRO
from planner.formulation.options import Options
from planner.formulation.pairings import Pairings
from planner.formulation.pools import pools_of
from planner.formulation.refusals import refuse_unheard, refuse_unreachable
from planner.formulation.servers import ServerTable
from planner.formulation.stations import StationKey, StationTable
from planner.formulation.throughput import most_asked, throughputs_of
from planner.placement.pipeline import Pipeline
from planner.problem import Budget, Objective, Problem, Scenario
from planner.situation import Situation
from specs.application import CostConstraint, EnergyConstraint, LatencyObjective, MemoryConstraint, PathConstraint
from specs.behaviour import Behaviour
from specs.infrastructure import Infrastructure
from specs.quantities import HOURS_PER_MONTH
from specs.selector import matching_sites
from specs.state import stateful


@dataclass(frozen=True, slots=True)
class Formulation:
    """The Problem, and what its indices mean. `scenarios` has a pipeline for each scenario."""

    problem: Problem
    stations: tuple[StationKey, ...]
    pools: tuple[tuple[str, str], ...]
    scenarios: tuple[Pipeline, ...]


def formulate(situation: Situation) -> Problem:
    """The Problem of `situation`: the numbers alone. Raises as `formulation` does."""
    return formulation(situation).problem


def formulation(
    situation: Situation, limits: Mapping[str, float] | None = None, *, dominated: bool = False
) -> Formulation:
    """The Problem of `situation` and what it means. `limits` replaces path limits (seconds) by constraint name, such
    as ``answer.p99``. Options that another beats in everything are left out, which no best plan needs, unless
    `dominated`: for what is asked of them alone.

    Raises InputError for what is not supported yet, and where a message has no route.
    """
    app = situation.app.value
    constraints = constraints_of(situation.app)
    servers = ServerTable(constraints, _tightest(situation))
    pools = pools_of(situation, constraints, servers)
    throughputs = throughputs_of(situation, constraints.index)
    standby = {name: c.standby for name, c in app.components.items() if c.standby}
    patience = {name: c.batch.wait for name, c in app.components.items() if c.batch}
    stations = StationTable(pools, most_asked(situation, throughputs), standby, stateful(app), patience)
    pairings = Pairings(situation, constraints, servers)
    options = Options(situation, constraints, servers, pools, stations, pairings, dominated)
    edges = Edges(situation, constraints, servers)
    pipelines: list[Pipeline] = []
    scenarios: list[Scenario] = []
    for f, flow in enumerate(situation.flows):
        for behaviour in _distinct(situation, flow.components):
            pipeline = Pipeline(situation, flow, behaviour)
            refuse_unheard(situation, pipeline)
            steps = tuple(options.step(f, pipeline, c) for c in flow.components)
            for step in steps:
                refuse_unreachable(situation, pipeline, step)
            meeting = meeting_of(pipeline, steps, stations.keys, pools)
            scenarios.append(
                Scenario(
                    name=_scenario_name(situation, pipeline),
                    flow=f,
                    barred=barred_scenario(situation, constraints, pipeline),
                    steps=steps,
                    edges=tuple(edges.edge(pipeline, m, steps) for m in pipeline.messages),
                    limits=limits_of(situation, constraints, meeting, limits or {}),
                    means=means_of(situation, meeting),
                    wrong=wrong_of(situation, pipeline),
                )
            )
            pipelines.append(pipeline)
    problem = Problem(
        name=app.name,
        objectives=_objectives(situation),
        constraints=tuple(constraints.rows),
        sites=tuple(situation.infra.value.sites),
        flows=tuple(flow.name for flow in situation.flows),
        members=tuple(flow.members for flow in situation.flows),
        pools=pools.rows,
        servers=servers.rows(),
        stations=stations.rows(),
        scenarios=tuple(scenarios),
        budgets=budgets_of(situation, constraints.index),
        throughputs=throughputs,
    )
    return Formulation(problem, tuple(stations.keys), tuple(pools.index), tuple(pipelines))


def budgets_of(situation: Situation, index: Mapping[str, int]) -> tuple[Budget, ...]:
    """What limits cost and energy a month, and memory at a site; `index` is of constraints by name."""
    infra = situation.infra.value
    keys = [(site, pool) for site, spec in infra.sites.items() for pool in spec.pools]
    found: list[Budget] = []
    for name, c in situation.app.value.constraints.items():
        if isinstance(c, CostConstraint):
            found.append(Budget(index[name], int(c.cost * HOURS_PER_MONTH * MICRO + 1e-6)))
        elif isinstance(c, EnergyConstraint):
            found.append(Budget(index[name], int(c.energy * MICRO + 1e-6), "energy"))
        elif isinstance(c, MemoryConstraint):
            for site in limited_sites(c, infra):
                pools = tuple(i for i, key in enumerate(keys) if key[0] == site)
                found.append(Budget(index[name], int(c.memory / 1000), "memory", pools))
    return tuple(found)


def limited_sites(constraint: MemoryConstraint, infra: Infrastructure) -> list[str]:
    """The sites at each of which memory is limited."""
    matching = set(infra.sites) if constraint.at is None else set(matching_sites(constraint.at, infra))
    return [site for site in infra.sites if site in matching]


def _objectives(situation: Situation) -> tuple[Objective, ...]:
    found: list[Objective] = []
    for term in situation.app.value.objective:
        if isinstance(term, LatencyObjective):
            found.append(Objective("latency", term.latency))
        else:
            found.append(Objective(term, term))
    return tuple(found)


def _scenario_name(situation: Situation, pipeline: Pipeline) -> str:
    components = situation.app.value.components
    named = [f"{c}={v}" for c, v in pipeline.variants.items() if len(components[c].realisations) > 1]
    named += [f"{c}~{'+'.join(wire)}" for c in components if (wire := pipeline.behaviour.wire(c))]
    return f"{pipeline.flow.name} {' '.join(named) or 'default'}"[:400]


def _tightest(situation: Situation) -> float:
    """The shortest limit of any path in seconds; a second where there is none."""
    found = [c for c in situation.app.value.constraints.values() if isinstance(c, PathConstraint)]
    return min((limit for c in found for limit in c.limits.values()), default=1.0)


def _distinct(situation: Situation, components: tuple[str, ...]) -> list[Behaviour]:
    """One behaviour for each combination of the variants and encoded cuts of `components`."""
    seen: dict[tuple[object, ...], Behaviour] = {}
    for behaviour in situation.choices:
        seen.setdefault(tuple((behaviour.variants[c], behaviour.wire(c)) for c in components), behaviour)
    return list(seen.values())

"""A solution in the user's words: its layout, predictions, cost and checks, and the Plan that they make."""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Final

from planner.formulation import Formulation, limit_name, limited_sites
from planner.inputs.network import Passage
from planner.placement.demand import Demand
from planner.placement.layout import Layout, layout_of
from planner.pricing.cost import cost_of
from planner.pricing.energy import energy_of
from planner.problem import Objective
from planner.situation import Situation
from planner.solver import Solution
from planner.solver.evaluate import evaluate
from planner.solver.solve import is_feasible
from specs.application import (
    AccuracyConstraint,
    CostConstraint,
    EnergyConstraint,
    MemoryConstraint,
    PathConstraint,
    ResidencyConstraint,
    ShareConstraint,
    ThroughputConstraint,
)
from specs.codec import codec_of_cut, plain_names
from specs.digest import digest_value
from specs.plan import (
    Assignment,
    ConstraintCheck,
    CutOnWire,
    DevicesBought,
    Hop,
    Inputs,
    LinkLoad,
    PathPrediction,
    Plan,
    PlannedBehaviour,
    Route,
)
from specs.quantities import HOURS_PER_MONTH

if TYPE_CHECKING:
    from planner.prediction.throughput import Throughput

BINDING_SECONDS: Final = 5.0
SITE_WORDS: Final = ("at", "requires", "with", "apart_from")
"""Of a component: what rules sites out for it."""


class Draft:
    """A solution with what follows from it; made into a Plan once its predictions keep the limits."""

    def __init__(
        self, situation: Situation, given: Formulation, solution: Solution, limits: Mapping[str, float]
    ) -> None:
        from planner.prediction.latency import Latency  # numpy: not needed to say that there is no plan

        assert solution.choice is not None
        self.situation, self.given, self.solution, self.limits = situation, given, solution, limits
        self.bounding: Formulation | None = None
        self.searched = solution.status
        self.choice = solution.choice
        self.layout = layout_of(situation, assignments_of(situation, given, solution))
        self.latency = Latency(self.layout, Demand(situation))
        self.paths = self.latency.paths()

    def claiming(self, solution: Solution, bounding: Formulation | None) -> Draft:
        """The same with another claim of what is proven: by `bounding`, which has no-goods in place of path limits, or
        by tables of other limits. `searched` stays what the solver said of its own tables.
        """
        other = copy(self)
        other.solution, other.bounding = solution, bounding
        return other

    def missed(self, wanted: Mapping[str, float]) -> dict[str, float]:
        from planner.prediction.latency import exceeded

        return exceeded(self.latency, self.paths, wanted)

    def plan(self, started: float, time_limit: float, seed: int) -> Plan:
        solution, situation = self.solution, self.situation
        objectives = self.given.problem.objectives
        bought = self._bought()
        cost = cost_of(self.layout, bought)
        energy = energy_of(self.layout, bought)
        left = time_limit - (time.perf_counter() - started)
        checks = self._checks(cost.per_month, energy.per_month if energy else 0.0, left, seed)
        return Plan(
            application=situation.app.value.name,
            status=solution.status,
            objective=[_in_units(o, v) for o, v in zip(objectives, solution.objectives, strict=True)],
            bound=[_in_units(o, v) for o, v in zip(objectives, solution.bounds, strict=True)],
            gap=solution.gap,
            seconds=time.perf_counter() - started,
            tightened=in_ms(self.limits),
            assignments=tuple(stage.assignment for stage in self.layout.stages),
            cuts=cuts_of(self.layout),
            devices=self._devices(bought),
            links=self._links(),
            routes=routes_of(self.layout),
            paths=self.paths,
            stages=self.latency.stages(),
            cost=cost,
            energy=energy,
            carries=self._throughput.carried if situation.app.value.asks_throughput else None,
            constraints=checks,
            behaviour=behaviour_of(self.layout),
            inputs=inputs_of(situation, self.layout),
        )

    @cached_property
    def _throughput(self) -> Throughput:
        from planner.prediction.throughput import throughput_of  # numpy, as latency needs

        return throughput_of(self.latency)

    def _bought(self) -> dict[tuple[str, str], int]:
        counts = evaluate(self.given.problem, self.choice).bought
        return {key: n for key, n in zip(self.given.pools, counts, strict=True) if n}

    def _devices(self, bought: Mapping[tuple[str, str], int]) -> tuple[DevicesBought, ...]:
        infra = self.situation.infra.value
        found: list[DevicesBought] = []
        for (site, pool), count in bought.items():
            hardware = infra.sites[site].pools[pool].hardware
            spec = infra.hardware[hardware]
            busy = 0.0
            for index, stage in enumerate(self.layout.stages):
                a = stage.assignment
                if (a.site, a.pool) == (site, pool):
                    part = a.threads / spec.cores / a.batch if spec.sharing == "cores" else 1.0
                    busy += self.latency.timings.rate(index) * stage.record.service.mean * part
            found.append(
                DevicesBought(
                    site=site, pool=pool, hardware=hardware, sharing=spec.sharing, bought=count, load=busy / count
                )
            )
        return tuple(found)

    def _links(self) -> tuple[LinkLoad, ...]:
        """Each direction in use, and each rate that links share."""
        found: dict[str, LinkLoad] = {}
        for of in self.layout.flows:
            for leg in of.legs:
                for passage in leg.route:
                    for queue, rate, _ in self.latency.timings.link_servers(passage):
                        load = self.latency.timings.queues[queue].load
                        name = f"{passage.link} shared" if queue.endswith(" shared") else passage.link
                        found[queue] = LinkLoad(name=name, direction=passage.way, load=load, bytes_per_s=load * rate)
        return tuple(found[queue] for queue in sorted(found))

    def _checks(self, per_month: float, kwh: float, seconds: float, seed: int) -> tuple[ConstraintCheck, ...]:
        app = self.situation.app
        currency = self.situation.infra.value.currency
        checks: list[ConstraintCheck] = []
        names = {c.name: i for i, c in enumerate(self.given.problem.constraints)}
        ends = time.perf_counter() + seconds

        def check(name: str, unit: str, value: float, limit: float, slack: float) -> None:
            index = names[name]
            constraint = self.given.problem.constraints[index]
            left = min(BINDING_SECONDS, ends - time.perf_counter())
            checks.append(
                ConstraintCheck(
                    name=name, file=constraint.file, line=constraint.line, unit=unit, value=value, limit=limit,
                    slack=slack, binding=self._binding(index, slack, limit, left, seed),
                )
            )  # fmt: skip

        for name, constraint in app.value.constraints.items():
            if isinstance(constraint, PathConstraint):
                for q, limit in constraint.limits.items():
                    value = max(
                        (getattr(p.predicted, f"p{q * 100:.0f}_ms") for p in self._about(constraint)), default=0.0
                    )
                    check(limit_name(name, q), "ms", value, limit * 1e3, limit * 1e3 - value)
            elif isinstance(constraint, CostConstraint):
                most = constraint.cost * HOURS_PER_MONTH
                check(name, f"{currency}/month", per_month, most, most - per_month)
            elif isinstance(constraint, EnergyConstraint):
                check(name, "kWh/month", kwh, constraint.energy, constraint.energy - kwh)
            elif isinstance(constraint, MemoryConstraint):
                value = self._memory(constraint) / 1e6
                check(name, "MB", value, constraint.memory / 1e6, constraint.memory / 1e6 - value)
            elif isinstance(constraint, AccuracyConstraint):
                value = min(self._accuracy(constraint.on))
                check(name, "share", value, constraint.accuracy, value - constraint.accuracy)
            elif isinstance(constraint, ShareConstraint):
                value = self.latency.within(constraint.path, app.value.deadline)
                check(name, "share", value, constraint.share, value - constraint.share)
            elif isinstance(constraint, ThroughputConstraint):
                value = self._throughput.highest(app.value.source_of(constraint))
                check(name, "/s", value, constraint.throughput, value - constraint.throughput)
            elif isinstance(constraint, ResidencyConstraint):
                check(name, "sites", 0.0, 0.0, 0.0)
        for name in app.value.components:
            for word in SITE_WORDS:
                if f"components.{name}.{word}" in names:
                    check(f"components.{name}.{word}", "sites", 0.0, 0.0, 0.0)
        return tuple(checks)

    def _about(self, constraint: PathConstraint) -> list[PathPrediction]:
        asked = (constraint.from_, constraint.to, constraint.about)
        return [p for p in self.paths if (p.from_, p.to, p.over) == asked]

    def _memory(self, constraint: MemoryConstraint) -> float:
        """Bytes of all replicas at a member of the site that holds most, of those where they are limited.

        On devices that share their time, idle replicas stand by on each.
        """
        at = {site: 0.0 for site in limited_sites(constraint, self.situation.infra.value)}
        for stage in self.layout.stages:
            a = stage.assignment
            if a.site in at:
                shares_time = self.situation.infra.value.hardware[a.hardware].sharing == "time"
                loaded = a.replicas * (1 + a.standby) if shares_time else a.replicas + a.standby
                at[a.site] += loaded * stage.record.memory
        return max(at.values(), default=0.0)

    def _accuracy(self, data: str) -> list[float]:
        return [a.value for of in self.layout.flows for a in of.pipeline.behaviour.accuracy if a.data == data]

    def _binding(self, index: int, slack: float, limit: float, seconds: float, seed: int) -> bool:
        """Whether the first objective could be better without the constraint.

        Proven by the solver where it is optimal for its tables and time allows, else read from the slack (1 % of the
        limit).
        """
        if not self._matters(index):
            return False
        if self.searched == "optimal" and seconds > 0:
            below, ends = self.solution.objectives[0], time.perf_counter() + seconds
            answers: set[str] = set()
            for given in (self.given, self.bounding):
                if given is not None and answers != {"no"}:
                    left = ends - time.perf_counter()
                    answers.add(is_feasible(given.problem, frozenset([index]), left, below, seed))
            if "no" in answers:
                return False
            if answers == {"yes"}:
                return True
        return slack <= 0.01 * abs(limit)

    def _matters(self, index: int) -> bool:
        """Whether leaving the constraint out can change the first objective at all, as far as that is plain to see.

        A budget never makes the least cost higher: it only rules out dearer plans; so of energy. Floors, pins and
        residency matter only if they bar something.
        """
        problem = self.given.problem
        kind = problem.constraints[index].kind
        if kind in ("budget", "energy"):
            return problem.objectives[0].kind != ("cost" if kind == "budget" else "energy")
        if kind not in ("accuracy", "pin", "capability", "residency"):
            return True
        options = (o for s in problem.scenarios for step in s.steps for o in step.options)
        return any(index in s.barred for s in problem.scenarios) or any(index in o.barred for o in options)


def in_ms(limits: Mapping[str, float]) -> dict[str, float]:
    """Limits in seconds, as a Plan says them."""
    return {name: seconds * 1e3 for name, seconds in limits.items()}


def _in_units(objective: Objective, value: int) -> float:
    """Currency or kWh a month, milliseconds, the share of answers that are wrong, or how full the fullest queue is."""
    return value / 1e9 if objective.kind in ("latency", "accuracy", "throughput") else value / 1e6


def assignments_of(situation: Situation, given: Formulation, solution: Solution) -> tuple[Assignment, ...]:
    """One for each station in use, in the order of the first flow's components."""
    assert solution.choice is not None
    choice = solution.choice
    flows: dict[int, list[int]] = {}
    for f, (s, options) in enumerate(zip(choice.scenarios, choice.options, strict=True)):
        for i, picked in enumerate(options):
            for o in picked:
                flows.setdefault(given.problem.scenarios[s].steps[i].options[o].station, []).append(f)
    found: list[Assignment] = []
    for index, users in flows.items():
        key = given.stations[index]
        record = key.record
        component = situation.app.value.components[key.component]
        standby = component.standby
        timed = given.problem.pools[given.problem.stations[index].pool].sharing == "time"
        found.append(
            Assignment(
                component=key.component,
                segment=key.segment,
                flows=tuple(given.problem.flows[f] for f in users),
                members=sum(choice.members[f] for f in users),
                site=key.site,
                pool=key.pool,
                hardware=record.hardware,
                variant=key.variant,
                backend=record.backend,
                threads=record.threads,
                batch=record.batch,
                batch_wait_ms=component.batch.wait * 1e3 if component.batch and record.batch > 1 else 0.0,
                replicas=choice.replicas[index] - (0 if timed else standby),
                artefact=record.artefact,
                record=record.digest,
                provenance=record.provenance,
                standby=standby,
            )
        )
    return tuple(found)


def cuts_of(layout: Layout) -> tuple[CutOnWire, ...]:
    """Cuts whose two sides are at different sites."""
    found: dict[tuple[str, tuple[str, ...]], CutOnWire] = {}
    for of in layout.flows:
        for leg in of.legs:
            component = leg.message.producer.name
            if component == leg.message.consumer.name and leg.route:
                tensors = tuple(v.split("@", 1)[1] for v in leg.message.values)
                size = of.pipeline.size(leg.message).mean
                found[component, tensors] = CutOnWire(
                    component=component, tensors=plain_names(tensors), codec=codec_of_cut(tensors), bytes=size
                )
    return tuple(found.values())


def routes_of(layout: Layout) -> tuple[Route, ...]:
    """Between all sites that a flow uses, in both directions; one for all origins whose requests go the same way."""
    found: dict[tuple[str, str, tuple[Passage, ...]], dict[str, None]] = {}
    for of in layout.flows:
        sites = list(
            dict.fromkeys([of.flow.site, *of.flow.ends, *(layout.stages[s].assignment.site for s in of.stages)])
        )
        known = layout.situation.network.routes(of.flow.site)
        for a in sites:
            for b in sites:
                if a != b and (a, b) in known:
                    found.setdefault((a, b, known[a, b]), {})[of.flow.site] = None
    return tuple(
        Route(
            **{"from": a},
            to=b,
            origins=tuple(origins),
            hops=tuple(Hop(link=p.link, direction=p.way) for p in passages),
        )
        for (a, b, passages), origins in found.items()
    )


def behaviour_of(layout: Layout) -> tuple[PlannedBehaviour, ...]:
    """Each combination of variants and encoded cuts in use once."""
    found: dict[str, PlannedBehaviour] = {}
    for of in layout.flows:
        behaviour = of.pipeline.behaviour
        patterns = {p.name: p.probability for p in behaviour.patterns}
        accuracy = {a.data: a.value for a in behaviour.accuracy}
        agreement = {a.data: a.value for a in behaviour.agreement} if behaviour.agreement is not None else None
        found.setdefault(
            str(behaviour.combination),
            PlannedBehaviour(
                variants=behaviour.variants,
                encoded=behaviour.encoded,
                patterns=patterns,
                accuracy=accuracy,
                agreement=agreement,
                source="measured",
            ),
        )
    return tuple(found.values())


def inputs_of(situation: Situation, layout: Layout | None) -> Inputs:
    """Digests of what the plan rests on; without a layout, of all there is."""
    records = situation.records if layout is None else [stage.record for stage in layout.stages]
    used = situation.behaviours if layout is None else [of.pipeline.behaviour for of in layout.flows]
    return Inputs(
        app=situation.app.digest,
        infra=situation.infra.digest,
        sources=dict(situation.digests),
        records=tuple(sorted({r.digest for r in records})),
        behaviour=tuple(sorted({digest_value(b.dump()) for b in used})),
        changes=situation.changes,
    )

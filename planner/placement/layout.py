"""A placement in full: which stages there are for each flow, what they take from whom, and over which links."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from planner.inputs.flows import Flow
from planner.inputs.network import Passage
from planner.placement.pipeline import Message, Pipeline, Shape
from planner.situation import Situation
from specs.codec import codec_of_cut
from specs.errors import InputError, Issue
from specs.plan import Assignment, Plan
from specs.profile import Record


@dataclass(frozen=True)
class Stage:
    """One assignment, and the profile record that it rests on."""

    assignment: Assignment
    record: Record

    @property
    def name(self) -> str:
        return self.assignment.stage_name


@dataclass(frozen=True)
class Leg:
    """A message of a flow between two nodes (stage indices, or -1 and -2 for the source and a sink)."""

    message: Message
    producer: int
    consumer: int
    name: str
    start: str
    end: str
    route: tuple[Passage, ...]


@dataclass(frozen=True)
class FlowLayout:
    """The stages (indices into `Layout.stages`) and messages of one flow."""

    pipeline: Pipeline
    stages: tuple[int, ...]
    legs: tuple[Leg, ...]

    @property
    def flow(self) -> Flow:
        return self.pipeline.flow

    def sent(self, shape: Shape) -> tuple[tuple[Leg, bool], ...]:
        """The legs that a request of `shape` sends, and whether somebody waits for the message.

        Those of a source, to a sink, and those that carry a gate's value to what it gates, are sent always.
        """
        components = self.pipeline.situation.app.value.components
        live = {self.pipeline.messages[i] for i in self.pipeline.live(shape)}
        found: list[tuple[Leg, bool]] = []
        for leg in self.legs:
            producer, consumer = leg.message.producer.name, leg.message.consumer.name
            gate = components[consumer].when if consumer in components else None
            gates = gate is not None and gate.ref.producer == producer and leg.message.consumer.task == 0
            runs = producer in shape.runs or producer not in components
            if leg.message in live and (consumer in components or self.pipeline.reached(shape, consumer)):
                found.append((leg, True))
            elif runs and (leg.producer == -1 or leg.consumer == -2 or gates):
                found.append((leg, False))
        return tuple(found)


@dataclass(frozen=True)
class Layout:
    situation: Situation
    stages: tuple[Stage, ...]

    @cached_property
    def flows(self) -> tuple[FlowLayout, ...]:
        return tuple(self._flow(flow) for flow in self.situation.flows)

    def _flow(self, flow: Flow) -> FlowLayout:
        chains = {c: self._chain(flow, c) for c in flow.components}
        variants = {c: self.stages[chain[0]].assignment.variant for c, chain in chains.items()}
        wires = {c: self._wire(chain) for c, chain in chains.items()}
        behaviour = next(
            (
                b
                for b in self.situation.choices
                if all((b.variants[c], b.wire(c)) == (v, wires[c]) for c, v in variants.items())
            ),
            None,
        )
        if behaviour is None:
            raise InputError(Issue(f"the plan combines variants that have no behaviour: {variants}"))
        pipeline = Pipeline(self.situation, flow, behaviour)
        legs: list[Leg] = []
        for message in pipeline.messages:
            leg = self._leg(pipeline, chains, message)
            if leg is not None:
                legs.append(leg)
        return FlowLayout(pipeline, tuple(s for chain in chains.values() for s in chain), tuple(legs))

    def _chain(self, flow: Flow, component: str) -> tuple[int, ...]:
        """The stages of a component in the order of its segments. Raises InputError where they do not make a whole."""
        mine = {
            s.assignment.segment.begin: i
            for i, s in enumerate(self.stages)
            if s.assignment.component == component and flow.name in s.assignment.flows
        }
        chain: list[int] = []
        begin: tuple[str, ...] = ()
        while begin in mine and mine[begin] not in chain:
            chain.append(mine[begin])
            begin = self.stages[chain[-1]].assignment.segment.end
            if not begin:
                break
        if not chain or begin or len(chain) != len(mine):
            raise InputError(Issue(f"the plan does not cover {component} exactly once for flow {flow.name}"))
        return tuple(chain)

    def _wire(self, chain: tuple[int, ...]) -> tuple[str, ...]:
        """What crosses between the stages of a chain if it is encoded."""
        ends = (self.stages[i].assignment.segment.end for i in chain)
        return next((end for end in ends if codec_of_cut(end) != "none"), ())

    def _leg(self, pipeline: Pipeline, chains: dict[str, tuple[int, ...]], message: Message) -> Leg | None:
        """The message as it passes here; None for a cut inside one stage."""
        flow = pipeline.flow
        producer, consumer = message.producer, message.consumer
        start, end = flow.site, flow.end(consumer.name)
        one, other = -1, -2
        if producer.name in chains:
            one = chains[producer.name][self._covering(pipeline, chains[producer.name], producer.name, producer.task)]
            start = self.stages[one].assignment.site
        if consumer.name in chains:
            other = chains[consumer.name][self._covering(pipeline, chains[consumer.name], consumer.name, consumer.task)]
            end = self.stages[other].assignment.site
        if one == other:
            return None
        name = f"{self._called(one, producer.name)} -> {self._called(other, consumer.name)}"
        return Leg(message, one, other, name, start, end, self.situation.network.route(flow.site, start, end))

    def _covering(self, pipeline: Pipeline, chain: tuple[int, ...], component: str, task: int) -> int:
        """Which stage of the chain holds a task."""
        cuts = pipeline.cuts(component)
        for position, index in enumerate(chain):
            end = self.stages[index].assignment.segment.end
            if not end or (end in cuts and task <= cuts.index(end)):
                return position
        raise InputError(Issue(f"the plan cuts {component} where it is not known that it can be", None, "solve again"))

    def _called(self, index: int, name: str) -> str:
        return self.stages[index].name if index >= 0 else name


def layout_of(situation: Situation, assignments: Sequence[Assignment]) -> Layout:
    """The placement that `assignments` mean. Raises InputError where a record is not there or flows are not covered."""
    records = {r.digest: r for r in situation.records}
    stages: list[Stage] = []
    for a in assignments:
        if a.record not in records:
            message = f"the profile record of {a.component} at {a.site} is not in the profiles"
            raise InputError(Issue(message, None, "the plan is older than its inputs: solve again"))
        stages.append(Stage(a, records[a.record]))
    return Layout(situation, tuple(stages))


def plan_layout(situation: Situation, plan: Plan) -> Layout:
    """Raises InputError for a plan without a placement, or as `layout_of` does."""
    if plan.status not in ("optimal", "feasible"):
        raise InputError(Issue(f"the plan is {plan.status}: it places nothing"))
    return layout_of(situation, plan.assignments)

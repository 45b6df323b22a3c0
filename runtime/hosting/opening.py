"""Opens what a bundle holds: the work of each stage, and the reference pipeline over the same artefacts."""

from __future__ import annotations

from runtime.bundle import Bundle
from runtime.reference.pipeline import Reference
from runtime.stages.encoding import as_on_wire
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.stages.state import Kept, StateMaker, States
from runtime.stages.work import Work, open_function, open_model
from runtime.topology import Stage, Topology
from runtime.values import Value, sink_fills
from specs.artefact_folder import read_artefact
from specs.errors import InputError, Issue
from specs.graph import Graph
from specs.tensors import TensorType


def output_types(bundle: Bundle) -> dict[str, TensorType]:
    """Types of all values by reference: declared, or read from the artefacts of models."""
    app = bundle.app.value
    types = {f"{s}.{v}": spec.type for s, source in app.sources.items() for v, spec in source.values.items()}
    for name, component in app.components.items():
        types.update({f"{name}.{output}": kind for output, kind in component.outputs.items()})
    for entry in bundle.manifest.artefacts:
        if not entry.function:
            found = read_artefact(bundle.folder / entry.folder)
            types.update({f"{entry.component}.{output}": kind for output, kind in found.outputs.items()})
    return types


def fills_of_sinks(bundle: Bundle) -> dict[str, dict[str, Value]]:
    """By sink and input, what stands for a value that was skipped."""
    types = output_types(bundle)
    return {name: sink_fills(name, sink.inputs, types) for name, sink in bundle.app.value.sinks.items()}


def open_stage(bundle: Bundle, stage: Stage, secrets: Secrets = NO_SECRETS, kept: Kept | None = None) -> Work:
    """The work of `stage`, for one thread. One that keeps state is `kept`, or begins with nothing remembered.

    Raises InputError where the artefact or function cannot be loaded.
    """
    entry = bundle.artefact(stage)
    app = bundle.app.value
    if entry.function:
        types = output_types(bundle)
        return open_function(app, stage.component, stage.variant, bundle.project, types, secrets, kept)
    from runtime.executors import open_executor  # loads the backend's library, which a host of functions needs not

    folder = bundle.folder / entry.folder
    work = as_on_wire(open_model(app, stage.component, folder, open_executor, stage.threads), stage.segment)
    if work.batch != stage.batch:
        message = f"{stage.name}: the artefact takes {work.batch} requests at once, not {stage.batch}"
        raise InputError(Issue(message, None, "compile the plan again"))
    return work


def open_works(
    bundle: Bundle, top: Topology, site: str, secrets: Secrets, states: States | None = None
) -> dict[str, list[Work]]:
    """For each stage of a member of `site`, one work for each server of its queue. What remembers does so in `states`.

    Raises InputError as `open_stage` does, and where a checkpoint cannot be gone on from.
    """

    def kept(stage: Stage) -> Kept | None:
        state = bundle.app.value.components[stage.component].state
        if states is None or state is None:
            return None
        members = frozenset(str(m) for m in top.hosts if m.site == site)
        make = StateMaker(bundle.project, bundle.artefact(stage).function)
        return states.open(stage.component, state, make, members)

    return {
        stage: [
            open_stage(bundle, top.stage_by_id[stage], secrets, kept(top.stage_by_id[stage]))
            for _ in range(queue.servers)
        ]
        for queue in top.queues
        if queue.site == site
        for stage in queue.stages
    }


def open_references(bundle: Bundle, top: Topology, secrets: Secrets = NO_SECRETS) -> dict[str, Reference]:
    """By flow, the reference pipeline over exactly the artefacts that the flow's stages run.

    A process that a function has of its own ends when nobody holds the references any longer.
    """
    works: dict[str, Work] = {}
    found: dict[str, Reference] = {}
    for flow in top.flows:
        chains: dict[str, list[Work]] = {}
        tags: dict[str, str] = {}
        for stage in _in_order(top, flow.name, bundle):
            work = works.get(stage.id) or works.setdefault(stage.id, open_stage(bundle, stage, secrets))
            chains.setdefault(stage.component, []).append(work)
            tags[stage.component] = f"{stage.variant}/{stage.backend}x{stage.threads}"
        found[flow.name] = Reference(bundle.app.value, chains, tags)
    return found


def _in_order(top: Topology, flow: str, bundle: Bundle) -> list[Stage]:
    """The flow's stages, segments of a component from its inputs to its outputs."""
    ordered: list[Stage] = []
    for component in Graph(bundle.app.value).order:
        mine = [s for s in top.stages if s.component == component and flow in s.flows]
        following = {s.segment.begin: s for s in mine}
        begin: tuple[str, ...] = ()
        for _ in mine:
            if begin not in following:
                raise InputError(Issue(f"the plan's segments of {component} do not follow one another"))
            ordered.append(following[begin])
            begin = following[begin].segment.end
    return ordered

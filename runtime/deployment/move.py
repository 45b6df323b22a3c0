"""Moves a deployment from one release to another while it serves.

1. The move is written down. The new release is loaded and warmed up at its members, beside the old one.
2. The new record takes the place of the old one, in one step: from here on it is in force.
3. Each door gives what comes from now on to the new release. What has come in ends by the old one.
4. When nothing is under way by the old release any more, it writes what its components keep, and the new one, whose
   requests to those have waited, goes on from that. No update is lost between.
5. The old release is unloaded, and processes without work end.

Every step may be done again, so whoever deploys either of both goes on from wherever it was broken off: the new one
forward, the old one back. Until then both stay loaded, and a process that dies opens both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from runtime.bundle import Bundle, open_bundle
from runtime.cluster.shipping import Tell
from runtime.deployment.orders import topology_of
from runtime.deployment.processes import Processes
from runtime.deployment.record import Moving, Record, remove_moving, write_record
from runtime.hosting.opening import output_types
from runtime.ingress.service import Limits
from runtime.open_inference.models import ServedModel, served_models
from runtime.reference.items import Item
from specs.base import Spec
from specs.errors import EnvironmentFailed, InputError, Issue, TierplanError
from specs.state import stateful

LOOK_EVERY: Final = 0.1
GRACE: Final = 5.0
"""Seconds beyond its deadline in which the word of a request's end must have come."""


def movable(before: Record, bundle: Bundle, after: Record) -> list[str]:
    """Why what is deployed as `before` cannot move to `after`, whose bundle is `bundle`; empty where it can."""
    return list(_obstacles(before, bundle, after))


def _obstacles(before: Record, bundle: Bundle, after: Record) -> Iterator[str]:
    same = ("address", "clusters", "members", "shape", "deadline", "queue_limit", "listening", "seeing", "state")
    for name in same:
        was, wanted = getattr(before, name), getattr(after, name)
        if was != wanted:
            yield f"{name} must stay as it is: {_text(was)}, not {_text(wanted)}"
    try:
        old = open_bundle(before.bundle)
    except TierplanError as error:
        yield f"what is deployed cannot be read: {error}"
        return
    if any(
        component.secret_names for app in (old.app.value, bundle.app.value) for component in app.components.values()
    ):
        yield "not supported yet: functions and hosted APIs that take secrets, which processes are given once"
    if old.infra.digest != bundle.infra.digest:
        yield "the new plan is for another infrastructure"
    elif not any(getattr(before, name) != getattr(after, name) for name in same):
        yield from _other_models(old, before, bundle, after)
        yield from _other_states(old, before, bundle, after)


def _text(value: object) -> str:
    return str(value.dump()) if isinstance(value, Spec) else repr(value)


def _other_models(old: Bundle, before: Record, new: Bundle, after: Record) -> Iterator[str]:
    """Clients must not notice: the same doors, with the same models, inputs and outputs."""
    was, wanted = _served(old, before), _served(new, after)
    for member, name in dict.fromkeys((*was, *wanted)):
        if was.get((member, name)) != wanted.get((member, name)):
            yield f"clients at {member} would find another model {name}: inputs and outputs must stay as they are"


def _other_states(old: Bundle, before: Record, new: Bundle, after: Record) -> Iterator[str]:
    """A state goes along whole: to the same members, or from the only one to the only one."""
    was, wanted = _members_with_state(old, before), _members_with_state(new, after)
    for component in sorted(was.keys() - wanted.keys()):
        yield f"what {component} remembers would be lost: the new plan has no such component that keeps state"
    for component in sorted(was.keys() & wanted.keys()):
        if was[component] != wanted[component] and (len(was[component]), len(wanted[component])) != (1, 1):
            names = (", ".join(sorted(members)) for members in (was[component], wanted[component]))
            yield f"what {component} remembers is not divided or joined: from {next(names)} to {next(names)}"


def _members_with_state(bundle: Bundle, record: Record) -> dict[str, frozenset[str]]:
    """By component that keeps state, the members that run it."""
    top, kept = topology_of(bundle, record), stateful(bundle.app.value)
    return {
        stage.component: frozenset(str(m) for m in top.hosts if m.site == stage.site)
        for stage in top.stages
        if stage.component in kept
    }


def _served(bundle: Bundle, record: Record) -> dict[tuple[str, str], ServedModel]:
    top, types = topology_of(bundle, record), output_types(bundle)
    members = sorted({m for flow in top.flows for m in flow.members})
    return {
        (str(m), model.name): replace(model, version="")
        for m in members
        for model in served_models(bundle.app.value, types, top, m, "")
    }


def unfinished(moving: Moving, record: Record) -> Moving:
    """The rest of a move that was broken off, for who wants one of both. Raises InputError for another record."""
    if record == moving.new:
        return moving
    if record == moving.old:
        return Moving(old=moving.new, new=moving.old)
    what = f"{record.name} is moving from plan {moving.old.plan[:16]} to {moving.new.plan[:16]}"
    hint = f"planner deploy {moving.new.bundle} goes on, planner deploy {moving.old.bundle} goes back"
    raise InputError(Issue(what, None, f"{hint}, with the same options"))


def move(moving: Moving, processes: Processes, bundle: Bundle, items: Sequence[Item], tell: Tell) -> None:
    """Do what is left of `moving`, which is written down; `processes` are those of its new record.

    Raises EnvironmentFailed where a process is not to be had, or requests do not end: then the move is not finished.
    """
    key = moving.new.key
    tell("the new release")
    processes.orders.make_links()
    processes.place()
    processes.bring(tell)
    processes.each("load", key)
    processes.introduce()
    if items:
        tell("warming up")
        processes.warm_up(bundle, items)
    processes.serve_new()
    write_record(moving.new)
    processes.bring(tell)
    tell("traffic")
    processes.each("serve", key)
    _drain(processes, moving.old, tell)
    if moving.new.state:
        tell("state")
        processes.everywhere("hand_over", moving.old.key)
        processes.each("take_over", key)
    processes.each("unload_all_but", key)
    processes.end_others()
    remove_moving(moving.new.name)
    processes.bring(tell)
    processes.orders.remove_other_files()


def _drain(processes: Processes, old: Record, tell: Tell) -> None:
    """Wait until all that has come in by the old release has ended."""
    tell("drain")
    give_up = time.monotonic() + old.deadline + Limits().body_seconds + GRACE
    while left := processes.pending(old.key):
        if time.monotonic() > give_up:
            raise EnvironmentFailed(
                f"{left} requests have not ended by plan {old.plan[:16]}: planner deploy again goes on"
            )
        time.sleep(LOOK_EVERY)

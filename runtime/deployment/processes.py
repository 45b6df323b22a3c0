"""The processes of a deployment, as the command that deploys sees them: found, placed, and told what to do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from runtime.bundle import Bundle
from runtime.cluster.connection import CALL_LIMIT, NOT_STARTED
from runtime.cluster.federation import Clusters
from runtime.cluster.shipping import Shipment, Tell, ship
from runtime.deployment.actor import DeployedHost
from runtime.deployment.exchange import KEY, endpoint_file, mark_of
from runtime.deployment.local import NODE_LIMIT
from runtime.deployment.orders import Orders, actor_prefix
from runtime.deployment.record import (
    BUNDLES,
    MOVING,
    RECORD,
    Record,
    alternative_folder,
    given_file,
    moving_in,
    record_in,
)
from runtime.hosting.background import RECORDED, recorded_inputs
from runtime.hosting.opening import open_references
from runtime.hosting.replicas import member_of
from runtime.machine import machine_id
from runtime.reference.items import Item
from specs.errors import EnvironmentFailed, InputError, Issue
from specs.input_file import read_input
from specs.output_file import write_whole

LOOK_LIMIT: Final = 10.0
"""Seconds for one step at all processes, those that die of it and are started again included; and for one that was
started again to open what it serves."""
CLOSE_LIMIT: Final = 10.0
START_LIMIT: Final = 180.0
"""Seconds for new processes to import all that they need, on the slowest machine."""
PAUSE: Final = 0.2
MAX_GIVEN: Final = 1_000_000
"""Bytes of a file that a record names: tokens, a certificate, its key."""
WARM_UP_ROUNDS: Final = 3


class Processes:
    """Of one deployment, over a connection. `orders` say what is to run."""

    def __init__(self, connection: Clusters, orders: Orders) -> None:
        self._connection, self.orders = connection, orders
        self._prefix = actor_prefix(orders.record.name)
        self.actors: dict[str, Any] = connection.named(self._prefix)
        self._apart: set[str] | None = None
        self._demand()

    def _demand(self) -> None:
        """Raises EnvironmentFailed where a cluster with any of them cannot be reached, and so was not asked: its
        processes may well run.
        """
        self._connection.demand({member_of(process) for process in (*self.orders.processes, *self.actors)})

    def _ask(self, refs: Mapping[str, Any], limit: float) -> tuple[dict[str, Any], dict[str, str]]:
        """See `Clusters.ask`; all clusters with a process are there."""
        answers = self._connection.ask(refs, limit)
        self._demand()
        return answers

    @property
    def _wanted(self) -> dict[str, Any]:
        return {process: self.actors[process] for process in self.orders.processes if process in self.actors}

    def are_whole(self) -> bool:
        """Whether all serve the release. Those that Ray is starting again are waited for, for as long as their node may
        take to come back.
        """
        key = self.orders.record.key
        if set(self._wanted) != set(self.orders.processes):
            return False
        now = time.monotonic()
        give_up, opened = now + NODE_LIMIT, now + LOOK_LIMIT
        while True:
            serving = {process: state[0] for process, state in self._states().items()}
            if set(serving.values()) - {key, ""}:
                return False
            now = time.monotonic()
            if len(serving) < len(self._wanted):
                opened = now + LOOK_LIMIT
            elif "" not in serving.values():
                return True
            elif now > opened:  # they were not told to serve
                return False
            if now > give_up:
                return False
            time.sleep(PAUSE)

    def _states(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        answers, _ = self._ask({p: a.state.remote() for p, a in self._wanted.items()}, LOOK_LIMIT)
        return answers

    def place(self) -> None:
        """Those that are not there. Raises InputError where links are to be shaped between several machines."""
        folder, self._apart = self.orders.folder, None
        for process in self.orders.processes:
            if process not in self.actors:
                args = (str(folder), mark_of(folder), process, self.orders.secrets)
                name = self._prefix + process
                self.actors[process] = self._connection.place(member_of(process), DeployedHost, *args, name=name)
        machines = self.each("machine", limit=START_LIMIT)
        apart = self.apart()
        if apart and self.orders.record.state:
            self.dismiss(sorted(apart))
            where = f"hosts with files of their own ({', '.join(sorted(apart))})"
            what = f"not supported yet: components that keep state, and {where}"
            raise InputError(Issue(what, None, "have them all on machines that share this one's files"))
        elsewhere = sorted(apart | {p for p, machine in machines.items() if machine != machine_id()})
        if elsewhere and self.orders.record.shape:
            self.dismiss(elsewhere)
            what = f"links to {', '.join(elsewhere)}, on another machine than this one, are real and cannot be shaped"
            raise InputError(Issue(what, None, "--no-shape"))

    def apart(self) -> set[str]:
        """Those that do not share this machine's file system: they have a copy of the deployment's state."""
        if self._apart is None:  # it stays so as long as they live, and with who comes after them
            self._apart = {process for process, shares in self.each("shares").items() if not shares}
        return self._apart

    def bring(self, tell: Tell) -> None:
        """Bring those that are `apart` what is in force by now and they lack: bundles, and files of the folder."""
        away = {process: self.actors[process] for process in self.apart()}
        if not away:
            return
        record, folder = self.orders.record, self.orders.folder
        now, moving = record_in(folder), moving_in(folder)
        records = {r.key: r for r in (now, *((moving.old, moving.new) if moving else ())) if r is not None}
        shipments = {s.target: s for each in records.values() for s in _bundles(each, folder)}
        ship(self._connection, away, list(shipments.values()), tell)
        at = record.listening
        given = (file for file in (at.token_file, at.tls_cert, at.tls_key) if file)
        files = {given_file(file): read_input(file, MAX_GIVEN) for file in given}
        kept = {name: _read(folder / name) for name in (RECORD, MOVING, KEY)}
        self._gather({p: a.keep.remote(kept | files, list(shipments)) for p, a in away.items()})

    def introduce(self) -> None:
        """Let all know where the others listen, of whom the one or the other does not share this machine's files."""
        away = self.apart()
        if not away:
            return
        ends = self.each("endpoint")
        for process in away:
            write_whole(self.orders.folder / endpoint_file(process), ends[process].text())
        files = {endpoint_file(process): end.text().encode() for process, end in ends.items()}
        told = {p: {name: data for name, data in files.items() if name != endpoint_file(p)} for p in away}
        self._gather({p: self.actors[p].keep.remote(others, ()) for p, others in told.items()})

    def _gather(self, refs: Mapping[str, Any]) -> None:
        self._connection.gather(refs, CALL_LIMIT)

    def serve_new(self) -> None:
        """Let those begin that serve nothing yet. Requests enter elsewhere, so none comes before the others serve."""
        idle = {process for process, state in self._states().items() if not state[0]}
        self.each("serve", self.orders.record.key, of=idle)

    def each(
        self, method: str, *args: object, of: Collection[str] | None = None, limit: float = CALL_LIMIT
    ) -> dict[str, Any]:
        """`method` of all that are wanted, or `of` some. Where a process dies of it the next one is asked again.

        Raises what a process's own code raised; EnvironmentFailed where one is not back in time, or could not start at
        all.
        """
        return self._each({p: a for p, a in self._wanted.items() if of is None or p in of}, method, *args, limit=limit)

    def _each(self, asked: Mapping[str, Any], method: str, *args: object, limit: float = CALL_LIMIT) -> dict[str, Any]:
        give_up = time.monotonic() + limit
        results: dict[str, Any] = {}
        while len(results) < len(asked):
            left = {p: a for p, a in asked.items() if p not in results}
            refs = {process: getattr(actor, method).remote(*args) for process, actor in left.items()}
            answers, died = self._ask(refs, max(1.0, give_up - time.monotonic()))
            results |= answers
            if unborn := next((p for p, reason in died.items() if reason.startswith(NOT_STARTED)), None):
                raise EnvironmentFailed(f"the host at {unborn}: {died[unborn]}")
            if len(results) < len(asked):
                if time.monotonic() > give_up:
                    process = next(p for p in left if p not in answers)
                    raise EnvironmentFailed(f"the host at {process}: {died.get(process, 'no answer in time')}")
                time.sleep(PAUSE)
        return results

    def warm_up(self, bundle: Bundle, items: Sequence[Item]) -> None:
        """Every executor of the release runs a few of the inputs that the items lead to."""
        top, app = self.orders.top, bundle.app.value
        references = open_references(bundle, top, self.orders.secrets)
        outcomes = [
            references[flow.name].run(item)
            for flow in top.flows
            for item in [i for i in items if i.source == flow.source][:RECORDED]
        ]
        calls = {}
        for process, actor in self._wanted.items():
            for stage in top.stages_at(self.orders.member(process).site):
                recorded = recorded_inputs(stage, app, outcomes, WARM_UP_ROUNDS)
                if recorded and (process == member_of(process) or stage.standby):
                    key = self.orders.record.key
                    calls[f"{process}/{stage.id}"] = actor.warm_up.remote(key, stage.id, recorded, WARM_UP_ROUNDS)
        self._connection.gather(calls)

    def everywhere(self, method: str, key: str) -> None:
        """`method` of all that are there, those that the release has no work for included; as `each`."""
        self._each(self.actors, method, key)

    def pending(self, key: str) -> int:
        """How many requests are still under way by the release of that key, at all processes that answer."""
        answers, _ = self._ask({p: a.pending.remote(key) for p, a in self.actors.items()}, LOOK_LIMIT)
        return sum(answers.values())

    def loaded(self) -> Mapping[str, tuple[str, ...]]:
        """The keys of the releases that each process has loaded, of those that answer."""
        return {process: state[1] for process, state in self._states().items()}

    def end(self, processes: Collection[str]) -> None:
        """Kill them."""
        self._connection.kill([self.actors.pop(process) for process in processes])

    def dismiss(self, processes: Collection[str]) -> None:
        """Have them write what they keep, leave their machines' folders, and end."""
        asked = {process: self.actors[process].close.remote() for process in processes}
        if asked:
            with contextlib.suppress(Exception):  # who does not close is killed
                self._connection.ask(asked, CLOSE_LIMIT)
            self.end(processes)

    def end_others(self) -> None:
        """Kill those that the release has no work for."""
        self.dismiss([process for process in self.actors if process not in self.orders.processes])


def _bundles(record: Record, folder: Path) -> Iterator[Shipment]:
    """What a machine needs of a release: its bundle, and those of the plans without a site."""
    yield Shipment(Path(record.bundle), f"{BUNDLES}/{record.key}")
    for digest in record.alternatives.values():
        source = alternative_folder(folder, digest)
        yield Shipment(source, source.relative_to(folder).as_posix())


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None

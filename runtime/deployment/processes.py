"""The processes of a deployment, as the command that deploys sees them: found, placed, and told what to do."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from runtime.background import RECORDED, recorded_inputs
from runtime.bundle import Bundle
from runtime.cluster.connection import Connection
from runtime.deployment.actor import DeployedHost
from runtime.deployment.orders import Orders, actor_prefix
from runtime.items import Item
from runtime.machine import machine_id
from runtime.opening import open_references
from runtime.replicas import member_of
from specs.errors import EnvironmentFailed

LOOK_LIMIT: Final = 10.0
CALL_LIMIT: Final = 60.0
"""Seconds for one step at all processes, those that die of it and are started again included."""
CLOSE_LIMIT: Final = 10.0
PAUSE: Final = 0.2
WARM_UP_ROUNDS: Final = 3


class Processes:
    """Of one deployment, over a connection. `orders` say what is to run."""

    def __init__(self, connection: Connection, orders: Orders) -> None:
        self._connection, self.orders = connection, orders
        self._prefix = actor_prefix(orders.record.name)
        self.actors: dict[str, Any] = connection.named(self._prefix)

    @property
    def _wanted(self) -> dict[str, Any]:
        return {process: self.actors[process] for process in self.orders.processes if process in self.actors}

    def are_whole(self) -> bool:
        """Whether all serve the release. Those that Ray is starting again are waited for."""
        key = self.orders.record.key
        if set(self._wanted) != set(self.orders.processes):
            return False
        give_up = time.monotonic() + LOOK_LIMIT
        while True:
            serving = {process: state[0] for process, state in self._states(give_up).items()}
            if set(serving.values()) - {key, ""}:
                return False
            if len(serving) == len(self._wanted) and "" not in serving.values():
                return True
            if time.monotonic() > give_up:
                return False
            time.sleep(PAUSE)

    def _states(self, give_up: float) -> dict[str, tuple[str, tuple[str, ...]]]:
        left = max(0.1, give_up - time.monotonic())
        answers, _ = self._connection.ask({p: a.state.remote() for p, a in self._wanted.items()}, left)
        return answers

    def place(self) -> None:
        """Those that are not there. Raises EnvironmentFailed where one is on another machine."""
        for process in self.orders.processes:
            if process not in self.actors:
                name = self._prefix + process
                args = (str(self.orders.folder), process, self.orders.secrets)
                self.actors[process] = self._connection.place(member_of(process), DeployedHost, *args, name=name)
        machines = self.each("machine")
        elsewhere = sorted(process for process, machine in machines.items() if machine != machine_id())
        if elsewhere:
            self.end(elsewhere)
            raise EnvironmentFailed(
                f"not supported yet: {', '.join(elsewhere)} on another machine than this one; the bundle's folder is "
                "shared through this machine's file system"
            )

    def serve_new(self) -> None:
        """Let those begin that serve nothing yet. Requests enter elsewhere, so none comes before the others serve."""
        idle = {process for process, state in self._states(time.monotonic() + LOOK_LIMIT).items() if not state[0]}
        self.each("serve", self.orders.record.key, of=idle)

    def each(self, method: str, *args: object, of: Collection[str] | None = None) -> dict[str, Any]:
        """`method` of all that are wanted, or `of` some. Where a process dies of it the next one is asked again.

        Raises what a process's own code raised; EnvironmentFailed where one is not back in time.
        """
        return self._each({p: a for p, a in self._wanted.items() if of is None or p in of}, method, *args)

    def _each(self, asked: Mapping[str, Any], method: str, *args: object) -> dict[str, Any]:
        give_up = time.monotonic() + CALL_LIMIT
        results: dict[str, Any] = {}
        while len(results) < len(asked):
            left = {p: a for p, a in asked.items() if p not in results}
            limit = max(1.0, give_up - time.monotonic())
            refs = {process: getattr(actor, method).remote(*args) for process, actor in left.items()}
            answers, died = self._connection.ask(refs, limit)
            results |= answers
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
        answers, _ = self._connection.ask({p: a.pending.remote(key) for p, a in self.actors.items()}, LOOK_LIMIT)
        return sum(answers.values())

    def loaded(self) -> Mapping[str, tuple[str, ...]]:
        """The keys of the releases that each process has loaded, of those that answer."""
        return {process: state[1] for process, state in self._states(time.monotonic() + LOOK_LIMIT).items()}

    def end(self, processes: Collection[str]) -> None:
        """Kill them."""
        self._connection.kill([self.actors.pop(process) for process in processes])

    def close(self) -> None:
        """Have them write down what they keep, before they end; one that does not answer is left as it is."""
        self._connection.ask({process: actor.close.remote() for process, actor in self.actors.items()}, CLOSE_LIMIT)

    def end_others(self) -> None:
        """Kill those that the release has no work for."""
        self.end([process for process in self.actors if process not in self.orders.processes])

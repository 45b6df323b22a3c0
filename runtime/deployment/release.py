"""One release in one process: what a record has the process do. While a deployment moves it has two of them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.bundle import PLAN_FILE, Bundle, open_bundle
from runtime.cluster.actor import HostOrder, open_host
from runtime.deployment.exchange import Exchange
from runtime.deployment.failover import Alternative, Failover
from runtime.hosting.host import Host
from runtime.ingress.door import DoorOptions
from runtime.ingress.member import MemberDoor
from runtime.ingress.service import Service
from runtime.observe.drift import promise_of
from runtime.stages.state import States
from runtime.values import Value
from specs.plan import read_plan


@dataclass(frozen=True, slots=True)
class DeployOrder:
    """`key` is of the deployment's record: who asks learns whether this is what they want.

    `door` is None for a standby. `ports` is a file that keeps where the door listens, for the next process of this
    actor. `alternatives` are the hosts of the plans without a site, by site. `state` is the folder of checkpoints, ""
    where no component keeps state.
    """

    host: HostOrder
    key: str
    door: DoorOptions | None
    ports: str
    alternatives: Mapping[str, HostOrder] = field(default_factory=dict)
    state: str = ""


def plan_name(key: str, without: str = "") -> str:
    """What messages call the plan of a release by, or its plan without a site."""
    return f"{key}/{without}"


class Release:
    """Loaded from construction to `close`. Methods may be called from any thread."""

    def __init__(self, order: DeployOrder, exchange: Exchange, *, moving: bool = False) -> None:
        """While the deployment is `moving`, what components keep stays with whoever has it.

        Raises InputError where something cannot be loaded.
        """
        self.order, self._exchange = order, exchange
        member = str(order.host.member)
        self.states = States(Path(order.state), member, order.key, moving=moving) if order.state else None
        self.host = self._open(order.host)
        self._others: dict[str, Host] = {}
        self._adopting = threading.Lock()
        self._entrance: Failover | None = None
        self._service: Service | None = None

    def adopt(self, site: str) -> Host:
        """Be a host of the plan without `site` as well; at once where that has happened before. "": the plan itself."""
        if self.has(site):
            return self._others[site] if site else self.host
        with self._adopting:
            if site not in self._others:
                self._others[site] = self._open(self.order.alternatives[site])
            return self._others[site]

    def _open(self, order: HostOrder) -> Host:
        return open_host(order, self._exchange.line(order.options.plan), self.states)

    def has(self, site: str) -> bool:
        """Whether the host of the plan without `site` is open."""
        return not site or site in self._others

    def come_near(self) -> None:
        """Have connections to those that this process sends to, before the first request."""
        self._exchange.near(self.order.host.top.sends_to(self.order.host.member))

    def open_door(self, options: DoorOptions) -> MemberDoor:
        """A door where there was none."""
        return MemberDoor(self._bundle(), self.order.host.top, self.host, self._enter(), options)

    def take_over(self, door: MemberDoor) -> Service:
        """Serve what comes in at `door` from now on; returns what served there before."""
        return door.serve(self._bundle(), self.order.host.top, self.host, self._enter())

    def _bundle(self) -> Bundle:
        return open_bundle(self.order.host.bundle)

    def _enter(self) -> Failover:
        member = str(self.order.host.member)
        others = {site: _alternative(order) for site, order in self.order.alternatives.items()}

        def adopt(site: str, members: Collection[str]) -> Host:
            self._exchange.adopt(set(members) - {member}, plan_name(self.order.key, site))
            return self.adopt(site)

        if self._entrance is None:
            self._entrance = Failover(self.host, others, adopt)
        return self._entrance

    @property
    def without(self) -> str:
        """The site without which requests that enter here go on; "" while all is as planned."""
        return self._entrance.without if self._entrance is not None else ""

    def slow(self) -> dict[str, str]:
        """Of each process that is slow for requests that enter here: by what, and where they go instead."""
        return self._entrance.slow() if self._entrance is not None else {}

    def warm_up(self, stage: str, inputs: Sequence[Mapping[str, Value | None]], rounds: int) -> None:
        """See `runtime.hosting.host.Host.warm_up`."""
        self.host.warm_up(stage, inputs, rounds)

    def pending(self) -> int:
        """How many requests that entered here have not ended."""
        return sum(host.origin.pending() for host in (self.host, *self._others.values()))

    def close(self) -> None:
        if self._entrance is not None:
            self._entrance.close()
        for host in (*self._others.values(), self.host):
            host.close()
        if self.states is not None:
            self.states.close()


def _alternative(order: HostOrder) -> Alternative:
    """With what its plan says of each flow: of several sinks, of the slowest."""
    plan = read_plan(Path(order.bundle) / PLAN_FILE)
    promised = promise_of(plan, order.top).paths
    return Alternative(order.top, {flow: path.predicted.p50_ms for flow, path in promised.items()})

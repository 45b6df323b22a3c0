"""All hosts of a run as Ray actors in an emulated network: a namespace and a Ray node of its own for each site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from runtime.bundle import Bundle
from runtime.cluster.driver import DrivenHosts, Order
from runtime.cluster.local import Place
from runtime.emulate.attached import AttachedEmulation
from runtime.emulate.layout import network
from runtime.hosting.host import HostOptions, Hum
from runtime.hosting.hosts import Load, StageInputs
from runtime.hosting.request import Departure, Entry
from runtime.hosting.shaping import Routes
from runtime.reference.items import Item
from runtime.stages.secrets import Secrets
from runtime.topology import Topology

METHOD: Final = "links emulated below the application (TUN devices), processor time stretched by sleeping"

PAYLOADS: Final = 512
"""Sizes that the emulator is told of one stream of background traffic."""


class EmulatedHosts:
    """See `runtime.hosting.hosts.Hosts`. Once made, the network is up and nodes start; `open` waits for them."""

    def __init__(
        self, bundle: Bundle, top: Topology, options: HostOptions, tiers: Mapping[str, str], secrets: Secrets
    ) -> None:
        """Raises NotAllowed where this machine does not allow it, InputError for what cannot be emulated."""
        self._top = top
        self._driven: DrivenHosts | None = None
        self._emulation = AttachedEmulation(network(bundle.infra, _members(bundle, top)), options.seed)
        try:
            self._emulation.wait()
            first = self._emulation.first_processes
            places = {name: Place(first[name], h.control, h.address) for name, h in self._emulation.hosts.items()}
            order = Order(bundle.folder, top, replace(options, emulated=True), tiers, places, secrets)
            self._driven = DrivenHosts(order)
        except BaseException:
            self.close()
            raise

    @property
    def _hosts(self) -> DrivenHosts:
        assert self._driven is not None
        return self._driven

    def open(self) -> bool:
        return self._hosts.open()

    def warm_up(self, inputs: Mapping[str, Mapping[str, StageInputs]], rounds: int) -> None:
        self._hosts.warm_up(inputs, rounds)

    def give_items(self, items: Mapping[str, Mapping[int, Item]]) -> None:
        self._hosts.give_items(items)

    def start_background(self, loads: Mapping[str, Load], seed: int) -> None:
        """Work goes to the hosts, traffic to the emulator: it loads links, and arrives nowhere."""
        names = Routes(self._top).names()
        for hum in (hum for load in loads.values() for hum in load.hums):
            self._emulation.ask({"background": _hum(names, hum)})
        self._hosts.start_background({m: replace(load, hums=()) for m, load in loads.items()}, seed)

    def start_load(self, departures: Mapping[str, Sequence[Departure]], start_in: float, deadline: float) -> None:
        self._hosts.start_load(departures, start_in, deadline)

    def progress(self) -> dict[str, int]:
        return self._hosts.progress()

    def logs(self) -> dict[str, list[Entry]]:
        return self._hosts.logs()

    def round_trips(self) -> Mapping[tuple[str, str], float]:
        return {}  # all share this machine's clock

    def gone(self) -> Mapping[str, str]:
        return self._hosts.gone()

    def close(self) -> None:
        try:
            if self._driven is not None:
                self._driven.close()
        finally:
            self._emulation.close()


def _members(bundle: Bundle, top: Topology) -> dict[str, int]:
    """How many members of each site there must be: up to the last that serves somebody."""
    found = dict.fromkeys(bundle.infra.value.sites, 0)
    for member in (*top.hosts, *(serving.member for serving in top.serving)):
        found[member.site] = max(found[member.site], member.index + 1)
    return found


def _hum(names: Sequence[tuple[str, ...]], hum: Hum) -> dict[str, Any]:
    kind, link, direction, member = names[hum.capacity]
    shared = kind == "shared"
    way = {"shared": shared, "link": link, "direction": direction, "member": member}
    return {**way, "rate": hum.rate, "payloads": _some(sorted(hum.payloads))}


def _some(payloads: Sequence[int]) -> list[int]:
    """At most `PAYLOADS` of them, equally far apart in their order."""
    count = min(len(payloads), PAYLOADS)
    return [payloads[(2 * i + 1) * len(payloads) // (2 * count)] for i in range(count)]

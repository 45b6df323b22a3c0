"""All hosts of a run as Ray actors, on a cluster of our own, on one that is there, or on several."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from runtime.channel.zeromq import Secret
from runtime.cluster.actor import BUNDLE, HostActor, HostOrder
from runtime.cluster.connection import Connection
from runtime.cluster.federation import Clusters, Federation
from runtime.cluster.keeper import LOOPBACK
from runtime.cluster.local import LocalCluster, Place
from runtime.cluster.shipping import Shipment, ship
from runtime.hosting.host import HostOptions
from runtime.hosting.hosts import Load, StageInputs
from runtime.hosting.request import Departure, Entry
from runtime.hosting.shaping import LinkState, Routes
from runtime.machine import machine_id
from runtime.reference.items import Item
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.topology import Topology
from runtime.values import size
from specs.clusters import Cluster
from specs.digest import digest_file
from specs.errors import EnvironmentFailed
from specs.manifest import MANIFEST_FILE

CHUNK: Final = 8_000_000
"""Bytes of items in one call: below what travels inline, so that no object store has to hold them."""
START_LIMIT: Final = 180.0
"""Seconds for new processes to import all that they need, on the slowest machine."""
POLL_LIMIT: Final = 5.0
LOG_LIMIT: Final = 60.0


class RayHosts:
    """See `runtime.hosting.hosts.Hosts`. Nodes start with construction; `open` waits for them."""

    def __init__(
        self,
        bundle: Path,
        top: Topology,
        options: HostOptions,
        tiers: Mapping[str, str],
        address: str | None,
        places: Mapping[str, Place] | None = None,
        secrets: Secrets = NO_SECRETS,
        clusters: Mapping[str, Cluster] | None = None,
    ) -> None:
        """`tiers` maps every member of the run to its tier; `address` is of an existing cluster's head, `clusters` are
        several of them.

        With `places` each node of our own is at its member's place in an emulated network; the head is that of the
        first member of `tiers`, where this process has to be as well.
        """
        self._bundle, self._top, self._options, self._tiers = bundle, top, options, tiers
        self._address, self._places, self._secrets, self._clusters = address, places, secrets, clusters
        self._connection: Clusters | None = None
        self._actors: dict[str, Any] = {}
        self._machines: dict[str, str] = {}
        self._gone: dict[str, str] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._cluster: LocalCluster | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if address is None and not clusters:
            labels = [{"site": m, "tier": tier} for m, tier in tiers.items()]
            self._cluster = LocalCluster(labels, [places[m] for m in tiers] if places else None)
            self._links = Path(self._cluster.folder) / "links"
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="tierplan-links-")
            self._links = Path(self._folder.name) / "links"

    @property
    def _ray(self) -> Clusters:
        if self._connection is None:
            raise EnvironmentFailed("the hosts are not open")
        return self._connection

    def open(self) -> bool:
        self._connection = self._connect()
        self._connection.check_sites(self._tiers)
        shaped = self._options.shape and not self._options.emulated
        links = str(self._links) if shaped else ""
        secret = Secret.new(encrypted=False)
        for member in self._top.hosts:
            at = self._places[str(member)].links if self._places else LOOPBACK
            order = HostOrder(member, self._top, str(self._bundle.resolve()), links, self._options, self._secrets)
            self._actors[str(member)] = self._connection.place(str(member), HostActor, order, at, secret)
        self._machines = self._ray.call(self._actors, "machine", limit=START_LIMIT)
        spread = self._bring_bundle() or set(self._machines.values()) != {machine_id()}
        if shaped and not spread:
            LinkState.create(self._links, Routes(self._top).capacities)
        self._ray.call(self._actors, "open", self._ray.call(self._actors, "listen", spread), spread)
        return spread

    def _connect(self) -> Clusters:
        if self._clusters:
            return Federation(self._clusters)
        address = self._cluster.wait() if self._cluster else self._address
        assert address is not None
        node = self._places[next(iter(self._tiers))].control if self._places else ""
        return Connection(address, local=self._cluster is not None, node=node)

    def _ask(self, refs: Mapping[str, Any], limit: float) -> tuple[dict[str, Any], dict[str, str]]:
        """See `Clusters.ask`. Raises EnvironmentFailed where a cluster is lost, with what its hosts have seen."""
        answers = self._ray.ask(refs, limit) if refs else ({}, {})
        self._ray.demand(self._actors)
        return answers

    def _bring_bundle(self) -> bool:
        """Bring the bundle where it is not: to machines with file systems of their own. Whether there are any."""
        manifest = digest_file(self._bundle / MANIFEST_FILE)
        shares = self._ray.call(self._actors, "shares", manifest, token_hex(8))
        apart = {member: self._actors[member] for member, has in shares.items() if not has}
        if apart:
            ship(self._ray, apart, [Shipment(self._bundle, BUNDLE)], lambda _: None)
        return bool(apart)

    def round_trips(self) -> dict[tuple[str, str], float]:
        refs: dict[str, Any] = {}
        for member in self._top.hosts:
            others = [o for o in self._top.sends_to(member) if self._machines[o] != self._machines[str(member)]]
            if others and str(member) not in self._gone:
                refs[str(member)] = self._actors[str(member)].round_trips.remote(others)
        found, _ = self._ask(refs, LOG_LIMIT)
        return {(member, other): took for member, mine in found.items() for other, took in mine.items()}

    def warm_up(self, inputs: Mapping[str, Mapping[str, StageInputs]], rounds: int) -> None:
        refs = {
            f"{member}/{stage}": self._actors[member].warm_up.remote(stage, recorded, rounds)
            for member, stages in inputs.items()
            for stage, recorded in stages.items()
        }
        self._ray.gather(refs)

    def give_items(self, items: Mapping[str, Mapping[int, Item]]) -> None:
        for member, mine in items.items():
            for number, chunk in enumerate(_chunks(mine)):
                self._ray.gather({f"{member}/{number}": self._actors[member].give_items.remote(chunk)})

    def start_background(self, loads: Mapping[str, Load], seed: int) -> None:
        refs = {m: self._actors[m].start_background.remote(load.noises, load.hums, seed) for m, load in loads.items()}
        self._ray.gather(refs)

    def start_load(self, departures: Mapping[str, Sequence[Departure]], start_in: float, deadline: float) -> None:
        refs = {m: self._actors[m].start_load.remote(mine, start_in, deadline) for m, mine in departures.items()}
        self._ray.gather(refs)

    def progress(self) -> dict[str, int]:
        alive = {m: a for m, a in self._actors.items() if m not in self._gone}
        counts, died = self._ask({m: a.progress.remote() for m, a in alive.items()}, POLL_LIMIT)
        self._counts.update(counts)
        self._gone.update(died)
        for member in died:
            self._counts.pop(member, None)
        told = {
            f"{other}/{member}": actor.peer_gone.remote(member, reason)
            for other, actor in self._actors.items()
            for member, reason in died.items()
            if other not in self._gone
        }
        if told:
            self._ask(told, POLL_LIMIT)
        total: dict[str, int] = {}
        for mine in self._counts.values():
            for status, count in mine.items():
                total[status] = total.get(status, 0) + count
        return total

    def logs(self) -> dict[str, list[Entry]]:
        alive = {m: a for m, a in self._actors.items() if m not in self._gone}
        logs, died = self._ask({m: a.log.remote() for m, a in alive.items()}, LOG_LIMIT)
        self._gone.update(died)
        return logs

    def gone(self) -> Mapping[str, str]:
        return dict(self._gone)

    def close(self) -> None:
        try:
            if self._connection is not None:
                alive = [a for m, a in self._actors.items() if m not in self._gone]
                with contextlib.suppress(Exception):  # the cluster may be what failed
                    self._ray.ask({str(i): a.close.remote() for i, a in enumerate(alive)}, POLL_LIMIT)
                with contextlib.suppress(Exception):
                    self._connection.kill(alive)
                self._connection.close()
        finally:
            self._connection = None
            self._actors.clear()
            if self._cluster is not None:
                self._cluster.close()
                self._cluster = None
            if self._folder is not None:
                self._folder.cleanup()


def _chunks(items: Mapping[int, Item]) -> Iterator[dict[int, Item]]:
    chunk: dict[int, Item] = {}
    held = 0
    for number, item in items.items():
        weight = sum(size(value) for value in item.values.values())
        if chunk and held + weight > CHUNK:
            yield chunk
            chunk, held = {}, 0
        chunk[number] = item
        held += weight
    if chunk:
        yield chunk

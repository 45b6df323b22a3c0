"""Plays a placement request by request, and gives what happened by flow, queue and link."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.inputs.flows import Flow
from planner.placement.demand import Demand
from planner.placement.layout import FlowLayout, Layout
from planner.prediction.distribution import Reals
from planner.prediction.timings import Timings
from planner.simulation.arrivals import Arrivals, Constant, Poisson, Replay
from planner.simulation.build import Builder
from planner.simulation.faults import Calendar, Fault, calendars
from planner.simulation.tables import ANSWERED, Log, Network, Requests, State, fresh_state, grown
from specs.errors import InputError, Issue

WARM_UP: Final = 0.05
"""Share of the time that comes first and is not counted: those requests find empty queues."""
MOST_REQUESTS: Final = 10_000_000
EVENTS_A_STEP: Final = 500_000
"""Events between two looks at whether the user wants to stop."""

Tell = Callable[[float], None]


@dataclass(frozen=True)
class Conditions:
    """What a placement is played under, beyond its demand.

    `arrivals` is by source; the source's own where it is not said. `queue_limit` bounds what may wait at a queue (None:
    nothing does), `deadline` is seconds after which a request is given up.
    """

    arrivals: Mapping[str, Arrivals] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    queue_limit: int | None = None
    deadline: float = inf
    warm_up: float = WARM_UP


@dataclass(frozen=True)
class Simulated:
    """What happened to the counted requests of one flow, in the order of their arrival; times in seconds.

    `ends` is, by sink or component, the time since the request's start (NaN where it did not come there). `waits` and
    `services` are by stage (an index of the layout) or leg (its name), of the requests that took it.
    """

    started: Reals
    status: NDArray[np.int8]
    pattern: NDArray[np.int32]
    ends: dict[str, Reals]
    waits: dict[int | str, Reals]
    services: dict[int | str, Reals]

    def times(self, to: str, patterns: Collection[int]) -> Reals:
        """From the start to the end at `to` of the answered requests of these branch patterns."""
        return self.timed(to, patterns)[1]

    def timed(self, to: str, patterns: Collection[int]) -> tuple[Reals, Reals]:
        """When those requests started, and how long they took."""
        seconds = self.ends[to]
        chosen = np.isin(self.pattern, list(patterns)) & (self.status == ANSWERED) & ~np.isnan(seconds)
        return self.started[chosen], seconds[chosen]


@dataclass(frozen=True)
class Played:
    """`flows` by name; `loads` by queue or link (as `Timings.queues` calls them): the busy share of each instance, of
    a pool's devices at one member together.

    `seconds` are those in which requests came, `counted` the part of them that counts.
    """

    flows: dict[str, Simulated]
    loads: dict[str, Reals]
    seconds: float
    counted: float


class Simulation:
    """Of a placement under a demand. The same seed gives the same result."""

    def __init__(self, layout: Layout, demand: Demand, seed: int, under: Conditions | None = None) -> None:
        self._layout, self._demand = layout, demand
        self._under = Conditions() if under is None else under
        self._random = np.random.default_rng(seed)
        self._builder = Builder(Timings(layout, demand))
        self._patterns = {
            of.flow.name: [self._builder.pattern(of, i) for i in range(len(of.pipeline.shapes))] for of in layout.flows
        }

    @cached_property
    def rate(self) -> float:
        """Requests a second of all flows together."""
        return sum(self._rate(of.flow) for of in self._layout.flows)

    def _rate(self, flow: Flow) -> float:
        """Of all asking members; of a replayed trace on average."""
        how = self._arrivals(flow.source)
        if isinstance(how, Replay):
            part = self._demand.part
            return how.rate(flow, self._demand.asking(flow), 1.0 if part is None else part.multiplier)
        return self._demand.total(flow)

    def run(self, requests: int, tell: Tell | None = None) -> Played:
        """Play as long as `requests` requests take on average. Raises InputError as `play` does."""
        if self.rate <= 0:
            raise InputError(Issue("none of the members that take part is in the trace", None, "choose more --members"))
        return self.play(requests / self.rate, tell)

    def play(self, seconds: float, tell: Tell | None = None) -> Played:
        """Let requests come for `seconds`, and play until the last is done. `tell` hears of the share that is played.

        Raises InputError for more requests than can be kept.
        """
        background = [b for of in self._layout.flows for b in self._builder.background(self._demand, of)]
        requests = self._requests(seconds, background)
        times = calendars(self._under.faults)
        patience = [s.assignment.batch_wait_ms / 1e3 for s in self._layout.stages]
        network = self._builder.network(seconds, self._under.queue_limit, times, patience.__getitem__)
        state, log = _play(network, requests, self._losses(network, times), self._builder.width, self._random, tell)
        return self._played(seconds, network, requests, state, log)

    # What comes

    def _requests(self, seconds: float, background: Sequence[tuple[int, str, float]]) -> Requests:
        """All arrivals by time; only those of flows have a row."""
        most = self.rate * seconds + sum(rate * self._members(site) * seconds for _, site, rate in background)
        if most > MOST_REQUESTS:
            raise InputError(Issue(f"{most:,.0f} requests are too many to keep; at most {MOST_REQUESTS:,}"))
        times: list[NDArray[np.float64]] = []
        members: list[NDArray[np.int32]] = []
        kinds: list[NDArray[np.int32]] = []
        for of in self._layout.flows:
            flow = of.flow
            stream = self._arrivals(flow.source).stream(
                flow, self._demand.total(flow), self._demand.asking(flow), seconds, self._random
            )
            shares = [s.probability for s in of.pipeline.shapes]
            kinds.append(self._random.choice(self._patterns[flow.name], len(stream.times), p=shares).astype(np.int32))
            times.append(stream.times)
            members.append(stream.members)
        own = sum(len(t) for t in times)
        for kind, site, rate in background:
            n = self._random.poisson(rate * self._members(site) * seconds)
            times.append(self._random.uniform(0, seconds, n))
            members.append(self._random.integers(self._members(site), size=n, dtype=np.int32))
            kinds.append(np.full(n, kind, np.int32))
        time, member, kind_ = np.concatenate(times), np.concatenate(members), np.concatenate(kinds)
        order = np.argsort(time, kind="stable")
        row = np.where(order < own, np.cumsum(order < own) - 1, -1).astype(np.int32)
        time = time[order]
        return Requests(time, time + self._under.deadline, kind_[order], member[order], row)

    def _members(self, site: str) -> int:
        part = self._demand.part
        return self._layout.situation.infra.value.members(site) if part is None else part.members.get(site, 1)

    def _arrivals(self, source: str) -> Arrivals:
        if source in self._under.arrivals:
            return self._under.arrivals[source]
        if source in self._layout.situation.recordings:
            return Replay(self._layout.situation.recordings[source])
        declared = self._layout.situation.app.value.sources[source].arrivals
        return Constant() if declared == "constant" else Poisson()

    def _losses(self, network: Network, times: Sequence[Calendar]) -> list[tuple[float, int, int]]:
        """When instances of queues lose what they hold, as events."""
        from planner.simulation.engine import LOSES

        found: list[tuple[float, int, int]] = []
        sites = list(self._builder.sites)
        for calendar in times:
            starts = [t for t, pace in zip(calendar.times, calendar.paces, strict=True) if pace == 0 and calendar.down]
            for queue, site in enumerate(network.queue_site.tolist()):
                if sites[site] == calendar.name:
                    first, last = network.queue_first[queue], network.queue_first[queue + 1]
                    if calendar.member is not None:
                        first += calendar.member * network.queue_devices[queue]
                        last = first + network.queue_devices[queue]
                    chosen = range(first, last)
                    found += [(t, LOSES, int(i)) for t in starts for i in chosen]
        return found

    # What happened

    def _played(self, seconds: float, net: Network, requests: Requests, state: State, log: Log) -> Played:
        kept = requests.row >= 0
        time, kind, status = requests.time[kept], requests.kind[kept], state.status[kept]
        counted = time >= self._under.warm_up * seconds
        flows: dict[str, Simulated] = {}
        for of in self._layout.flows:
            mine = counted & np.isin(kind, self._patterns[of.flow.name])
            flows[of.flow.name] = self._simulated(of, mine, time, kind, status, log)
        loads = {
            name: state.queue_busy[net.queue_first[i] : net.queue_first[i + 1]]
            .reshape(-1, net.queue_devices[i])
            .mean(axis=1)
            / (seconds * net.queue_servers[i])
            for name, i in self._builder.queues.items()
        } | {
            name: state.link_busy[net.link_first[i] : net.link_first[i + 1]] / seconds
            for name, i in self._builder.links.items()
        }
        return Played(flows, loads, seconds, seconds * (1 - self._under.warm_up))

    def _simulated(
        self,
        of: FlowLayout,
        rows: NDArray[np.bool_],
        time: Reals,
        kind: NDArray[np.int32],
        status: NDArray[np.int8],
        log: Log,
    ) -> Simulated:
        name, builder = of.flow.name, self._builder
        waits: dict[int | str, Reals] = {}
        services: dict[int | str, Reals] = {}
        for (flow, what), column in builder.columns.items():
            wait = log.waits[rows, column] if flow == name else np.zeros(0)
            took = ~np.isnan(wait)
            if took.any():
                waits[what] = wait[took].astype(np.float64)
                services[what] = log.took[rows, column][took].astype(np.float64)
        ends = {to: log.ends[rows, c].astype(np.float64) for (flow, to), c in builder.ends.items() if flow == name}
        pattern = (kind[rows] - self._patterns[name][0]).astype(np.int32)
        return Simulated(time[rows], status[rows], pattern, ends, waits, services)


def _play(
    network: Network,
    requests: Requests,
    losses: list[tuple[float, int, int]],
    width: tuple[int, int],
    random: np.random.Generator,
    tell: Tell | None,
) -> tuple[State, Log]:
    from planner.simulation.engine import DONE, FULL, advance
    from planner.simulation.tables import NEXT

    n = len(requests.time)
    rows = int(requests.row.max(initial=-1)) + 1
    waits, ends = (np.full((rows, columns), np.nan, np.float32) for columns in width)
    log = Log(waits, waits.copy(), ends)
    state = fresh_state(network, requests, losses)
    leaving = int(np.diff(network.node_edge).max(initial=0)) + 1
    margin = 4 + 3 * leaving * int(network.stage_batch.max(initial=1)) + 2 * network.most_items
    while (ended := advance(network, requests, state, log, random, EVENTS_A_STEP, margin)) != DONE:
        if ended == FULL:
            state = grown(state)
        elif tell is not None:
            tell(float(state.counters[NEXT]) / max(1, n))
    return state, log

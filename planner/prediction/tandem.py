"""Queues in tandem: servers to which all comes straight from one other server, so that it does not come by chance.

What leaves a server comes a service apart at least, and the next one hardly waits if it is not slower: where services
never vary, only the slowest of a row makes requests wait (Friedman, 1965). Where they vary no formula is known but for
exponential ones, behind which all comes by chance (Burke, 1956). So the queues are played together: a request begins
when it comes or when the one before it ends, whichever is later (Lindley, 1952). All times are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from planner.placement.request_graph import SOURCE, RequestGraph
from planner.prediction.distribution import Reals

if TYPE_CHECKING:
    from planner.prediction.timings import Timings

PLAYED: Final = 50_000
"""Requests at least; more where a queue is busy, since waits are then alike for longer."""
MOST_PLAYED: Final = 2_000_000
WARM_UP: Final = 0.05
"""Share of the requests that come first and are not counted: they find empty queues."""
SEED: Final = 17
FEW: Final = 1_000
"""Of a class with fewer requests played it is not said how their waits go together."""
WORTH: Final = 0.02
"""Tandems are played where requests wait, if they come by chance, for more than so many services on average at some
queue, and one before it is busy for more than this share of the time that the queue is."""


@dataclass(frozen=True)
class Passing:
    """A class of requests: how many a second, and what each queue that they visit does in one go: by its name, the
    stages in their order with equally likely services.
    """

    rate: float
    services: Mapping[str, Mapping[int, Reals]]


@dataclass(frozen=True)
class Tandem:
    """`feeders` says of each queue which one feeds it, after that one; the first has none. Requests come to it by
    chance. Every load must be below 1.
    """

    feeders: Mapping[str, str | None]
    passing: tuple[Passing, ...]

    def waits(self, queue: str) -> Reals:
        """Of all that visit a queue."""
        found = self._played.waits[queue]
        return found[~np.isnan(found)]

    def times(self, number: int) -> dict[int, Reals]:
        """Of requests of a class: by stage its service, and before it the wait where it begins a visit; those of one
        request at one index. A request whose service was long waits less at the next queue. Nothing of too few.
        """
        played = self._played
        mine = played.classes == number
        if mine.sum() < FEW:
            return {}
        found: dict[int, Reals] = {}
        for name, stages in self.passing[number].services.items():
            for stage in stages:
                found[stage] = played.services[stage][mine]
            first = next(iter(stages))
            found[first] = found[first] + played.waits[name][mine]
        return found

    @cached_property
    def _played(self) -> _Played:
        rates = np.array([p.rate for p in self.passing])
        count = min(MOST_PLAYED, int(PLAYED / (1 - self._load) ** 2))
        random = np.random.default_rng(SEED)
        came = np.cumsum(random.exponential(1 / rates.sum(), count))
        classes = random.choice(len(rates), count, p=rates / rates.sum())
        ends: dict[str | None, Reals] = {None: came}
        waits: dict[str, Reals] = {}
        services: dict[int, Reals] = {}
        for name, feeder in self.feeders.items():
            whole = np.full(count, np.nan)
            for number, passing in enumerate(self.passing):
                mine = np.flatnonzero(classes == number)
                for place, (stage, values) in enumerate(passing.services.get(name, {}).items()):
                    drawn = random.choice(values, len(mine))
                    services.setdefault(stage, np.full(count, np.nan))[mine] = drawn
                    whole[mine] = drawn if place == 0 else whole[mine] + drawn
            here = ~np.isnan(whole)
            begun = begins(ends[feeder][here], whole[here])
            waits[name], ends[name] = np.full(count, np.nan), np.full(count, np.nan)
            waits[name][here] = begun - ends[feeder][here]
            ends[name][here] = begun + whole[here]
        first = int(WARM_UP * count)
        return _Played(
            {name: each[first:] for name, each in waits.items()},
            {stage: each[first:] for stage, each in services.items()},
            classes[first:],
        )

    @property
    def _load(self) -> float:
        """Of the busiest queue."""
        return max(
            sum(p.rate * float(v.mean()) for p in self.passing for v in p.services.get(name, {}).values())
            for name in self.feeders
        )


@dataclass(frozen=True)
class _Played:
    """Waits by queue and services by stage of each request, not a number where it does not come there; its class."""

    waits: Mapping[str, Reals]
    services: Mapping[int, Reals]
    classes: NDArray[np.int64]


def begins(come: Reals, services: Reals) -> Reals:
    """When each of a row of requests begins to be served; they come at rising times."""
    after = np.cumsum(services)
    begun: Reals = np.maximum.accumulate(come - (after - services)) + (after - services)
    return begun


def tandems_of(timings: Timings) -> tuple[Tandem, ...]:
    """Those of a layout in which some queue is worth it. No queue may be overloaded."""
    feeders = _feeders(timings)
    first: dict[str, str] = {}
    for name in feeders:
        top = name
        while feeders[top] is not None:
            top = str(feeders[top])
        first[name] = top
    found: list[Tandem] = []
    for top in dict.fromkeys(first.values()):
        mine = _in_order({name: feeders[name] for name in feeders if first[name] == top})
        if any(_waits(timings, name) and _is_spaced(timings, name, mine) for name in mine):
            found.append(Tandem(mine, tuple(_passing(timings, top, mine))))
    return tuple(found)


def _waits(timings: Timings, name: str) -> bool:
    queue = timings.queues[name]
    rate = sum(a.rate for a in queue.arrivals)
    return rate > 0 and queue.wait.mean > WORTH * queue.load / rate


def _is_spaced(timings: Timings, name: str, feeders: Mapping[str, str | None]) -> bool:
    """Whether what comes to a queue is spaced out by one before it: not where that is hardly ever busy beside it."""
    before, load = feeders[name], WORTH * timings.queues[name].load
    while before is not None and timings.queues[before].load <= load:
        before = feeders[before]
    return before is not None


def _in_order(feeders: Mapping[str, str | None]) -> dict[str, str | None]:
    """Each after what feeds it."""
    found: dict[str, str | None] = {}
    while len(found) < len(feeders):
        found |= {n: f for n, f in feeders.items() if n not in found and (f is None or f in found)}
    return found


def _feeders(timings: Timings) -> dict[str, str | None]:
    """Queues of one server each; the one from which all comes that comes there, if there is one.

    What a slice says of background comes to each stage by itself, by chance: where there is some, nothing is in a row.
    """
    part = timings.demand.part
    background = part.background if part is not None else {}
    fed: dict[str, set[str | None]] = {}
    barred: set[str] = set()
    for of in timings.layout.flows:
        for shape in of.pipeline.shapes:
            graph = timings.stages_graph(of, shape)
            visits = timings.visits(of, shape)
            names = [timings.executor(visit[0]) for visit in visits]
            barred |= {name for name in names if names.count(name) > 1 or timings.meets(of, shape)}
            last = {visit[-1]: name for visit, name in zip(visits, names, strict=True)}
            for visit, name in zip(visits, names, strict=True):
                fed.setdefault(name, set()).add(_before(graph, visit[0], last))
                queue = timings.queues[name]
                site = timings.layout.stages[visit[0]].assignment.site
                alone = queue.servers == queue.batch == timings.devices(visit[0]) == 1
                if not alone or background.get(site, 0.0) > 0:
                    barred.add(name)
    found: dict[str, str | None] = {}
    for name, before in fed.items():
        only = next(iter(before)) if len(before) == 1 else None
        if name not in barred:
            found[name] = only if only not in barred else None
    return found


def _before(graph: RequestGraph, stage: int, last: Mapping[int, str]) -> str | None:
    """The queue whose visit makes a stage ready by its end, on the spot; None where something else does."""
    arriving = graph.arriving[stage]
    if len(arriving) > 1 or arriving[0].route or arriving[0].producer == SOURCE:
        return None
    return last.get(arriving[0].producer)


def _passing(timings: Timings, top: str, mine: Mapping[str, str | None]) -> Iterator[Passing]:
    """A class for each branch pattern of each flow, in their order."""
    for of in timings.layout.flows:
        for shape in of.pipeline.shapes:
            services: dict[str, dict[int, Reals]] = {}
            rate = 0.0
            for visit in timings.visits(of, shape):
                name = timings.executor(visit[0])
                if name in mine:
                    services[name] = {i: timings.served(shape, (i,)) for i in visit}
                if name == top:
                    rate = timings.requests(of, shape, visit[0])
            yield Passing(rate, services)


def counted(graph: RequestGraph, times: Mapping[int, Reals]) -> dict[int, Reals]:
    """The times that stages of one tandem take on the way to the end of `graph`, of one request at one index.

    They hang together, so where a stage makes nothing ready but the next one, both are counted at that.
    """
    on_the_way = [n for n in graph.order if graph.on_the_way(n)]
    takers: dict[int, int] = {}
    for leg in (leg for node in on_the_way for leg in graph.arriving[node]):
        takers[leg.producer] = takers.get(leg.producer, 0) + 1
    found = {stage: times[stage] for stage in on_the_way if stage in times}
    for stage in found:
        first, *more = graph.arriving[stage]
        if first.producer in found and takers[first.producer] == 1 and not (first.route or more):
            found[stage], found[first.producer] = found[stage] + found[first.producer], np.zeros(1)
    return found

"""The table of stations: replicas of one segment, variant, backend, threads and batch in one pool, with one queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import ceil, sqrt
from typing import Final

from planner.formulation.fan_out import FanOut, Served, last_of, on_idle
from planner.formulation.pools import PoolTable
from planner.prediction.batching import batch_wait
from planner.prediction.measured import moments
from planner.prediction.queueing import MAX_UTILISATION, NO_WAIT, Wait
from planner.problem import MILLION, PPB, REPLICA_LOAD, Station, StationLevel, at_scale
from specs.artefact import Segment
from specs.profile import Record

Idle = Callable[[int], tuple[float, float]]
"""`on_idle` of a number of replicas."""
SPARE_REPLICAS: Final = 4
"""How many replicas beyond the fewest that carry the load are considered, while they still shorten the wait."""
MORE: Final = 1.25
"""Between numbers of replicas that are there for throughput."""
LOAD_STEPS: Final = 12
MOST_SUMS: Final = 64
"""More loads than these are not told apart but become `LOAD_STEPS` even steps."""


@dataclass(frozen=True, slots=True)
class StationKey:
    """What a station of the Problem stands for."""

    component: str
    variant: str
    segment: Segment
    site: str
    pool: str
    record: Record


@dataclass
class StationTable:
    """Grows as options are made. Loads (ppb) that flows may bring to a station are kept by flow.

    `most_asked` is how many times these loads (parts per million) throughputs ask replicas to carry. `standby` idle
    replicas of a component stand beside those that serve: on devices and in memory they count as any. Those `alone`
    have one replica, whatever comes: they keep state. `patience` is how long (seconds) the oldest of a component's
    batches waits for others.
    """

    pools: PoolTable
    most_asked: int = MILLION
    standby: Mapping[str, int] = field(default_factory=dict)
    alone: frozenset[str] = frozenset()
    patience: Mapping[str, float] = field(default_factory=dict)
    keys: list[StationKey] = field(default_factory=list)
    _index: dict[tuple[str, str, str, int, str, int, int], int] = field(default_factory=dict)
    _loads: dict[int, dict[int, set[int]]] = field(default_factory=dict)
    _fans: dict[int, FanOut] = field(default_factory=dict)

    def add(self, key: StationKey) -> int:
        """The index of the station that `key` stands for, which is added where it is new."""
        pool = self.pools.index[key.site, key.pool]
        record = key.record
        known = (key.component, key.variant, str(key.segment), pool, record.backend, record.threads, record.batch)
        if known not in self._index:
            self._index[known] = len(self.keys)
            self.keys.append(key)
        return self._index[known]

    def bring(self, station: int, flow: int, load: int, fan: FanOut) -> None:
        """`flow` may bring this `load` to a station of a `cores` pool, so many items a request as `fan` says."""
        if station not in self._fans or fan.burst > self._fans[station].burst:
            self._fans[station] = fan
        self._loads.setdefault(station, {}).setdefault(flow, set()).add(load)

    def rows(self) -> tuple[Station, ...]:
        return tuple(self._row(i) for i in range(len(self.keys)))

    def _row(self, index: int) -> Station:
        key = self.keys[index]
        pool = self.pools.index[key.site, key.pool]
        record = key.record
        levels: tuple[StationLevel, ...] = ()
        standby = self.standby.get(key.component, 0)
        memory = ceil(record.memory / 1000)
        if self.pools.rows[pool].sharing == "cores":
            room = self.pools.rows[pool].maximum * (self.pools.rows[pool].cores // record.threads) - standby
            loads, fan = _sums(self._loads[index]), self._fans[index]
            patience = self.patience.get(key.component, 0.0) if record.batch > 1 else 0.0
            served = Served(moments(record), record.batch, patience)
            if fan.alone:
                serving = station_levels(served, loads, self.most_asked, room)
            else:
                idle = cache(partial(on_idle, fan, record))
                serving = fan_out_levels(served, fan, idle, loads, self.most_asked, room)
            if key.component in self.alone:
                serving = one_replica(record, serving)
            levels = tuple(replace(level, replicas=level.replicas + standby) for level in serving)
        else:
            memory *= 1 + standby
        way = f"{key.segment} {record.backend} x{record.threads}" + f" by {record.batch}" * (record.batch > 1)
        name = f"{key.component}/{key.variant} {way} at {key.site}.{key.pool}"
        return Station(name[:400], pool, record.threads, memory, levels, standby if levels else 0)


def station_levels(
    served: Served, loads: list[int], most_asked: int = MILLION, room: int = 0
) -> tuple[StationLevel, ...]:
    """For each load that can arise (ppb of full batches, rising), the replicas worth having and their wait.

    Of replicas beyond those for the wait, some (rising by `MORE`) are there up to what `most_asked` (parts per
    million) times the load needs, but none beyond `room`.
    """
    levels: dict[tuple[int, int], StationLevel] = {}
    for load in loads:
        erlang = load / PPB
        fewest = max(1, ceil(erlang / MAX_UTILISATION - 1e-9))
        for replicas in range(fewest, fewest + SPARE_REPLICAS + 1):
            wait = _wait(served, load, replicas)
            levels[replicas, load] = _level(load, replicas, wait, served.patience)
            if wait.mean < max(0.005 * served.service.mean, 20e-6):
                break
        needed = -(-at_scale(load, most_asked) // REPLICA_LOAD) + 1  # one more for loads that are rounded up one by one
        for replicas in _rising(fewest, min(room, needed)) if most_asked > MILLION else ():
            if (replicas, load) not in levels:
                levels[replicas, load] = _level(load, replicas, _wait(served, load, replicas), served.patience)
    return tuple(levels[key] for key in sorted(levels))


def one_replica(record: Record, levels: tuple[StationLevel, ...]) -> tuple[StationLevel, ...]:
    """Those of `levels` with one replica, and how long it waits when it is as busy as may be: more it cannot carry."""
    busiest = int(MAX_UTILISATION * PPB)
    every = (_level(busiest, 1, _wait(Served(moments(record)), busiest, 1)), *levels)
    found = {level.load_ppb: level for level in every if level.replicas == 1}
    return tuple(found[load] for load in sorted(found))


def fan_out_levels(
    served: Served, fan: FanOut, idle: Idle, loads: list[int], most_asked: int, room: int
) -> tuple[StationLevel, ...]:
    """As `station_levels`, where requests bring several items: more replicas are worth having, up to one for each item
    of a request, or each batch of them.

    The wait of a level is all that a request waits beyond one service until the last of its items is done.
    """
    levels: dict[tuple[int, int], StationLevel] = {}
    for load in loads:
        fewest = max(1, ceil(load / PPB / MAX_UTILISATION - 1e-9))
        needed = -(-at_scale(load, most_asked) // REPLICA_LOAD) + 1 if most_asked > MILLION else 0
        most = max(fewest + SPARE_REPLICAS + ceil(fan.usual / served.batch), needed)
        for replicas in (fewest, *_rising(fewest, min(max(room, fewest), most))):
            rate = load / PPB * served.batch / served.service.mean if served.service.mean > 0 else 0.0
            wait = last_of(fan, served, rate, replicas, idle(replicas))
            levels[replicas, load] = _level(load, replicas, wait, served.patience)
    return tuple(levels[key] for key in sorted(levels))


def _wait(served: Served, load: int, replicas: int) -> Wait:
    service, batch = served.service, served.batch
    return batch_wait(load / PPB * batch / service.mean, service, replicas, batch) if service.mean > 0 else NO_WAIT


def _level(load: int, replicas: int, wait: Wait, patience: float = 0.0) -> StationLevel:
    """Patience makes no request leave later by more than itself, which adds at most half of it to the deviation."""
    deviation = sqrt(wait.variance) + patience / 2
    return StationLevel(replicas, load, ceil((wait.mean + patience) * 1e6), ceil(deviation**2 * 1e12))


def _rising(first: int, last: int) -> Iterator[int]:
    """From `first` to `last` included, by one or by `MORE`, whichever is more; none where `last` is not above."""
    while first < last:
        first = min(last, max(first + 1, int(first * MORE)))
        yield first


def _sums(loads: Mapping[int, set[int]]) -> list[int]:
    """Loads that a station can get: each flow brings one of its own or none. Many become `LOAD_STEPS` even steps."""
    sums = {0}
    for options in loads.values():
        sums |= {s + load for s in sums for load in options}
        if len(sums) > MOST_SUMS:
            break
    top = sum(max(options) for options in loads.values())
    if len(sums) > MOST_SUMS or len(sums) - 1 > 2 * LOAD_STEPS:
        return [ceil(top * k / LOAD_STEPS) for k in range(1, LOAD_STEPS + 1)]
    return sorted(sums - {0})

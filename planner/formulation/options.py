"""Options: the ways worth trying to run a component, or a segment of it, in each pool that its flow can use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from math import ceil

from planner.formulation.barred import barred_option
from planner.formulation.fan_out import fan_out_of
from planner.formulation.names import ConstraintTable
from planner.formulation.numbers import MICRO, sayable
from planner.formulation.pairings import Pairings, Placing
from planner.formulation.pools import PoolTable
from planner.formulation.servers import ServerTable
from planner.formulation.stations import StationKey, StationTable
from planner.placement.pipeline import Pipeline
from planner.prediction.measured import moments
from planner.pricing.prices import SECONDS_PER_MONTH, busy_energy, busy_price, call_price
from planner.problem import PPB, Option, Pool, Step, Visit
from planner.situation import Situation, segment_of
from specs.profile import Record


@dataclass(frozen=True, slots=True)
class _Place:
    """Where options of one component are sought: a pool at a site, and the constraints that rule it out."""

    component: str
    site: str
    pool: str
    barred: tuple[int, ...]


@dataclass(frozen=True)
class Options:
    """Makes the steps of pipelines, adding to the tables what they need."""

    situation: Situation
    constraints: ConstraintTable
    servers: ServerTable
    pools: PoolTable
    stations: StationTable
    pairings: Pairings
    dominated: bool = False

    def step(self, flow: int, pipeline: Pipeline, component: str) -> Step:
        """Every option of a component, for the flow of this index."""
        infra = self.situation.infra.value
        tasks = pipeline.tasks[component]
        spans = [(first, last) for first, last in product(range(tasks), repeat=2) if first <= last]
        if pipeline.behaviour.wire(component):  # this is the scenario of that cut: whole, it is another one's
            spans = [(task, task) for task in range(tasks)]
        options: list[Option] = []
        for site in self.situation.network.sites_of(pipeline.flow.site):
            for name, spec in infra.sites[site].pools.items():
                if spec.devices[1] > 0:
                    barred = barred_option(self.situation, self.constraints, component, site, name)
                    place = _Place(component, site, name, barred)
                    for span in spans:
                        options += self._options(flow, pipeline, place, span)
        return Step(component, tasks, tuple(options))

    def _options(self, f: int, pipeline: Pipeline, at: _Place, span: tuple[int, int]) -> Iterable[Option]:
        """The ways to run the segment from the first to the last task of `span` in one pool, with which they fit."""
        situation = self.situation
        variant = pipeline.variants[at.component]
        segment = segment_of(pipeline.cuts(at.component), *span)
        hardware = situation.infra.value.sites[at.site].pools[at.pool].hardware
        records = situation.records_of(at.component, variant, segment, hardware)
        pool = self.pools.at(at.site, at.pool)
        fitting = [r for r in records if r.threads <= pool.cores and ceil(r.memory / 1000) <= pool.memory_kb]
        for record in fitting if self.dominated else undominated(fitting, pool):
            key = StationKey(at.component, variant, segment, at.site, at.pool, record)
            yield self._option(f, pipeline, key, span, at.barred)

    def _option(
        self, f: int, pipeline: Pipeline, key: StationKey, span: tuple[int, int], barred: tuple[int, ...]
    ) -> Option:
        situation, flow = self.situation, pipeline.flow
        infra = situation.infra.value
        spec = infra.sites[key.site].pools[key.pool]
        hardware = infra.hardware[spec.hardware]
        service = moments(key.record)
        share, runs = pipeline.share(key.component), pipeline.runs(key.component)
        asked = flow.peak * flow.members / infra.members(key.site)
        load = max(1, ceil(asked * runs * service.mean / key.record.batch * PPB))
        station = self.stations.add(key)
        visits: tuple[Visit, ...] = ()
        used = service.mean
        fan = fan_out_of(pipeline.counts(key.component))
        if hardware.sharing == "time":
            server = self.servers.of(("pool", key.site, key.pool))
            service = fan.work(service)
            visits = (self.servers.visit(server, asked * share, service),)
        else:
            used *= key.record.threads / hardware.cores
            self.stations.bring(station, f, load, fan)
        placing = Placing(f, key.component, *span, key.site)
        visits += tuple(self.pairings.visits(placing))
        if pipeline.behaviour.wire(key.component):
            visits += (self.pairings.visit_encoded(placing),)
        busy = flow.mean * runs * used * flow.members
        calls = flow.mean * flow.members * runs * SECONDS_PER_MONTH
        paid = busy_price(situation, key.site, spec, hardware) * busy
        paid += call_price(situation, key.component, key.variant) * calls
        what = f"{key.component}/{key.variant} on {spec.hardware}"
        place = situation.app.place("components", key.component)
        return Option(
            station=station,
            site=list(infra.sites).index(key.site),
            first=span[0],
            last=span[1],
            mean_us=sayable(service.mean * 1e6, what, place),
            var_us2=sayable(service.variance * 1e12, what, place),
            load_ppb=sayable(load, what, place),
            visits=visits,
            cost=round(paid * MICRO),
            barred=barred,
            energy=round(busy_energy(spec, hardware) * busy * MICRO) if situation.app.value.asks_energy else 0,
        )


def undominated(records: list[Record], pool: Pool) -> list[Record]:
    """Ways to run that no other beats in everything that counts in this pool.

    Counted: moments of the service (also its variance), memory, whether it may wait for a batch, and, where cores are
    reserved, threads, core-seconds alone and core-seconds of a request in a full batch.
    """

    def cost(r: Record) -> tuple[float, ...]:
        m = moments(r)
        own = (m.mean, m.second, m.third, m.variance, r.memory, r.batch > 1)
        return (*own, r.threads, r.threads * m.mean, r.threads * m.mean / r.batch) if pool.sharing == "cores" else own

    kept: list[tuple[tuple[float, ...], Record]] = []
    for record in sorted(records, key=lambda r: (cost(r), r.backend, r.digest)):
        mine = cost(record)
        if not any(all(a <= b for a, b in zip(other, mine, strict=True)) for other, _ in kept):
            kept.append((mine, record))
    return [record for _, record in kept]

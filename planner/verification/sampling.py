"""Latency, sampled: services from the profiles' quantiles, waits by the Pollaczek-Khinchine sum of residual services.

Requests pass the application's graph one by one, so that joins are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from planner.verification.batches import played_waits
from planner.verification.fan_out import Batched, PlayedQueue, play, play_batches
from planner.verification.meeting import Replay, Replayed, awaited, replayed, shared_queues
from planner.verification.reading import Flow, Message, Pattern, Reading
from planner.verification.tandem import Coming, PlayedRow, feeders_of, play_row

Sample = NDArray[np.float64]
_Left = dict[tuple[int | str, str], Sample]
"""Waits by who sends and the queue of a first link: messages that leave at once wait for it together."""
SEED: Final = 20_231
ROUNDS: Final = 3
"""Between who waits how long and which stages are one visit, where branches meet."""
WORTH: Final = 0.02
"""Rows of queues are played where requests would wait for more than so many services, if they came by chance."""
VALUES: Final = 4000
"""Equally likely values that stand for a distribution."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """At a queue: requests a second, and equally likely times that each takes."""

    rate: float
    times: Sample


@dataclass(frozen=True)
class Sampling:
    """Draws `samples` requests a flow of the plan that is read; all of it follows from one seed."""

    reading: Reading
    samples: int
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))
    _services: dict[int, Sample] = field(default_factory=dict)
    _batches: dict[str, Sample] = field(default_factory=dict)
    _fanned: dict[str, PlayedQueue] = field(default_factory=dict)
    _latest: dict[str, list[Arrival]] = field(default_factory=dict)
    _shared: dict[tuple[str, Pattern], dict[str, list[int]]] = field(default_factory=dict)

    @property
    def arrivals(self) -> dict[str, list[Arrival]]:
        """What comes to each queue of stages and links."""
        if not self._latest:
            first = self._found_arrivals
            self._latest.update(first)
            ways = [(f, way, p) for f in self.reading.flows for way, p in self.reading.patterns(f).items()]
            meeting = [each for each in ways if self.shared(*each[:2])]
            for _ in range(ROUNDS if meeting else 0):
                met = [found for flow, way, p in meeting for found in self._met(flow, way, p)]
                for queue in {queue for queue, _ in met}:
                    self._latest[queue] = first[queue] + [arrival for q, arrival in met if q == queue]
        return self._latest

    @cached_property
    def _found_arrivals(self) -> dict[str, list[Arrival]]:
        """As `arrivals`, without visits to executors on which branches of a request meet."""
        reading = self.reading
        found: dict[str, list[Arrival]] = {}
        for i in range(len(reading.plan.assignments)):
            if not reading.queue_of(i).startswith("pool"):
                found[reading.queue_of(i)] = [
                    Arrival(rate, self._together({i: n})) for n, rate in self._brought(i).items()
                ]
            else:
                found.setdefault(reading.queue_of(i), [])
        for flow in reading.flows:
            for way, p in reading.patterns(flow).items():
                for visit in reading.visits(flow, way):
                    queue = reading.queue_of(visit[0])
                    if queue.startswith("pool") and queue not in self.shared(flow, way):
                        found[queue].append(self._visiting(flow, visit, way, p))
            for way, p in reading.patterns(flow).items():
                for together, crossed in self._bundles(flow, way.runs):
                    sizes = np.sum([self.bytes_of(flow, m, VALUES, way) for m in together], axis=0)
                    for queue, rate, site in crossed:
                        requests = flow.peak * flow.members / reading.members(site) * p
                        found.setdefault(queue, []).append(Arrival(requests, sizes / rate))
        return found

    @cached_property
    def rows(self) -> dict[str, PlayedRow]:
        """By queue, the row of queues that feed one another in which it is; those that hardly wait are left out."""
        reading = self.reading
        ways = [(f, way, p) for f in reading.flows for way, p in reading.patterns(f).items()]
        met = frozenset(
            q
            for f, way, _ in ways
            if self.shared(f, way)
            for v in reading.visits(f, way)
            for q in [reading.queue_of(v[0])]
        )
        feeders = feeders_of(reading, met)
        found: dict[str, PlayedRow] = {}
        for first in (q for q, feeder in feeders.items() if feeder is None):
            row: dict[str, str | None] = {first: None}
            for queue, feeder in feeders.items():
                if feeder in row:
                    row[queue] = feeder
            if any(feeder is not None and self._may_wait(queue) for queue, feeder in row.items()):
                played = play_row(row, [self._coming(first, row, *each) for each in ways], self.random)
                found |= dict.fromkeys(row, played)
        return found

    def _may_wait(self, queue: str) -> bool:
        """Whether requests would wait there for more than `WORTH` services."""
        arrivals = self.arrivals[queue]
        load = sum(a.rate * float(a.times.mean()) for a in arrivals)
        work = sum(a.rate * float((a.times**2).mean()) for a in arrivals)
        return load > 0 and work > 2 * (1 - load) * WORTH * load / sum(a.rate for a in arrivals)

    def _coming(self, first: str, row: Mapping[str, str | None], flow: Flow, way: Pattern, share: float) -> Coming:
        times: dict[str, dict[int, Sample]] = {}
        rate = 0.0
        for visit in self.reading.visits(flow, way):
            queue = self.reading.queue_of(visit[0])
            if queue in row:
                often = {i: way.often(self.reading.plan.assignments[i].component) for i in visit}
                times[queue] = {i: self._together({i: n}) for i, n in often.items()}
                if queue == first:
                    members = self.reading.members(self.reading.plan.assignments[visit[0]].site)
                    rate = flow.peak * flow.members / members * share
        return Coming(flow.name, way, rate, times)

    def _in_rows(self, flow: Flow, way: Pattern, n: int) -> dict[int, Sample]:
        """Waits and times of stages in rows of queues, request by request."""
        queues = {self.reading.queue_of(visit[0]) for visit in self.reading.visits(flow, way)}
        found: dict[int, Sample] = {}
        for row in {id(r): r for q, r in self.rows.items() if q in queues}.values():
            times = row.of(flow.name, way)
            drawn = self.random.integers(min(map(len, times.values())), size=n) if times else np.zeros(0, np.int64)
            found |= {stage: each[drawn] for stage, each in times.items()}
        return found

    def shared(self, flow: Flow, way: Pattern) -> dict[str, list[int]]:
        """The executors on which branches of such a request meet, and all others that serve several of its stages."""
        key = flow.name, way
        if key not in self._shared:
            self._shared[key] = shared_queues(self.reading, flow, way)
        return self._shared[key]

    def _met(self, flow: Flow, way: Pattern, probability: float) -> list[tuple[str, Arrival]]:
        """Visits of requests whose branches meet, by executor, where waits are as known so far."""
        visits = self.replay(flow, way, VALUES).visits
        found: list[tuple[str, Arrival]] = []
        for queue, stages in self.shared(flow, way).items():
            members = self.reading.members(self.reading.plan.assignments[stages[0]].site)
            rate = flow.peak * flow.members / members * probability * len(visits[queue]) / VALUES
            rate /= self.reading.devices(queue)
            found.append((queue, Arrival(rate, visits[queue])))
        return found

    def replay(self, flow: Flow, way: Pattern, n: int) -> Replayed:
        """Requests whose branches meet on an executor."""
        reading = self.reading
        shared = self.shared(flow, way)
        into: dict[int | str, list[tuple[int | str, Sample]]] = {}
        left: _Left = {}
        for m in awaited(reading, flow, way):
            into.setdefault(m.consumer, []).append((m.producer, self.transfer(flow, m, way, n, left)))
        running = [c for c in reading.situation.graph.order if c in flow.chains and c in way.runs]
        order: list[int | str] = [i for c in running for i in flow.chains[c]]
        order += [to for to in into if isinstance(to, str)]
        service: dict[int, Sample] = {}
        for component in running:
            for i in flow.chains[component]:
                draws = [self.random.choice(self.service_times(i), n) for _ in range(way.often(component))]
                service[i] = sum(draws, np.zeros(n))
        met = {i for stages in shared.values() for i in stages}
        taken: dict[int | str, Sample] = {}
        for i in service.keys() - met:
            queue, items = reading.queue_of(i), way.often(reading.plan.assignments[i].component)
            played = self.played(queue) if items else None
            waits = self.wait(queue, n) if items else np.zeros(n)
            taken[i] = service[i] + waits if played is None else self.random.choice(played.last_of(items), n)
        executors = {
            queue: Replay(
                stages,
                np.array([service[i] for i in stages]),
                np.array([self.wait(queue, n) for _ in stages]),
                self.random.random((len(stages), n)),
                self._likenesses(queue),
            )
            for queue, stages in shared.items()
        }
        return replayed(order, into, taken, executors, (flow.source, np.zeros(n)))

    def waited(self, index: int, n: int) -> Sample:
        """Waits of a stage's runs, from when it is ready: those that go on with a visit do not wait."""
        reading = self.reading
        queue = reading.queue_of(index)
        parts: list[tuple[float, Sample]] = []
        for flow in (f for f in reading.flows if f.name in reading.plan.assignments[index].flows):
            for way, p in reading.patterns(flow).items():
                weight = flow.peak * flow.members * p
                if not way.often(reading.plan.assignments[index].component):
                    continue
                if queue in self.shared(flow, way):
                    parts.append((weight, self.replay(flow, way, n).waits[index]))
                else:
                    begins = any(visit[0] == index for visit in reading.visits(flow, way))
                    parts.append((weight, self.wait(queue, n) if begins else np.zeros(n)))
        weights = np.array([weight for weight, _ in parts])
        if weights.sum() <= 0:
            return self.wait(queue, n)
        which = self.random.choice(len(parts), n, p=weights / weights.sum())
        drawn: Sample = np.array([waits for _, waits in parts])[which, np.arange(n)]
        return drawn

    def _bundles(
        self, flow: Flow, runs: frozenset[str]
    ) -> Iterable[tuple[list[Message], list[tuple[str, float, str]]]]:
        """What comes to links at once, and their queues: all that a stage sends over a first link, else one message."""
        first: dict[tuple[int | str, tuple[str, str]], list[Message]] = {}
        for m in self._sent(flow, runs):
            hops = self.reading.passed(m)
            if hops:
                first.setdefault((m.producer, hops[0]), []).append(m)
            for hop in hops[1:]:
                yield [m], self._queues_of(m, hop)
        for (_, hop), together in first.items():
            yield together, self._queues_of(together[0], hop)

    def _queues_of(self, m: Message, hop: tuple[str, str]) -> list[tuple[str, float, str]]:
        link, way = hop
        return [q for q in self.reading.crossed(m) if q[0] in (f"{link} {way}", f"{link} shared {way}")]

    def _sent(self, flow: Flow, runs: frozenset[str]) -> list[Message]:
        """Sources always send, as do makers of what a sink takes and of a gate's value; others to those who run."""
        found: list[Message] = []
        for m in self.reading.messages(flow):
            if m.from_component in flow.chains and m.from_component not in runs:
                continue
            target = self.reading.app.components.get(m.to_component)
            gate = target.when if target is not None and m.from_component != m.to_component else None
            gates = gate is not None and gate.ref.producer == m.from_component
            if m.from_component == flow.source or target is None or gates or m.to_component in runs:
                found.append(m)
        return found

    def _behind(self, flow: Flow, m: Message, way: Pattern, n: int) -> Sample:
        """What those messages take that leave with `m` before it, at the slowest link that they have in common."""
        total = np.zeros(n)
        sent = self._sent(flow, way.runs)
        mine = self.reading.passed(m)
        for other in sent[: sent.index(m)]:
            if other.producer != m.producer or other.start == other.end:
                continue
            theirs = self.reading.passed(other)
            if theirs[0] == mine[0]:
                both = [hop for hop, same in zip(mine, theirs, strict=False) if hop == same]
                slowest = min(rate for hop in both for _, rate, _ in self._queues_of(m, hop))
                total += self.bytes_of(flow, other, n, way) / slowest
        return total

    def _brought(self, index: int) -> dict[int, float]:
        """Requests a second at a stage's own queue by how many items each brings, without those that bring none."""
        a = self.reading.plan.assignments[index]
        found: dict[int, float] = {}
        for flow in (f for f in self.reading.flows if f.name in a.flows):
            for way, p in self.reading.patterns(flow).items():
                n = way.often(a.component)
                if n:
                    rate = flow.peak * flow.members / self.reading.members(a.site) * p
                    found[n] = found.get(n, 0.0) + rate
        return found

    def _together(self, often: Mapping[int, int]) -> Sample:
        """Stages so often one after another."""
        parts = (self.random.permutation(self.service_times(i)) for i, n in often.items() for _ in range(n))
        return sum(parts, np.zeros(VALUES))

    def played(self, queue: str) -> PlayedQueue | None:
        """Where requests bring several items at once to several servers, or to those of batches; else None."""
        servers, by = self.reading.servers(queue), self.reading.batch(queue)
        if servers == 1 and by.batch == 1:
            return None
        index = next(i for i in range(len(self.reading.plan.assignments)) if self.reading.queue_of(i) == queue)
        brought = self._brought(index)
        if all(n == 1 for n in brought):
            return None
        if queue not in self._fanned:
            times = self.service_times(index)
            if by.batch > 1:
                served = Batched(servers, by.batch, by.batch_wait_ms / 1e3)
                self._fanned[queue] = play_batches(brought, times, served, self.random)
            else:
                self._fanned[queue] = play(brought, times, servers, self.random)
        return self._fanned[queue]

    def _visiting(self, flow: Flow, visit: list[int], way: Pattern, probability: float) -> Arrival:
        components = [self.reading.plan.assignments[i].component for i in visit]
        times = self._together({i: way.often(c) for i, c in zip(visit, components, strict=True)})
        executors = self.reading.members(self.reading.plan.assignments[visit[0]].site) * self.reading.devices(
            self.reading.queue_of(visit[0])
        )
        return Arrival(flow.peak * flow.members / executors * probability, times)

    def service_times(self, index: int) -> Sample:
        if index not in self._services:
            service = self.reading.service(index)
            self._services[index] = equally_likely(service.points(), service.mean)
        return self._services[index]

    def bytes_of(self, flow: Flow, m: Message, n: int, way: Pattern | None = None) -> Sample:
        """Of requests of `way`, or of all: a stack of more items is larger than one of fewer."""
        total = np.zeros(n)
        for value in m.values:
            payload = flow.behaviour.payloads[value]
            points = [(float(p), x) for p, x in payload.quantiles.items()]
            sizes = np.sort(equally_likely(points, payload.mean))
            fewer, more = (0.0, 1.0) if way is None else self.reading.stacks(flow, m, value, way)
            first = min(len(sizes) - 1, round(fewer * len(sizes)))
            total += self.random.choice(sizes[first : max(first + 1, round(more * len(sizes)))], n)
        return total

    def times(self, flow: Flow, shapes: Mapping[Pattern, float], to: str) -> tuple[Sample, bool]:
        """Sampled times of requests, as many of each branch pattern as its share; whether any request waits for two."""
        whole = sum(shapes.values())
        parts: list[Sample] = []
        joined = False
        for way, p in shapes.items():
            n = max(1, round(self.samples * p / whole))
            times, meets = self._walk(flow, way, to, n)
            parts.append(times)
            joined = joined or meets
        return np.concatenate(parts), joined

    def _walk(self, flow: Flow, way: Pattern, to: str, n: int) -> tuple[Sample, bool]:
        if self.shared(flow, way):
            node = flow.chains[to][-1] if to in flow.chains else to
            into = [m.consumer for m in awaited(self.reading, flow, way)]
            return self.replay(flow, way, n).ends[node], len(into) > len(set(into))
        runs = way.runs

        def live(component: str) -> bool:
            return component in runs or component not in flow.chains

        done: dict[int | str, Sample] = {flow.source: np.zeros(n)}
        messages = [m for m in self.reading.messages(flow) if live(m.from_component) and live(m.to_component)]
        joined = False
        left: _Left = {}
        before: dict[str, tuple[Sample, Sample]] = {}

        def arrive(node: int | str) -> Sample:
            nonlocal joined
            into = [m for m in messages if m.consumer == node]
            joined = joined or len(into) > 1
            arriving = [done[m.producer] + self.transfer(flow, m, way, n, left) for m in into]
            latest: Sample = np.max(arriving, axis=0)
            return latest

        waiting = {visit[0] for visit in self.reading.visits(flow, way)}
        in_rows = self._in_rows(flow, way, n)
        for component in [c for c in self.reading.situation.graph.order if c in flow.chains and c in runs]:
            for i in flow.chains[component]:
                ready = arrive(i)
                queue = self.reading.queue_of(i)
                items = way.often(component)
                played = self.played(queue) if items else None
                if played is not None:
                    done[i] = ready + self.random.choice(played.last_of(items), n)
                    continue
                if i in in_rows:
                    done[i] = ready + in_rows[i]
                    continue
                done[i] = ready
                for _ in range(items):
                    done[i] = done[i] + self.random.choice(self.service_times(i), n)
                if i in waiting:
                    waited = self.wait(queue, n)
                    if queue in before:
                        waited = self._again(queue, waited, ready, *before[queue])
                    before[queue] = ready, waited
                    done[i] += waited
        if to in flow.chains:
            return done[flow.chains[to][-1]], joined
        return arrive(to), joined

    def _again(self, queue: str, fresh: Sample, ready: Sample, before: Sample, waited: Sample) -> Sample:
        """A wait of requests that come back to a queue: that of before, as often as it is still like it, else `fresh`.

        Likeness is the correlation of a reflected Brownian motion after the mean time in between.
        """
        alike = self._likenesses(queue)(np.array([max(0.0, float(ready.mean() - before.mean()))]))
        again: Sample = np.where(self.random.random(len(fresh)) < alike, waited, fresh)
        return again

    def _likenesses(self, queue: str) -> Callable[[Sample], Sample]:
        """How alike waits are after so many seconds."""
        arrivals = self.arrivals[queue]
        load = sum(a.rate * float(a.times.mean()) for a in arrivals)
        work = sum(a.rate * float((a.times**2).mean()) for a in arrivals)
        if work <= 0:
            return np.zeros_like
        normal = NormalDist()
        scaled = np.linspace(0, 7, 400) ** 2
        known = [
            2 * (1 - 2 * t - t * t) * normal.cdf(-math.sqrt(t)) + 2 * math.sqrt(t) * (1 + t) * normal.pdf(math.sqrt(t))
            for t in scaled.tolist()
        ]
        return lambda lag: np.interp(lag * (1 - load) ** 2 / work, scaled, known, right=0.0)

    def transfer(self, flow: Flow, m: Message, way: Pattern, n: int, left: _Left) -> Sample:
        """Of requests of `way`; `left` is how long they waited at first links so far."""
        if m.start == m.end:
            return np.zeros(n)
        sizes = self.bytes_of(flow, m, n, way)
        total = self._hop(self.reading.mean_bytes(flow, m), n) + self._behind(flow, m, way, n)
        first = [queue for queue, _, _ in self._queues_of(m, self.reading.passed(m)[0])]
        for queue, rate, _ in self.reading.crossed(m):
            key = m.producer, queue
            waits = left[key] if queue in first and key in left else self.wait(queue, n)
            if queue in first:
                left[key] = waits
            total = total + sizes / rate + waits
        for link, _ in self.reading.passed(m):
            delay = self.reading.infra.links[link].delay
            total = total + np.maximum(0.0, self.random.normal(delay.mean, delay.jitter, n))
        return total + self._sent_again(m, sizes)

    def unloaded(self, flow: Flow, m: Message, n: int) -> Sample:
        sizes = self.bytes_of(flow, m, n)
        per_byte = sum(1 / rate for _, rate, _ in self.reading.crossed(m))
        total = self._hop(self.reading.mean_bytes(flow, m), n) + sizes * per_byte + self._sent_again(m, sizes)
        for link, _ in self.reading.passed(m):
            delay = self.reading.infra.links[link].delay
            total = total + np.maximum(0.0, self.random.normal(delay.mean, delay.jitter, n))
        return total

    def _sent_again(self, m: Message, sizes: Sample) -> Sample:
        """What lost packets cost, packet by packet: how often the unluckiest of a message is lost, and where it is."""
        links = [self.reading.infra.links[link] for link, _ in self.reading.passed(m)]
        loss = 1 - math.prod(1 - link.loss for link in links)
        if loss <= 0:
            return np.zeros(len(sizes))
        trip = 2 * sum(link.delay.mean for link in links)
        packets = np.maximum(1, np.ceil(sizes / 1448))
        # The largest of n geometric numbers, by its distribution function (1 - loss^k)^n.
        u = self.random.random(len(sizes))
        lost = np.ceil(np.log1p(-(u ** (1 / packets))) / math.log(loss) - 1e-12)
        lost = np.clip(lost - 1, 0, 5).astype(np.int64)
        last = 1 - (1 - loss) ** np.minimum(3, packets)
        among_last = self.random.random(len(sizes)) < last / (1 - (1 - loss) ** packets)
        again = np.where(among_last | (lost > 1), (trip + 0.2) * (2.0**lost - 1), 1.5 * trip) * (lost > 0)
        window = trip * math.sqrt(4 * loss / 3) + (trip + 0.2) * min(1.0, 3 * math.sqrt(0.75 * loss)) * loss * (
            1 + 32 * loss**2
        )
        least = min(rate for _, rate, _ in self.reading.crossed(m))
        cost: Sample = np.maximum(0, packets - 10) * max(0.0, window - 1448 / least) + again
        return cost

    def _hop(self, size: float, n: int) -> Sample:
        """Overhead of a message: normal, its moments between those of the measured sizes around it."""
        known = sorted(self.reading.situation.hops, key=lambda h: h.bytes)
        sizes = [h.bytes for h in known]
        mean = float(np.interp(size, sizes, [h.latency.mean for h in known]))
        second = float(np.interp(size, sizes, [h.latency.second for h in known]))
        return np.maximum(0.0, self.random.normal(mean, math.sqrt(max(0.0, second - mean**2)), n))

    def wait(self, queue: str, n: int) -> Sample:
        """Waits: how many residual services stand before a request is geometric (Pollaczek and Khinchine).

        Where several requests are taken at once, the queue is played. Where it has no end, so have waits.
        """
        played = self.played(queue) if queue.startswith("stage") else None
        if played is not None:
            return self.random.choice(played.first, n)
        arrivals = self.arrivals[queue]
        if not arrivals:
            return np.zeros(n)
        if queue in self.rows and self.rows[queue].feeders[queue] is not None:
            return self.random.choice(self.rows[queue].all_at(queue), n)
        servers = self.reading.servers(queue)
        if self.reading.batch(queue).batch > 1:
            return self.random.choice(self._played(queue), n)
        rates = np.array([a.rate for a in arrivals])
        times = np.concatenate([a.times for a in arrivals]) / servers
        weights = np.concatenate(
            [np.full(len(a.times), r / len(a.times)) for a, r in zip(arrivals, rates, strict=True)]
        )
        load = float((weights * times).sum())
        total = np.zeros(n)
        if load <= 0:
            return total
        if load >= 1:
            return np.full(n, np.inf)
        chance = load if servers == 1 else erlang_c(servers, load * servers)
        waiting = np.nonzero(self.random.random(n) < chance)[0]
        cumulative = np.cumsum(weights * times)
        while len(waiting):
            picked = np.searchsorted(cumulative, self.random.random(len(waiting)) * cumulative[-1])
            total[waiting] += times[np.minimum(picked, len(times) - 1)] * self.random.random(len(waiting))
            waiting = waiting[self.random.random(len(waiting)) < load]
        return total

    def _played(self, queue: str) -> Sample:
        """Waits of a queue of batches."""
        if queue not in self._batches:
            (arrival,), by = self.arrivals[queue], self.reading.batch(queue)
            self._batches[queue] = (
                np.zeros(1)
                if arrival.rate <= 0
                else played_waits(
                    arrival.rate, arrival.times, by.replicas, by.batch, by.batch_wait_ms / 1e3, self.random
                )
            )
        return self._batches[queue]


def equally_likely(points: Iterable[tuple[float, float]], mean: float, n: int = VALUES) -> Sample:
    """Equally likely values between quantiles; beyond the last one as far as the mean asks for."""
    known = sorted(points)
    if not known:
        return np.full(n, mean)
    p, x = (list(column) for column in zip(*known, strict=True))
    if p[0] > 0:
        step = (x[1] - x[0]) / (p[1] - p[0]) * p[0] if len(p) > 1 else 0.0
        p, x = [0.0, *p], [max(0.0, x[0] - step), *x]
    if p[-1] < 1:
        so_far = float(np.trapezoid(x, p)) + (1 - p[-1]) * x[-1]
        p, x = [*p, 1.0], [*x, x[-1] + max(0.0, 2 * (mean - so_far) / (1 - p[-1]))]
    values: Sample = np.interp((np.arange(n) + 0.5) / n, p, x)
    off = mean / values.mean() if values.mean() > 0 else 1.0
    scaled: Sample = values * (off if abs(off - 1) <= 0.05 else 1.0)
    return scaled


def erlang_c(servers: int, load: float) -> float:
    """Erlang's C by its sum."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last)

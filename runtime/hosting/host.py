"""A host: one process at one site member, with its queues, executors, joins, load generator and answers.

Neighbours in the host hand over by a call; what leaves goes through the shaper to the channel. Nothing here knows Ray.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from runtime.channel import UNSENDABLE, Channel, OnError
from runtime.fan_out import Gather, split, stack
from runtime.fleet import Member
from runtime.hosting.consumer import Consumer, Partial, consumers_at, edges_from, told_of
from runtime.hosting.health import NO_BEATS, Beats
from runtime.hosting.origin import Origin
from runtime.hosting.pace import Pace
from runtime.hosting.queues import BatchingQueue, BoundedQueue, Server, SpreadQueue
from runtime.hosting.replicas import process_for, standby_of
from runtime.hosting.request import Departure, OnEnd, Status
from runtime.hosting.shaping import LinkState, Routes, Shaper
from runtime.machine import clock_name
from runtime.message import Kind, Message, StageTime, Trace, TransferTime
from runtime.reference.pipeline import truth
from runtime.stages.time_left import working_until
from runtime.stages.work import Made, Work
from runtime.topology import Queue, Stage, Topology
from runtime.values import Value
from specs.application import Application
from specs.emulation import Stopwatch
from specs.errors import TierplanError
from specs.graph import Graph

SWITCH_INTERVAL: Final = 5e-4
"""Seconds after which Python lets another thread run: at the default 5 ms a Python stage would hold up messages."""


@dataclass(frozen=True, slots=True)
class HostOptions:
    """`queue_limit` requests may wait at a queue, `partial_limit` at joins. `clock` names this machine's clock.

    With `beats` an origin watches the processes that serve it and sends again what they may have held. A `standby`
    stands in for the member's own host. `plan` is what messages call the plan by, where a process has several open.
    `shape` slows links and processors as the infrastructure says; links not where they are `emulated` below us.
    `services_ms` is what the plan predicts of each stage's service, see `runtime.hosting.pace`.
    """

    queue_limit: int
    partial_limit: int
    seed: int
    clock: str
    shape: bool
    beats: Beats = NO_BEATS
    standby: bool = False
    plan: str = ""
    emulated: bool = False
    services_ms: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """What a queue does: how many wait, and by stage the seconds that its `servers` have worked since the start."""

    queue: str
    waiting: int
    servers: int
    busy: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Noise:
    """Background work: at `rate` a second, a request comes to `stage` from members left out, with as many items at once
    as one of `together` says, each like one of `inputs`.
    """

    stage: str
    rate: float
    inputs: tuple[Mapping[str, Value | None], ...]
    together: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hum:
    """Background traffic: at `rate` a second, one of `payloads` bytes passes the capacity `capacity` at `speed`."""

    capacity: int
    speed: float
    rate: float
    payloads: tuple[int, ...]


@dataclass(slots=True)
class _Task:
    stage: Stage
    inputs: dict[str, Value | None]
    ready: float
    message: Message
    """The message that stands for the request: flow, origin, deadline, what is skipped and the trace so far."""

    background: bool = False
    index: int = 0
    gather: Gather | None = None
    """Of the request's items, of which this is number `index`; None: it runs once."""

    @property
    def request(self) -> str:
        """With the attempt: the next one waits its turn like any other."""
        return f"{self.message.request}#{self.message.attempt}" if self.message.attempt else self.message.request

    @property
    def given_up(self) -> bool:
        """Whether another item of its request has ended the request."""
        return self.gather is not None and self.gather.ended


class Host:
    """See the module. All public methods may be called from any thread."""

    def __init__(
        self,
        member: Member,
        top: Topology,
        app: Application,
        works: Mapping[str, Sequence[Work]],
        open_channel: Callable[[OnError], Channel],
        state: LinkState | None,
        options: HostOptions,
        fills: Mapping[str, Mapping[str, Value]],
    ) -> None:
        """`works` holds, for each stage of this member, one work for each server of its queue; `fills`, by sink and
        input, what stands for a value that was skipped.
        """
        sys.setswitchinterval(SWITCH_INTERVAL)
        self.member = member
        self.name = standby_of(str(member)) if options.standby else str(member)
        self.top = self._top = top
        self._app, self._graph = app, Graph(app)
        self._options = options
        self._works = works
        self._consumers: dict[str, Consumer] = {c.id: c for c in consumers_at(member.site, top, app)}
        self._edges = edges_from(top)
        self._members = {at: str(member) for at, member in top.member.items()}
        self._edge_names = {(e.flow, e.producer, e.consumer): e.name for e in top.edges}
        self._gated = _gated(app)
        self._routes = Routes(top) if options.shape and not options.emulated else None
        self._lock = threading.Lock()
        self._partials: OrderedDict[tuple[str, int, str], Partial] = OrderedDict()
        self._settled: OrderedDict[tuple[str, int, str], float] = OrderedDict()
        self._busy: dict[tuple[str, int], float] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.dropped = 0
        self._channel = open_channel(self._undelivered)
        self._shaper = Shaper(self._channel.send, state, options.seed, self._late)
        self.origin = Origin(
            member,
            top,
            app,
            self._edges,
            options.clock,
            self._send,
            self._channel,
            options.beats,
            fills,
            options.plan,
            Pace(options.services_ms),
        )
        self._queues: dict[str, SpreadQueue[_Task]] = {}
        self._servers: list[Server[_Task]] = []
        for queue in top.queues:
            if queue.site == member.site:
                self._open_queue(queue)

    def _open_queue(self, queue: Queue) -> None:
        limit, first = self._options.queue_limit, self._top.stage_by_id[queue.stages[0]]
        devices = queue.servers if queue.sharing == "time" else 1
        waiting: list[BoundedQueue[_Task]] = [BoundedQueue(limit) for _ in range(devices)]
        if first.batch > 1:  # its queue is its own: only replicas that reserve their cores take several at once
            waiting = [BatchingQueue(limit, first.batch, first.batch_wait_ms / 1e3)]
        spread = SpreadQueue(waiting, queue.id)
        for stage in queue.stages:
            self._queues[stage] = spread
        for server in range(queue.servers):
            serve = _Serve(self, server)
            self._servers.append(Server(waiting[server % devices], serve, f"{queue.id}#{server}"))

    # --- messages in

    def deliver(self, message: Message) -> None:
        """Take a message that another host sent."""
        if message.kind == "unreached":
            self.origin.unreached(message, message.consumer, message.reason)
            return
        if message.clock != self._options.clock:
            message = message.received(time.monotonic())
        if message.kind == "refused":
            self.origin.refuse(message)
            return
        if message.kind == "failed":
            self.origin.end(message.request, "failed", message.reason, message.trace)
            return
        if message.kind == "answer":
            now = message.sent if message.clock == self._options.clock else time.monotonic()
            self.origin.answer(message.consumer, message.values, message, now)
            return
        if message.kind == "values" and message.clock == self._options.clock:
            name = self._edge_names[message.flow, message.producer, message.consumer]
            passed = TransferTime(name, str(self.member), time.monotonic() - message.sent, message.queued)
            message = replace(message, trace=message.trace.merged(Trace(transfers=(passed,))))
        self._accept(message)

    def _accept(self, message: Message) -> None:
        """Join `message` with what arrived of its request before, and start its consumer when that has all it needs."""
        now = time.monotonic()
        self._sweep(now)
        if now > message.deadline:
            self._late(message)
            return
        consumer = self._consumers[message.consumer]
        key = (message.request, message.attempt, message.consumer)
        with self._lock:
            if key in self._settled:
                return
            partial = self._partials.get(key)
            if partial is None:
                partial = self._partials[key] = Partial(message)
            partial.add(message)
            try:
                verdict = consumer.verdict(partial)
            except TierplanError as error:
                verdict, problem = "skipped", str(error)
            else:
                problem = ""
            full = verdict == "waiting" and len(self._partials) > self._options.partial_limit
            if verdict != "waiting" or full:
                del self._partials[key]
                self._settled[key] = message.deadline
        if problem:
            self._tell(message, "failed", f"{message.consumer}: {problem}")
        elif full:
            limit = self._options.partial_limit
            self._tell(message, "refused", f"{self.name}: more than {limit} requests wait at joins")
        elif verdict == "ready":
            self._start(consumer, partial, message, now)

    def _start(self, consumer: Consumer, partial: Partial, message: Message, now: float) -> None:
        inputs = consumer.inputs(partial)
        skipped = tuple(sorted(partial.skipped)) if partial.skipped else ()
        made_of = _of_request(message, message.producer, skipped, partial.trace, message.sent, message.clock)
        whole = made_of(message.kind, consumer.id, {})
        stage = self._top.stage_by_id.get(consumer.id)
        if stage is None:
            self._answer(consumer.id, inputs, whole, now)
        elif consumer.items:
            self._fan_out(stage, consumer, inputs, whole, now)
        else:
            self._queue(_Task(stage, inputs, now, whole))

    def _fan_out(
        self, stage: Stage, consumer: Consumer, inputs: Mapping[str, Value | None], message: Message, now: float
    ) -> None:
        """Queue the items of a request together; where there are none, an empty stack goes on at once."""
        try:
            items = split(inputs, consumer.items, stage.name)
            if not items:
                outputs = self._works[stage.id][0].outputs
                self._hand_over(stage, message, stack([], outputs), message.trace, now)
                return
        except TierplanError as error:
            self._tell(message, "failed", f"{stage.name} at {self.name}: {error}")
            return
        gather = Gather(len(items))
        self._queue(*(_Task(stage, item, now, message, index=i, gather=gather) for i, item in enumerate(items)))

    def _queue(self, *tasks: _Task) -> None:
        """Let tasks of one request wait, which come together."""
        if not self._queues[tasks[0].stage.id].put(*tasks):
            limit, stage = self._options.queue_limit, tasks[0].stage
            self._stop_at(tasks[0], "refused", f"the queue of {stage.name} at {self.name} is full ({limit} wait)")

    def _stop_at(self, task: _Task, kind: Kind, reason: str) -> None:
        """The request of `task` goes no further: said once for all of its items, and never of background work."""
        if not task.background and (task.gather is None or task.gather.end()):
            self._tell(task.message, kind, reason)

    def _sweep(self, now: float) -> None:
        """Drop what waits for a request whose deadline has passed."""
        late: list[tuple[str, Partial]] = []
        with self._lock:
            while self._settled and next(iter(self._settled.values())) < now:
                self._settled.popitem(last=False)
            while self._partials:
                key, partial = next(iter(self._partials.items()))
                if partial.first.deadline >= now:
                    break
                late.append((key[2], partial))
                del self._partials[key]
        for consumer, partial in late:
            missing = ", ".join(self._consumers[consumer].waits_for(partial))
            self._late(partial.first, f"{consumer} waited for {missing}")

    # --- work

    def serve(self, tasks: Sequence[_Task], server: int) -> None:
        """Run tasks of one stage, in one go, in the thread of server number `server`.

        Never raises: what goes wrong ends the request that it concerns. What is late is dropped.
        """
        stage, started = tasks[0].stage, time.monotonic()
        for task in tasks:
            if started > task.message.deadline:
                self._stop_late(task)
        batch = [task for task in tasks if started <= task.message.deadline and not task.given_up]
        if not batch:
            return
        watch = Stopwatch.start() if self._options.shape else None
        with working_until(max(task.message.deadline for task in batch)):
            made = self._works[stage.id][server].run_batch([task.inputs for task in batch])
        if watch is not None:
            watch.stretch(stage.cpu)
        ended = time.monotonic()
        self._busy[stage.id, server] = self._busy.get((stage.id, server), 0.0) + ended - started
        for task, outputs in zip(batch, made, strict=True):
            if not task.background:
                self._ended(task, outputs, started, ended)

    def _ended(self, task: _Task, made: Made, started: float, ended: float) -> None:
        """Hand on what was made of one task from `started` to `ended`, or say why there is nothing."""
        stage, message = task.stage, task.message
        if isinstance(made, Exception):
            self._stop_at(task, "failed", f"{stage.name} at {self.name}: {type(made).__name__}: {made}")
            return
        waited, clock = started - task.ready, clock_name(self._options.clock)
        time_ = StageTime(stage.name, str(self.member), waited, ended - started, ended, clock)
        times: tuple[StageTime, ...] = (time_,)
        try:
            if task.gather is not None:
                if not task.gather.add(task.index, made, time_):
                    return
                made, times = stack(task.gather.results, self._works[stage.id][0].outputs), task.gather.times
            trace = Trace((*message.trace.stages, *times), message.trace.transfers)
            self._hand_over(stage, message, made, trace, ended)
        except TierplanError as error:
            self._tell(message, "failed", f"{stage.name} at {self.name}: {error}")

    def _hand_over(self, stage: Stage, message: Message, made: Mapping[str, Value], trace: Trace, now: float) -> None:
        """Send what `stage` made to those that take it, and tell who must know what its gates shut."""
        joint = "." if stage.last else "@"
        values = {f"{stage.component}{joint}{name}": value for name, value in made.items()}
        new: frozenset[str] = frozenset()
        if stage.last and stage.component in self._gated:
            gates = {c: truth(values[key], key) for c, key in self._gated[stage.component].items()}
            new = self._graph.skipped(gates)
        skipped = tuple(sorted({*message.skipped, *new})) if new else message.skipped
        made_of = _of_request(message, stage.id, skipped, trace, now, self._options.clock)
        notice = _of_request(message, stage.id, skipped, Trace(), now, self._options.clock)
        for edge in self._edges.get((message.flow, stage.id), ()):
            target = self._top.stage_by_id.get(edge.consumer)
            runs = target is None or target.component not in skipped
            if runs or edge.always:
                taken = {key: values[key] for key in edge.values}
                self._send(made_of("values", edge.consumer, taken), edge.to_site, now)
            elif target is not None and target.component in new:
                self._send(notice("skip", edge.consumer, {}), edge.to_site, now)
        for consumer, site in told_of(new, message.flow, stage, self._top, self._app).items():
            self._send(notice("skip", consumer, {}), site, now)

    # --- messages out

    def _send(self, message: Message, site: str, now: float) -> None:
        member = self._members[message.origin, site]
        target = process_for(member, self._top.stage_by_id.get(message.consumer), message.avoid)
        if target == self.name:
            self._accept(message)
        elif target is None:
            self._undelivered(member, message, "nobody stands in for it")
        else:
            self._leave(target, message, site, now)

    def _leave(self, target: str, message: Message, site: str, now: float) -> None:
        steps = self._routes.steps(message.origin, self.member.site, site) if self._routes else ()
        if steps:
            self._shaper.send(target, message, steps, now)
        else:
            self._channel.send(target, replace(message, queued=0.0) if message.queued else message)

    def _tell(self, message: Message, kind: Kind, reason: str) -> None:
        """End the request of `message` at its origin."""
        self._word(replace(message, kind=kind, consumer="", values={}, reason=reason))

    def _unreached(self, message: Message, target: str, reason: str) -> None:
        """Tell the origin, which alone knows what to do, that a message of its request does not reach `target`."""
        self._word(replace(message, kind="unreached", consumer=target, values={}, reason=reason))

    def _word(self, word: Message) -> None:
        """Bring `word` to the origin of its request."""
        if word.origin == self.name:
            self.deliver(word)
            return
        site = self._top.flow_by_name[word.flow].site
        now = time.monotonic()
        self._leave(word.origin, replace(word, sent=now, clock=self._options.clock), site, now)

    def _answer(self, sink: str, inputs: Mapping[str, Value | None], message: Message, now: float) -> None:
        """`sink` has its values: they are for the client's log, which is at the request's origin."""
        if message.origin == self.name:
            self.origin.answer(sink, inputs, message, now)
        else:
            values = {name: value for name, value in inputs.items() if value is not None}
            self._word(replace(message, kind="answer", consumer=sink, values=values))

    def _late(self, message: Message, where: str = "it was on its way") -> None:
        self.dropped += 1
        self._tell(message, "failed", f"the deadline passed while {where}")

    def _stop_late(self, task: _Task) -> None:
        if not task.background and (task.gather is None or task.gather.end()):
            self._late(task.message, f"it waited for {task.stage.name}")

    def _undelivered(self, member: str, message: Message, reason: str) -> None:
        """The channel could not bring `message` to `member`."""
        if self._stop.is_set():
            return
        if reason.startswith(UNSENDABLE):
            if message.kind in ("values", "answer"):
                self._tell(message, "failed", f"{message.producer} to {member}: {reason}")
            return
        if time.monotonic() > message.deadline:  # which tells nothing of `member`
            if message.kind == "values":
                self._late(message, f"it was on its way to {member}")
        elif message.kind == "values" or (message.kind == "skip" and self._needed(message)):
            self._unreached(message, member, reason)

    def _needed(self, message: Message) -> bool:
        """Whether a notice was for somebody who runs, and would now wait in vain."""
        stage = self._top.stage_by_id.get(message.consumer)
        return stage is None or stage.component not in message.skipped

    # --- the client's side

    def start_load(self, departures: Sequence[Departure], start_in: float, deadline: float) -> None:
        """Send requests, the offsets counted from `start_in` seconds from now; each is given up after `deadline` s."""
        self._run(self.origin.generate, departures, time.monotonic() + start_in, deadline, self._stop)

    def submit(self, request: str, flow: str, values: Mapping[str, Value], deadline: float, on_end: OnEnd) -> None:
        """See `runtime.hosting.origin.Origin.submit`."""
        self.origin.submit(request, flow, values, deadline, on_end)

    def give_up(self, request: str, reason: str) -> None:
        """End a request from outside that nobody waits for any longer; nothing where it has ended."""
        self.origin.end(request, "failed", reason)

    def loads(self) -> tuple[QueueLoad, ...]:
        """What the queues of this host do now."""
        busy = dict(self._busy)
        return tuple(
            QueueLoad(
                queue.id,
                len(self._queues[queue.stages[0]]),
                queue.servers,
                {s: sum(busy.get((s, server), 0.0) for server in range(queue.servers)) for s in queue.stages},
            )
            for queue in self._top.queues
            if queue.site == self.member.site
        )

    def peer_gone(self, member: str, reason: str) -> None:
        """`member` is dead: what it may not have handled fails at once, the rest when its deadline passes."""
        self.origin.peer_gone(member, reason)
        self._channel.give_up(member, reason)

    def progress(self) -> dict[Status, int]:
        """How many measured requests have which status. Those past their deadline are ended first."""
        self._sweep(time.monotonic())
        return self.origin.progress()

    # --- what the members left out would ask

    def start_background(self, noises: Sequence[Noise], hums: Sequence[Hum], seed: int) -> None:
        """Poisson arrivals of synthetic requests at stages, and of bytes on shared capacities, until `close`."""
        start = time.monotonic()
        for number, noise in enumerate(noises):
            self._run(self._make_noise, noise, start, random.Random(f"{seed}/{self.name}/noise/{number}"))
        for number, hum in enumerate(hums):
            self._run(self._make_hum, hum, start, random.Random(f"{seed}/{self.name}/hum/{number}"))

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name=target.__name__, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _make_noise(self, noise: Noise, start: float, rng: random.Random) -> None:
        stage = self._top.stage_by_id[noise.stage]
        due = start
        while True:
            due += rng.expovariate(noise.rate)
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            word = Message("values", "", stage.flows[0], self.name, stage.id, deadline=float("inf"))
            items = (dict(rng.choice(noise.inputs)) for _ in range(rng.choice(noise.together)))
            self._queues[stage.id].put(*(_Task(stage, item, due, word, background=True) for item in items))

    def _make_hum(self, hum: Hum, start: float, rng: random.Random) -> None:
        due = start
        while True:
            due += rng.expovariate(hum.rate)
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._shaper.reserve(hum.capacity, hum.speed, rng.choice(hum.payloads), due)

    # --- before and after

    def warm_up(self, stage: str, inputs: Sequence[Mapping[str, Value | None]], rounds: int) -> None:
        """Run every work of `stage` on recorded inputs, so that no request pays for what happens once.

        Raises whatever the work raises.
        """
        for work in self._works[stage]:
            for turn in range(rounds):
                work.rehearse(inputs[turn % len(inputs)])

    def close(self) -> None:
        """Stop every thread. What is under way is dropped."""
        self._stop.set()
        self.origin.close()
        self._channel.close()
        for queue in self._queues.values():
            queue.close()
        self._shaper.close()
        for thread in self._threads:
            thread.join(1.0)
        for server in self._servers:
            server.join(1.0)
        for works in self._works.values():
            for work in works:
                work.close()


@dataclass(frozen=True, slots=True)
class _Serve:
    host: Host
    server: int

    def __call__(self, tasks: Sequence[_Task]) -> None:
        self.host.serve(tasks, self.server)


def _of_request(
    message: Message, producer: str, skipped: tuple[str, ...], trace: Trace, sent: float, clock: str
) -> Callable[[Kind, str, Mapping[str, Value]], Message]:
    """Makes messages from `producer`, of a kind, to a consumer, with values, of the same request as `message`: not
    queued, without a reason. `replace` takes three times as long.
    """

    def make(kind: Kind, consumer: str, values: Mapping[str, Value]) -> Message:
        return Message(
            kind,
            message.request,
            message.flow,
            message.origin,
            consumer,
            message.deadline,
            producer,
            sent,
            clock,
            0.0,
            values,
            skipped,
            trace,
            "",
            message.attempt,
            message.avoid,
            message.plan,
        )

    return make


def _gated(app: Application) -> dict[str, dict[str, str]]:
    """By component that decides gates: the gated components and the reference that each looks at."""
    found: dict[str, dict[str, str]] = {}
    for name, component in app.components.items():
        if component.when is not None:
            found.setdefault(component.when.ref.producer, {})[name] = component.when.ref.from_
    return found

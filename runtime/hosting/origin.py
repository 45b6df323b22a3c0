"""The client's side of a host: requests enter here, and here it is known what became of each.

Where heartbeats are sent, a request whose process died is sent again, to a standby that is up, or when the process is
back; see `runtime.hosting.attempts`. What a request has done by then is done again, which only components that keep no
state allow: a flow that has others fails its requests instead.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runtime.channel import Channel
from runtime.fleet import Member
from runtime.hosting.attempts import MOST_DEATHS, Attempt, passes
from runtime.hosting.health import Beats, Changes, Health
from runtime.hosting.pace import Pace
from runtime.hosting.replicas import processes_of, standby_of
from runtime.hosting.request import LATE, Departure, Entry, OnEnd, Status
from runtime.machine import clock_name
from runtime.message import Message, Trace
from runtime.reference.items import Item
from runtime.topology import Edge, Topology
from runtime.values import Value
from specs.application import Application
from specs.state import stateful


class Send(Protocol):
    """Brings a message to the member of `site` that serves the request, at time `now`."""

    def __call__(self, message: Message, site: str, now: float, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A request from outside that is to go on elsewhere, with all that it needs; times on the host's clock. Of so many
    `deaths` it may have been the cause, the last of them being `death`; it may be `held` by processes that live.
    """

    entry: Entry
    item: Item
    on_end: OnEnd
    deaths: int
    death: str
    held: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Trip:
    """One attempt of a request, as it was when it was decided on: other threads may have begun the next by now."""

    entry: Entry
    item: Item
    number: int
    avoid: tuple[str, ...]


def _again(entry: Entry, attempt: Attempt, avoid: tuple[str, ...]) -> _Trip:
    """The next attempt, which avoids these processes; for who holds the lock under which it was decided."""
    attempt.again(avoid)
    entry.attempts = attempt.number
    return _Trip(entry, attempt.item, attempt.number, avoid)


@dataclass
class Origin:
    """Of one host. All methods may be called from any thread."""

    member: Member
    top: Topology
    app: Application
    edges: Mapping[tuple[str, str], tuple[Edge, ...]]
    clock: str
    send: Send
    channel: Channel
    beats: Beats
    fills: Mapping[str, Mapping[str, Value]]
    plan: str = ""
    pace: Pace = field(default_factory=lambda: Pace({}))
    on_death: Callable[[str, str], None] = lambda process, reason: None
    """Told of each process that died, and why, for the origins of other plans (`died_elsewhere`)."""
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _shunned: frozenset[str] = frozenset()
    _entries: dict[str, Entry] = field(default_factory=dict)
    _outside: dict[str, OnEnd] = field(default_factory=dict)
    _attempts: dict[str, Attempt] = field(default_factory=dict)
    _items: dict[int, Item] = field(default_factory=dict)
    _gone: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._uses = {f.name: processes_of(f, self.member, self.top) for f in self.top.flows}
        self._sinks = {
            flow.name: {e.consumer for e in self.top.edges if e.flow == flow.name and e.consumer in self.app.sinks}
            for flow in self.top.flows
        }
        kept = stateful(self.app)
        self._remembered = {
            flow.name
            for flow in self.top.flows
            if not kept.isdisjoint(s.component for s in self.top.stages if flow.name in s.flows)
        }
        self._repeatable = {
            flow.name: bool(self.beats.interval) and flow.name not in self._remembered for flow in self.top.flows
        }
        mine = [flow.name for flow in self.top.flows if self.member in flow.members]
        targets = sorted(frozenset[str]().union(*(self._uses[flow] for flow in mine)))
        self.health = Health(targets, self.beats, self.channel.beat, Changes(self._went_down, self._came_up))
        self.health.start()

    # --- requests in

    def give_items(self, items: Mapping[int, Item]) -> None:
        """Items, by number, for departures to carry."""
        self._items.update(items)

    def generate(self, departures: Sequence[Departure], start: float, deadline: float, stop: threading.Event) -> None:
        """Send requests, the offsets counted from `start`, until `stop`; each is given up after `deadline` seconds."""
        for departure in departures:
            due = start + departure.offset
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            entry = Entry(departure.request, departure.flow, departure.item, departure.measured, due, due + deadline)
            self._admit(entry, self._items[departure.item], None)

    def submit(
        self,
        request: str,
        flow: str,
        values: Mapping[str, Value],
        deadline: float,
        on_end: OnEnd,
        *,
        shunned: bool = True,
    ) -> None:
        """Let a request in whose values have the declared types; it is given up after `deadline` seconds.

        `request` must be new. It stands in no log: `on_end` gets its entry. Unless it goes round those that are
        `shunned`, it shows whether they are still slow.
        """
        now = time.monotonic()
        item = Item(self.top.flow_by_name[flow].source, values)
        self._admit(Entry(request, flow, -1, False, now, now + deadline), item, on_end, shunned=shunned)

    def resume(self, withdrawn: Withdrawn) -> None:
        """Go on with a request that another plan's host began here."""
        self._admit(withdrawn.entry, withdrawn.item, withdrawn.on_end, after=withdrawn)
        if time.monotonic() > withdrawn.entry.deadline:  # whoever gave it up meanwhile found it nowhere
            self.end(withdrawn.entry.request, "failed", LATE)

    def _admit(
        self,
        entry: Entry,
        item: Item,
        on_end: OnEnd | None,
        *,
        shunned: bool = True,
        after: Withdrawn | None = None,
    ) -> None:
        entry.clock = clock_name(self.clock)
        with self._lock:
            self._entries[entry.request] = entry
            if on_end is not None:
                self._outside[entry.request] = on_end
            avoid = self._avoided(entry.flow, shunned=shunned)
            attempt = self._attempts[entry.request] = Attempt(item, entry.attempts, avoid)
            if after is not None:
                attempt.deaths, attempt.death = after.deaths, after.death
                attempt.left = after.held - self._uses[entry.flow]
            trip = _Trip(entry, item, attempt.number, attempt.avoid)
        self._enter(trip)

    def _avoided(self, flow: str, *, shunned: bool = True) -> tuple[str, ...]:
        """What is down and, where it is to be `shunned`, what is slow, as long as its standby is there."""
        avoid = set(self.health.down())
        if shunned:
            avoid |= {process for process in self._shunned if standby_of(process) not in avoid}
        return tuple(sorted(self._uses[flow] & avoid))

    def _enter(self, trip: _Trip) -> None:
        """The source: what its consumers take goes to them."""
        entry = trip.entry
        flow = self.top.flow_by_name[entry.flow]
        sent = entry.started if not trip.number else time.monotonic()
        for edge in self.edges[entry.flow, flow.source]:
            values = {key: trip.item.values[key.partition(".")[2]] for key in edge.values}
            message = Message(
                kind="values",
                request=entry.request,
                flow=entry.flow,
                origin=str(self.member),
                producer=flow.source,
                consumer=edge.consumer,
                deadline=entry.deadline,
                sent=sent,
                clock=self.clock,
                values=values,
                attempt=trip.number,
                avoid=trip.avoid,
                plan=self.plan,
            )
            self.send(message, edge.to_site, sent)

    # --- what becomes of them

    def answer(self, sink: str, inputs: Mapping[str, Value | None], message: Message, now: float) -> None:
        """`sink` got what it takes, at the time `now`: here, or at another site."""
        with self._lock:
            entry, attempt = self._entries.get(message.request), self._attempts.get(message.request)
            if entry is None or attempt is None or entry.status != "pending":
                return
            fills = self.fills[sink]
            given = {name: inputs.get(name) for name in self.app.sinks[sink].inputs}
            given = {name: fills.get(name) if value is None else value for name, value in given.items()}
            values = {name: _own(value) for name, value in given.items() if value is not None}
            answers = attempt.take(message, sink, values)
            ends = attempt.ends.setdefault(message.attempt, {})
            ends[sink] = now - entry.started
            if set(answers) != self._sinks[entry.flow]:
                return
            entry.status, entry.latency, entry.ends = "answered", max(ends.values()), ends
            entry.answers, entry.trace = answers, attempt.traces[message.attempt]
        services = [(t.stage, _process(t.member, message.avoid), t.service) for t in entry.trace.stages]
        self.pace.saw(entry.flow, entry.latency, services, time.monotonic())
        self._word_outside(entry)

    def refuse(self, message: Message) -> None:
        """A host refused an attempt of a request, which ends where no other may still be answered."""
        with self._lock:
            attempt = self._attempts.get(message.request)
            if attempt is not None and attempt.refused(message.attempt, message.reason):
                return
        self.end(message.request, "refused", message.reason, message.trace)

    def end(self, request: str, status: Status, reason: str, trace: Trace | None = None) -> None:
        """End a request; nothing where it has ended. `trace` has the times of the way to where it failed."""
        with self._lock:
            entry, attempt = self._entries.get(request), self._attempts.get(request)
            if entry is None or entry.status != "pending":
                return
            if attempt is not None:
                silent = self._silent(entry, attempt)
                entry.outage = bool(attempt.parked or attempt.death or silent)
                reason = _explained(reason, attempt, silent)
            entry.status, entry.reason, entry.trace = status, reason, trace or Trace()
        self._word_outside(entry)

    def _silent(self, entry: Entry, attempt: Attempt) -> Mapping[str, str]:
        """The processes that are silent and may hold a request, with the reasons, by name."""
        down = self.health.down()
        return {p: down[p] for p in sorted(self._uses[entry.flow]) if p in down and attempt.may_be_at(p)}

    def _word_outside(self, entry: Entry) -> None:
        with self._lock:
            self._attempts.pop(entry.request, None)
            on_end = self._outside.pop(entry.request, None)
            if on_end is not None:
                self._entries.pop(entry.request, None)
        if on_end is not None:
            on_end(entry)

    # --- processes that die

    def unreached(self, message: Message, target: str, reason: str) -> None:
        """A message of this origin's request could not be brought to `target`."""
        if not self._repeatable[message.flow]:
            self.end(message.request, "failed", f"{target} cannot be reached: {reason}")
            return
        with self._lock:
            known = self._attempts.get(message.request)
            if known is None:
                return  # it has ended
            stale = known.number != message.attempt
            if stale:  # it was sent again: old news of a process that may be back
                known.open.pop(message.attempt, None)
            refusal = known.refusal if stale and known.given_up else ""
        if stale:
            if refusal:
                self.end(message.request, "refused", refusal)
            return
        if target not in message.avoid:
            self.health.suspect(target, reason)  # which sends again what it held, this one too
        with self._lock:
            entry, attempt = self._entries.get(message.request), self._attempts.get(message.request)
            if entry is None or attempt is None or attempt.number != message.attempt:
                return
            attempt.open.pop(message.attempt, None)  # it came to nothing
            avoid = self._avoided(entry.flow)
            if target in attempt.avoid and target in avoid:  # nobody stands in for it
                attempt.parked, attempt.reason = target, self.health.down().get(target, reason)
                return
            trip = _again(entry, attempt, avoid)
        self._enter(trip)

    def _went_down(self, target: str, reason: str, died: bool) -> None:
        """Send again what `target` may have held. Where it is only silent and nobody stands in, it may yet answer."""
        other = standby_of(target)
        if died:
            self.pace.forget(target)
        if not died and not any(other in uses for uses in self._uses.values()):
            return
        trips, poisoned, refused = [], list[tuple[str, str]](), []
        with self._lock:
            for entry, attempt in self._chosen(
                lambda e, a: target in self._uses[e.flow] and (passes(target, a.avoid) or a.may_be_at(target))
            ):
                if died:
                    attempt.died(target, reason)
                if attempt.deaths >= MOST_DEATHS:
                    poisoned.append((entry.request, _poison(target, attempt, reason)))
                elif attempt.given_up:
                    refused.append((entry.request, attempt.refusal))
                elif passes(target, attempt.avoid) and not attempt.parked:
                    avoid = tuple(sorted({*attempt.avoid, target, *self._avoided(entry.flow)}))
                    trips.append(_again(entry, attempt, avoid))
        for request, why in poisoned:
            self.end(request, "failed", why)
        for trip in trips:
            self._enter(trip)
        for request, why in refused:
            self.end(request, "refused", why)
        if died:
            self.on_death(target, reason)

    def died_elsewhere(self, process: str, reason: str) -> None:
        """`process`, which this plan does not use, died: it may have held requests that another plan's host began."""
        with self._lock:
            left = self._chosen(lambda _, attempt: process in attempt.left)
            for _, attempt in left:
                attempt.died_elsewhere(process, reason)
            poisoned = [(e.request, _poison(process, a, reason)) for e, a in left if a.deaths >= MOST_DEATHS]
        for request, why in poisoned:
            self.end(request, "failed", why)

    def shun(self, processes: frozenset[str]) -> None:
        """Go round these from now on, and no others: they are slow, and each has a standby for all that it does here.

        What they hold is sent again; the first answer counts.
        """
        with self._lock:
            new = {p for p in processes - self._shunned if standby_of(p) not in self.health.down()}
            self._shunned = processes
            held = self._chosen(lambda e, a: bool(new & self._uses[e.flow] - set(a.avoid)))
            trips = [_again(e, a, tuple(sorted({*a.avoid, *self._avoided(e.flow)}))) for e, a in held]
        for trip in trips:
            self._enter(trip)

    def may_repeat(self, flow: str) -> bool:
        """Whether requests of `flow` may be run again."""
        return self._repeatable[flow]

    def _came_up(self, target: str) -> None:
        """Send again what waited for `target`."""
        with self._lock:
            waiting = self._chosen(lambda _, a: bool(a.parked) and target in a.avoid)
            trips = [_again(entry, attempt, self._avoided(entry.flow)) for entry, attempt in waiting]
        for trip in trips:
            self._enter(trip)

    def _chosen(self, wanted: Callable[[Entry, Attempt], bool]) -> list[tuple[Entry, Attempt]]:
        """Requests that can be sent again; for who holds the lock, and decides about them before letting it go.

        The oldest is last: queues are served in order, so of all that a process held it is the one that it may have
        died of, and the others are done before it is there again.
        """
        pairs = [(self._entries[request], attempt) for request, attempt in reversed(self._attempts.items())]
        return [(e, a) for e, a in pairs if self._repeatable[e.flow] and e.status == "pending" and wanted(e, a)]

    def withdraw(self) -> list[Withdrawn]:
        """Requests from outside, which may wait for a process that is gone: they are no longer this host's.

        Those that something remembers stay, since they would be run again.
        """
        with self._lock:
            names = [r for r in self._attempts if r in self._outside and self._entries[r].flow not in self._remembered]
            taken = [self._withdrawn(name) for name in names]
        for each in taken:
            each.entry.attempts += 1
        return taken

    def _withdrawn(self, request: str) -> Withdrawn:
        attempt, entry = self._attempts.pop(request), self._entries.pop(request)
        held = attempt.left.union(process for process in self._uses[entry.flow] if attempt.may_be_at(process))
        return Withdrawn(entry, attempt.item, self._outside.pop(request), attempt.deaths, attempt.death, held)

    def pending(self) -> int:
        """How many requests have not ended."""
        with self._lock:
            return len(self._attempts)

    def peer_gone(self, member: str, reason: str) -> None:
        """`member` is dead. Requests that it may hold fail with that reason when their deadline passes."""
        with self._lock:
            self._gone[member] = reason

    # --- the log

    def progress(self) -> dict[Status, int]:
        """How many measured requests have which status. Those past their deadline are ended first."""
        now = time.monotonic()
        counts: dict[Status, int] = {"pending": 0, "answered": 0, "refused": 0, "failed": 0, "lost": 0}
        given_up: list[Entry] = []
        with self._lock:
            for entry in self._entries.values():
                if entry.status == "pending" and now > entry.deadline + _grace(entry):
                    self._give_up(entry)
                    given_up.append(entry)
                if entry.measured:
                    counts[entry.status] += 1
        for entry in given_up:
            self._word_outside(entry)
        return counts

    def _give_up(self, entry: Entry) -> None:
        used = {str(m) for (origin, _), m in self.top.member.items() if origin == str(self.member)}
        dead = sorted(used & set(self._gone))
        entry.status = "failed" if dead else "lost"
        entry.reason = f"{dead[0]} is gone: {self._gone[dead[0]]}" if dead else "no answer of any kind"

    def log(self) -> list[Entry]:
        """The client's log so far."""
        with self._lock:
            return list(self._entries.values())

    def close(self) -> None:
        self.health.close()


def _explained(reason: str, attempt: Attempt, silent: Mapping[str, str]) -> str:
    """Why a request ends, with what became of its attempts; `silent` may hold it."""
    if attempt.parked:
        return f"{reason} while {attempt.parked} was gone: {attempt.reason}"
    if not reason.startswith(LATE):
        return reason
    if attempt.death:
        reason = f"{reason}, after the death of {attempt.death}, which may have held it"
    for process, why in list(silent.items())[:1]:
        reason = f"{reason}, and {process}, which may hold it, is silent: {why}"
    if attempt.refusal:
        reason = f"{reason}; another try was refused: {attempt.refusal}"
    return reason


def _poison(process: str, attempt: Attempt, reason: str) -> str:
    """Why a request is not sent again that `process` was the last to die of, it seems."""
    return f"{process} died while it may have held it, as {attempt.deaths - 1} processes did before: {reason}"


def _grace(entry: Entry) -> float:
    """Seconds that word of a passed deadline may take to come back, before the request counts as lost."""
    return min(2.0, 0.5 * (entry.deadline - entry.started))


def _process(member: str, avoid: tuple[str, ...]) -> str:
    """Which process of `member` served an attempt that goes round these."""
    return standby_of(member) if member in avoid else member


def _own(value: Value) -> Value:
    """A copy that does not keep the message's buffer alive."""
    return value if isinstance(value, (bytes, str)) else value.copy()

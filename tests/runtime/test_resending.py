"""What an origin does when processes die, with hosts of this process: sent again, waited for, answered once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from runtime.bundle import Bundle
from runtime.channel import UNSENDABLE, OnError
from runtime.channel.memory import MemoryChannel
from runtime.hosting.attempts import MOST_DEATHS
from runtime.hosting.health import Beats, Changes, Health
from runtime.hosting.host import Host, HostOptions
from runtime.hosting.opening import fills_of_sinks, open_stage
from runtime.hosting.origin import Origin
from runtime.hosting.replicas import at_standby, member_of, standby_of
from runtime.hosting.request import LATE, Entry
from runtime.message import Message
from runtime.topology import Topology, topology
from runtime.values import Value
from specs.load import load_infrastructure
from tests.runtime.memory_limit import memory_limit
from tests.runtime.processes import children, until
from tests.runtime.sample import copy_project, make_bundle, make_items, make_plan, make_slice
from tests.runtime.test_reference import by_hand

BEATS = Beats(interval=0.02, timeout=0.3)
ITEMS = make_items(40)
FLOW = "upload@phones"


class World:
    """Hosts that can be killed and started; what is sent to a dead one is undeliverable, as with any channel."""

    def __init__(self, bundle: Bundle, *standbys: str, beats: Beats = BEATS) -> None:
        self.bundle, self.beats = bundle, beats
        part = make_slice(members={"phones": 1})
        self.top = topology(bundle.plan, bundle.app.value, bundle.infra.value, part)
        self.deliver: dict[str, Callable[[Message], None]] = {}
        self.hosts: list[Host] = []
        self.ended: list[Entry] = []
        self.submitted = 0
        for process in (*(standby_of(m) for m in standbys), *map(str, self.top.hosts)):
            self.start(process)
        self.origin = self.hosts[-1]

    def start(self, process: str) -> None:
        member = next(m for m in self.top.hosts if str(m) == member_of(process))
        standby = process != str(member)
        top: Topology = at_standby(member.site, self.top) if standby else self.top
        options = HostOptions(256, 256, 1, "here", shape=False, beats=self.beats, standby=standby)
        works = {
            stage: [open_stage(self.bundle, top.stage_by_id[stage]) for _ in range(queue.servers)]
            for queue in top.queues
            if queue.site == member.site
            for stage in queue.stages
        }

        def channel(on_error: OnError) -> MemoryChannel:
            return MemoryChannel(self.deliver, on_error)

        host = Host(member, top, self.bundle.app.value, works, channel, None, options, fills_of_sinks(self.bundle))
        self.hosts.append(host)
        self.deliver[process] = host.deliver

    def kill(self, process: str) -> None:
        """It answers nothing any more, and nothing that it holds goes on."""
        del self.deliver[process]
        next(h for h in self.hosts if h.name == process).close()

    def submit(self, count: int, deadline: float = 20.0) -> None:
        for _ in range(count):
            values = ITEMS[self.submitted % len(ITEMS)].values
            self.origin.submit(f"r{self.submitted}", FLOW, values, deadline, self.ended.append)
            self.submitted += 1

    def parked(self) -> list[bool]:
        """Of each request under way, whether it waits for a process that died."""
        return [bool(a.parked) for a in list(self.origin.origin._attempts.values())]

    def all_ended(self) -> list[Entry]:
        assert until(lambda: len(self.ended) >= self.submitted, 60)
        time.sleep(0.2)  # a second answer would come now
        assert sorted(e.request for e in self.ended) == sorted(f"r{i}" for i in range(self.submitted))
        return self.ended


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(*standbys: str, beats: Beats = BEATS, **changes: Any) -> World:
        project = copy_project(tmp_path, **changes.pop("edits", {}))
        asked: dict[str, Any] = {c: {"standby": 1} for c in ("vision", "decide", "language") if standbys}
        made.append(World(make_bundle(tmp_path, make_plan(project, **asked), project), *standbys, beats=beats))
        return made[-1]

    yield make
    for world in made:
        for host in world.hosts:
            host.close()


def right(entry: Entry) -> bool:
    verdict: Any = entry.answers["answer"]["verdict"]
    return bool(verdict.tolist() == [by_hand(ITEMS[int(entry.request[1:]) % len(ITEMS)], "small")[0]])


def busy(host: Host) -> float:
    return sum(seconds for load in host.loads() for seconds in load.busy.values())


def test_a_process_that_is_shunned_gets_nothing_but_what_is_tried_out_while_its_standby_is_there(
    make_world: Callable[..., World],
) -> None:
    world = make_world("bases-0", beats=Beats(BEATS.interval, timeout=30.0))
    by_name = {host.name: host for host in world.hosts}
    world.origin.origin.shun(frozenset({"bases-0"}))
    world.submit(10)
    world.all_ended()
    assert busy(by_name["bases-0"]) == 0.0 < busy(by_name["bases-0+standby"])
    tried: list[Entry] = []
    world.origin.origin.submit("r20", FLOW, ITEMS[20].values, 20.0, tried.append, shunned=False)
    assert until(lambda: bool(tried), 20)
    assert right(tried[0])
    before = busy(by_name["bases-0"])
    assert before > 0.0
    world.kill("bases-0+standby")
    world.submit(10)
    assert all(e.status == "answered" and right(e) for e in world.all_ended())
    assert busy(by_name["bases-0"]) > before, "slow is better than nobody"


def test_what_a_process_holds_when_it_is_shunned_is_sent_again_and_answered_once(
    make_world: Callable[..., World],
) -> None:
    world = make_world("bases-0")
    world.submit(30)
    world.origin.origin.shun(frozenset({"bases-0"}))
    world.submit(30)
    world.origin.origin.shun(frozenset())
    world.submit(30)
    assert all(e.status == "answered" and right(e) for e in world.all_ended())


def test_a_standby_answers_what_the_dead_process_held_and_all_that_comes_after(
    make_world: Callable[..., World],
) -> None:
    world = make_world("bases-0")
    world.submit(30)
    world.kill("bases-0")
    world.submit(30)
    ended = world.all_ended()
    assert all(e.status == "answered" and right(e) for e in ended)
    assert {t.member for e in ended[-5:] for t in e.trace.stages if t.stage == "vision"} == {"bases-0"}


def test_without_a_standby_requests_wait_for_the_process_and_are_answered_when_it_is_back(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.kill("bases-0")
    world.submit(20)
    time.sleep(0.3)
    assert not world.ended
    world.start("bases-0")
    assert all(e.status == "answered" and right(e) for e in world.all_ended())


@pytest.fixture
def alone(make_world: Callable[..., World]) -> Iterator[tuple[Origin, list[Message], list[Entry]]]:
    """An origin that hears nothing of others but what it is told, with what it sends and what has ended."""
    world = make_world("bases-0")
    like, sent = world.origin.origin, list[Message]()
    beats = Beats(interval=3600.0)
    origin = Origin(
        like.member,
        like.top,
        like.app,
        like.edges,
        like.clock,
        lambda message, _, __: sent.append(message),
        like.channel,
        beats,
        like.fills,
    )
    yield origin, sent, world.ended
    origin.close()


def test_an_attempt_that_could_not_be_brought_keeps_no_request_open_that_the_next_is_refused(
    alone: tuple[Origin, list[Message], list[Entry]],
) -> None:
    origin, sent, ended = alone
    origin.shun(frozenset({"bases-0"}))
    origin.submit("r0", FLOW, ITEMS[0].values, 20.0, ended.append)
    origin.shun(frozenset())
    origin.unreached(sent[-1], "bases-0", "no host")  # which is there again by now
    assert sent[-1].attempt == 1
    assert not ended
    origin.refuse(replace(sent[-1], kind="refused", reason="full"))
    assert [(e.status, e.reason) for e in ended] == [("refused", "full")]


def test_deaths_elsewhere_do_not_count_against_a_request_that_waits_at_the_origin(
    alone: tuple[Origin, list[Message], list[Entry]],
) -> None:
    origin, sent, ended = alone
    origin.submit("r0", FLOW, ITEMS[0].values, 20.0, ended.append)
    for process in ("bases-0", "bases-0+standby"):
        origin.unreached(sent[-1], process, "no host")
    origin.unreached(sent[-1], "bases-0", "no host")  # nobody stands in
    attempts, before = origin._attempts["r0"], len(sent)
    assert attempts.parked == "bases-0"
    deaths = attempts.deaths
    for _ in range(MOST_DEATHS):
        origin.health.suspect("cloud-0", "no host")
        origin.health._answered("cloud-0", "another")
    assert (attempts.parked, attempts.deaths, len(sent), ended) == ("bases-0", deaths, before, [])


def test_requests_that_need_no_dead_process_are_not_held_up(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.kill("cloud-0")
    world.submit(40, 120.0)
    sure = sum(by_hand(item, "small")[1] for item in ITEMS)
    assert until(lambda: len(world.ended) == sure, 60)
    time.sleep(0.2)
    assert len(world.ended) == sure
    world.start("cloud-0")
    assert all(e.status == "answered" and right(e) for e in world.all_ended())


def test_when_nobody_comes_back_a_request_fails_at_its_deadline_and_says_for_whom_it_waited(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.kill("bases-0")
    world.submit(5)
    time.sleep(0.2)
    for i in range(5):  # as the ingress does at the deadline
        world.origin.give_up(f"r{i}", "the deadline passed")
    reasons = {e.reason for e in world.all_ended()}
    assert reasons == {"the deadline passed while bases-0 was gone: no host for bases-0"}
    assert all(e.outage for e in world.ended), "it says nothing of load"


def test_a_request_under_way_at_several_deaths_is_not_sent_again(make_world: Callable[..., World]) -> None:
    total = '    total = float(pixels.sum())\n    return {"score": np.array([total, -total]'
    world = make_world(edits={"steps": (total, f"    time.sleep(30)\n{total}")})
    world.submit(1, 120.0)
    for _ in range(MOST_DEATHS):
        assert until(lambda: world.parked() == [False], 60), "it is under way"
        world.kill("bases-0")
        assert until(lambda: False not in world.parked(), 60), "that it died is noticed"
        world.start("bases-0")
    (entry,) = world.all_ended()
    assert entry.status == "failed"
    assert "bases-0 died while it may have held it" in entry.reason


def test_the_one_that_processes_die_of_fails_and_those_behind_it_do_not(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    total = '    total = float(pixels.sum())\n    return {"score": np.array([total, -total]'
    begun = tmp_path / "begun"
    slow = f"        with open({str(begun)!r}, 'a') as file:\n            file.write('x')\n        time.sleep(30)\n"
    world = make_world(edits={"steps": (total, f"    if pixels[0] == 7:\n{slow}{total}")})

    def served(times: int) -> bool:
        return until(lambda: begun.exists() and begun.stat().st_size == times, 60)

    poison: dict[str, Value] = {"photo": bytes([7] * 8), "caption": "ab"}
    world.origin.submit("poison", FLOW, poison, 120.0, world.ended.append)
    assert served(1)
    world.submit(10, 120.0)
    for death in range(1, MOST_DEATHS):
        world.kill("bases-0")
        assert until(lambda: all(world.parked()), 60)
        world.start("bases-0")
        assert until(lambda: len(world.ended) == 10, 60), "the one that was being served comes last"
        assert served(death + 1)
    world.kill("bases-0")
    assert until(lambda: len(world.ended) == 11, 60)
    fates = {e.request: e for e in world.ended}
    assert fates.pop("poison").reason.startswith("bases-0 died while it may have held it")
    assert all(e.status == "answered" and right(e) for e in fates.values())


def test_a_function_that_is_killed_for_its_memory_fails_its_request_and_no_other(
    make_world: Callable[..., World],
) -> None:
    own = "function: pictures.steps:language"
    greedy = '    bytearray(b"x") * (int(ids[:3].min() > 20) * 400_000_000)\n    return {"vector"'
    world = make_world(
        edits={"app": (own, f"{own}\n    environment: {{MODE: own}}"), "steps": ('    return {"vector"', greedy)}
    )
    world.submit(10)
    assert until(lambda: len(world.ended) == 10, 60)
    workers = [p for p in children() if "runtime.stages.isolated_worker" in psutil.Process(p).cmdline()]
    with memory_limit(workers, 100_000_000):
        values: dict[str, Value] = {"photo": bytes([34] + [0] * 7), "caption": "zzz"}
        world.origin.submit("greedy", FLOW, values, 20.0, world.ended.append)
        world.submit(20)
        assert until(lambda: len(world.ended) == 31, 60)
    fates = {e.request: e for e in world.ended}
    found = fates.pop("greedy")
    assert (found.status, found.attempts) == ("failed", 0)
    assert "language at cloud-0" in found.reason
    assert "ended with signal 9" in found.reason
    assert all(e.status == "answered" and right(e) for e in fates.values())


def test_what_a_silent_process_holds_is_not_sent_again_where_nobody_stands_in(make_world: Callable[..., World]) -> None:
    world = make_world()
    reach, held = world.deliver["bases-0"], list[Message]()
    world.deliver["bases-0"] = held.append
    silent = world.origin.origin.health
    world.submit(5)
    silent._fell("bases-0", "no heartbeat", died=False)
    world.submit(1)

    def first() -> list[Message]:
        return [m for m in list(held) if m.kind == "values" and not m.attempt]

    assert until(lambda: len(first()) == 5, 60)
    time.sleep(0.1)  # a sixth would come now
    assert len(first()) == 5
    world.deliver["bases-0"] = reach
    for message in held:
        reach(message)
    ended = world.all_ended()
    assert all(e.status == "answered" and right(e) for e in ended)
    assert [e.attempts for e in ended if e.request != "r5"] == [0] * 5


def held_back(world: World, *processes: str) -> dict[str, list[Message]]:
    """What is sent to these from now on, which does not reach them."""
    held: dict[str, list[Message]] = {process: [] for process in processes}
    for process, messages in held.items():
        world.deliver[process] = messages.append
    return held


UNASKED = Beats(interval=600.0)
"""Heartbeats are on, but none is sent while a test goes on: it says itself who is silent and who is dead."""


def test_a_process_that_falls_silent_and_then_dies_is_told_and_counted_for_what_was_left_there(
    make_world: Callable[..., World],
) -> None:
    world = make_world("bases-0", beats=UNASKED)
    held = held_back(world, "bases-0", "bases-0+standby")
    health, attempts = world.origin.origin.health, world.origin.origin._attempts
    world.submit(3)
    assert until(lambda: len(held["bases-0"]) >= 3, 60)
    health._fell("bases-0", "no heartbeat for 2 s", died=False)
    assert until(lambda: len(held["bases-0+standby"]) >= 3, 60)
    world.origin.give_up("r0", "the deadline passed")
    assert [a.deaths for a in attempts.values()] == [0, 0]
    health._fell("bases-0", "killed", died=True)
    assert [(a.number, a.deaths) for a in attempts.values()] == [(1, 1), (1, 1)], "nothing is sent a third time"
    world.origin.give_up("r1", "the deadline passed")
    health._fell("bases-0+standby", "killed", died=True)
    assert until(lambda: world.parked() == [True], 60)
    world.origin.give_up("r2", "the deadline passed")
    assert [e.reason for e in world.all_ended()] == [
        "the deadline passed, and bases-0, which may hold it, is silent: no heartbeat for 2 s",
        "the deadline passed, after the death of bases-0 (killed), which may have held it",
        "the deadline passed while bases-0 was gone: killed",
    ]


def test_a_death_where_a_request_was_left_counts_for_the_plan_that_it_went_on_with(
    alone: tuple[Origin, list[Message], list[Entry]], tmp_path: Path
) -> None:
    """Its first plan used bases-0, which fell silent; the plan without that site uses the cloud in its place."""
    origin, _, ended = alone
    project = tmp_path / "project"
    plan = make_plan(project, {"vision": ("cloud", "vm"), "decide": ("cloud", "vm")})
    infra = load_infrastructure(project / "infra.yaml").value
    top = topology(plan, origin.app, infra, make_slice(members={"phones": 1}))
    sent: list[Message] = []

    def send(message: Message, site: str, now: float) -> None:
        sent.append(message)

    keys = {(e.flow, e.producer) for e in top.edges}
    edges = {key: tuple(e for e in top.edges if (e.flow, e.producer) == key) for key in keys}
    other = Origin(origin.member, top, origin.app, edges, origin.clock, send, origin.channel, UNASKED, origin.fills)
    origin.on_death = other.died_elsewhere
    try:
        for request in ("r0", "r1"):
            origin.submit(request, FLOW, ITEMS[0].values, 20.0, ended.append)
        origin.health._fell("bases-0", "no heartbeat for 2 s", died=False)
        for withdrawn in origin.withdraw():
            other.resume(withdrawn)
        attempts = other._attempts
        before = [(a.number, set(a.open)) for a in attempts.values()]
        assert [a.deaths for a in attempts.values()] == [0, 0]
        origin.health._fell("bases-0", "killed", died=True)
        assert [a.deaths for a in attempts.values()] == [1, 1]
        assert [(a.number, set(a.open)) for a in attempts.values()] == before, "nothing is sent again for that"
        other.end("r1", "failed", LATE)
        assert [e.reason for e in ended] == [f"{LATE}, after the death of bases-0 (killed), which may have held it"]
        for _ in range(MOST_DEATHS - 1):
            assert len(ended) == 1
            other.health._fell("cloud-0", "killed", died=True)
            other.unreached(sent[-1], "cloud-0", "no host")
            other.health._answered("cloud-0", "another")
        assert [(e.request, e.status) for e in ended[1:]] == [("r0", "failed")]
        assert f"as {MOST_DEATHS - 1} processes did before" in ended[1].reason
    finally:
        other.close()


def test_the_death_of_a_standby_that_stands_by_touches_no_request(make_world: Callable[..., World]) -> None:
    world = make_world("bases-0", beats=UNASKED)
    held = held_back(world, "bases-0")
    world.submit(1)
    world.origin.origin.health._fell("bases-0+standby", "killed", died=True)
    assert [(a.number, a.deaths) for a in world.origin.origin._attempts.values()] == [(0, 0)]
    bases = next(h for h in world.hosts if h.name == "bases-0")
    world.deliver["bases-0"] = bases.deliver
    for message in held["bases-0"]:
        bases.deliver(message)
    assert [e.status for e in world.all_ended()] == ["answered"]


def refused(message: Message) -> Message:
    return replace(message, kind="refused", consumer="", values={}, reason="the queue is full")


def test_a_refusal_of_one_attempt_does_not_end_a_request_that_another_may_answer(
    make_world: Callable[..., World],
) -> None:
    world = make_world("bases-0", beats=UNASKED)
    by_name = {host.name: host for host in world.hosts}
    held = held_back(world, "bases-0", "bases-0+standby")
    world.submit(2)
    assert until(lambda: {m.request for m in held["bases-0"]} == {"r0", "r1"}, 60)
    first = [m for m in held["bases-0"] if m.kind == "values"]
    world.origin.origin.health._fell("bases-0", "no heartbeat for 2 s", died=False)
    assert until(lambda: {m.request for m in held["bases-0+standby"]} == {"r0", "r1"}, 60)
    later = {m.request: m for m in held["bases-0+standby"]}
    world.origin.deliver(refused(later["r0"]))  # the earlier one answers
    world.origin.deliver(refused(next(m for m in first if m.request == "r1")))  # the later one does
    assert not world.ended
    for process in held:
        world.deliver[process] = by_name[process].deliver
    for message in [m for m in held["bases-0"] if m.request == "r0"]:
        by_name["bases-0"].deliver(message)
    for message in [m for m in held["bases-0+standby"] if m.request == "r1"]:
        by_name["bases-0+standby"].deliver(message)
    assert all(e.status == "answered" and right(e) for e in world.all_ended())


def test_a_request_is_refused_when_the_last_attempt_that_might_be_answered_is_lost(
    make_world: Callable[..., World],
) -> None:
    world = make_world("bases-0", beats=UNASKED)
    held = held_back(world, "bases-0", "bases-0+standby")
    health = world.origin.origin.health
    world.submit(3)
    health._fell("bases-0", "no heartbeat for 2 s", died=False)
    assert until(lambda: {m.request for m in held["bases-0+standby"]} == {"r0", "r1", "r2"}, 60)
    later = {m.request: m for m in held["bases-0+standby"]}
    for each in later.values():
        world.origin.deliver(refused(each))
    assert not world.ended
    earlier = next(m for m in held["bases-0"] if m.request == "r0")
    world.origin.deliver(refused(earlier))
    world.origin.give_up("r1", "the deadline passed")
    health._fell("bases-0", "killed", died=True)
    found = {e.request: (e.status, e.reason) for e in world.all_ended()}
    assert found["r0"] == found["r2"] == ("refused", "the queue is full")
    silent = "the deadline passed, and bases-0, which may hold it, is silent: no heartbeat for 2 s"
    assert found["r1"] == ("failed", f"{silent}; another try was refused: the queue is full")


def test_neither_old_news_nor_a_message_that_cannot_be_sent_makes_a_process_count_as_dead(
    make_world: Callable[..., World],
) -> None:
    world = make_world(beats=Beats(BEATS.interval, timeout=30.0))
    reach, held = world.deliver["bases-0"], list[Message]()
    world.deliver["bases-0"] = held.append
    world.submit(2)
    assert until(lambda: len(held) >= 2, 20)
    mine = {m.request: m for m in held if m.kind == "values"}
    world.origin.origin.unreached(replace(mine["r0"], attempt=-1), "bases-0", "it was down")
    world.origin._undelivered("bases-0", mine["r1"], f"{UNSENDABLE}: too large")
    assert world.origin.origin.health.down() == {}
    world.deliver["bases-0"] = reach
    for message in held:
        reach(message)
    first, second = sorted(world.all_ended(), key=lambda e: e.request)
    assert (first.status, first.attempts) == ("answered", 0)
    assert (second.status, second.reason) == ("failed", f"shrink@phones to bases-0: {UNSENDABLE}: too large")


def test_a_flow_that_keeps_state_is_not_sent_again(make_world: Callable[..., World]) -> None:
    world = make_world()
    kept = {**world.bundle.app.value.components}
    kept["decide"] = kept["decide"].model_copy(update={"state": {"by": "user"}})
    world.origin.origin.app = world.bundle.app.value.model_copy(update={"components": kept})
    world.origin.origin.__post_init__()
    world.kill("bases-0")
    world.submit(3)
    assert Counter(e.status for e in world.all_ended()) == {"failed": 3}
    assert all("bases-0 cannot be reached" in e.reason for e in world.ended)


class Yielding:
    """A lock after which other threads always come first."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        time.sleep(1e-4)


def test_threads_that_find_out_at_once_send_each_attempt_once(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.hosting.origin.MOST_DEATHS", 1_000_000)
    world = make_world()
    origin = world.origin.origin
    sent: list[tuple[str, int, str]] = []
    monkeypatch.setattr(origin, "_lock", Yielding())
    monkeypatch.setattr(origin, "send", lambda m, site, now: sent.append((m.request, m.attempt, m.consumer)))
    world.submit(10)

    def find_out() -> None:
        for _ in range(10):
            origin._went_down("bases-0", "it died", True)
            for request, number, consumer in sent[-20:]:
                word = Message("unreached", request, FLOW, "phones-0", consumer, 0.0, attempt=number)
                origin.unreached(word, "bases-0", "no answer")
            origin._came_up("bases-0")

    threads = [threading.Thread(target=find_out) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number for _, number, _ in sent} != {0}
    assert max(Counter(sent).values()) == 1


def test_a_request_from_outside_of_which_nothing_is_heard_ends_after_its_deadline(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.deliver["bases-0"] = lambda message: None
    world.submit(3, deadline=0.1)
    assert until(lambda: bool(world.origin.origin.progress()) and len(world.ended) == 3, 60)
    assert {(e.status, e.reason) for e in world.all_ended()} == {("lost", "no answer of any kind")}
    assert world.origin.origin.pending() == 0


def test_a_process_that_died_and_came_back_between_two_beats_is_told_as_down_and_up() -> None:
    told: list[tuple[str, str]] = []
    lives = iter(["a", "a", "b", "b", "b"])
    changes = Changes(lambda t, _, died: told.append((f"down {died}", t)), lambda t: told.append(("up", t)))
    seen = threading.Event()

    def beat(target: str, on_pulse: Callable[[str | None, str], None]) -> None:
        life = next(lives, None)
        if life is None:
            seen.set()
        on_pulse(life or "b", "")

    health = Health(["x"], Beats(interval=0.01, timeout=60.0), beat, changes)
    health.start()
    assert seen.wait(60)
    health.close()
    assert told == [("down True", "x"), ("up", "x")]


def test_a_process_that_does_not_answer_in_time_is_down_until_it_does() -> None:
    told: list[str] = []
    waiting: list[Callable[[str | None, str], None]] = []
    changes = Changes(lambda _, reason, died: told.append(f"{reason} {died}"), lambda _: told.append("up"))
    health = Health(["x"], Beats(interval=0.01, timeout=0.1), lambda _, on_pulse: waiting.append(on_pulse), changes)
    health.start()
    assert until(lambda: told == ["no heartbeat for 0.1 s False"], 60)
    assert health.down() == {"x": "no heartbeat for 0.1 s"}
    assert health.down_for(["x"]) > 0
    waiting[0](None, "it died")
    waiting[0](None, "it died")
    assert told[1:] == ["it died True"]
    waiting[0]("a", "")
    assert told[2:] == ["up"]
    health.close()

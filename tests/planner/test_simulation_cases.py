"""The simulator on cases small enough to work out by hand: fixed services and given arrivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from planner.placement.demand import Demand
from planner.simulation import Conditions, Played, Simulation
from planner.simulation.arrivals import Poisson, Recorded
from planner.simulation.faults import Fault, parse_fault
from planner.simulation.tables import ANSWERED, FAILED, REFUSED
from specs.errors import InputError
from tests.planner.networks import Server, chain
from tests.planner.worlds import world


def play(
    servers: Mapping[str, Server],
    arrivals: Sequence[float],
    *,
    faults: tuple[Fault, ...] = (),
    limit: int | None = None,
    deadline: float = float("inf"),
    members: Sequence[int] | None = None,
    **more: Any,
) -> Played:
    """Requests at these times (at these members), all of them counted."""
    situation, layout = chain(servers, 1.0, members=max(members or [0]) + 1, **more)
    rows = tuple((t, "here", m) for t, m in zip(arrivals, members or [0] * len(arrivals), strict=True))
    under = Conditions({"src": Recorded({"src": rows}, situation.flows, Poisson())}, faults, limit, deadline, 0.0)
    return Simulation(layout, Demand(situation), 1, under).play(1000.0)


def ends(played: Played) -> list[float]:
    """Seconds from start to end of each request, in the order of their arrival; -1 where it was not answered."""
    flow = played.flows["src@here"]
    return [round(float(t), 4) if s == ANSWERED else -1 for t, s in zip(flow.ends["end"], flow.status, strict=True)]


def statuses(played: Played) -> list[int]:
    return [int(s) for s in played.flows["src@here"].status]


def test_replicas_draw_from_one_queue() -> None:
    """Three come at once to two servers: the third waits for the first that is free, whichever that is."""
    assert ends(play({"a": Server([2.0], replicas=2)}, [0, 0.5, 1.0, 5.0])) == [2.0, 2.0, 3.0, 2.0]


def test_a_full_batch_leaves_at_once_and_another_waits_for_its_time() -> None:
    """Batches of 2 that wait 1 s: two at 0 and 0.4 leave at 0.4; one at 5 leaves alone at 6; each takes 2 s."""
    assert ends(play({"a": Server([2.0], batch=2, batch_wait_ms=1000)}, [0, 0.4, 5.0])) == [2.4, 2.0, 3.0]


def test_a_batch_that_may_not_wait_takes_what_is_there() -> None:
    """The first leaves alone; three wait until 2: two of them leave, and the last at 4."""
    assert ends(play({"a": Server([2.0], batch=2)}, [0, 0.5, 0.6, 0.7])) == [2.0, 3.5, 3.4, 5.3]


def test_a_batch_whose_time_is_up_leaves_when_a_server_is_free() -> None:
    """One leaves at 1, done at 4. The item of 1.5 could leave alone from 2.5 on; at 4 it goes with that of 3.9."""
    played = play({"a": Server([3.0], batch=2, batch_wait_ms=1000)}, [0, 1.5, 3.9, 4.5])
    assert ends(played) == [4.0, 5.5, 3.1, 5.5]


def test_batches_of_several_replicas_leave_one_after_another() -> None:
    """Two full batches start on two servers at 0.1 and 0.3; a third batch waits until 2.1."""
    played = play({"a": Server([2.0], replicas=2, batch=2, batch_wait_ms=9000)}, [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert ends(played) == [2.1, 2.0, 2.1, 2.0, 3.7, 3.6]


def test_an_executor_goes_on_with_the_request_that_it_has() -> None:
    """Two stages on one device that shares its time: the second request begins when the first is through both."""
    assert ends(play({"a": Server([1.0]), "b": Server([2.0])}, [0, 0.1], sharing="time")) == [3.0, 5.9]
    assert ends(play({"a": Server([1.0]), "b": Server([2.0])}, [0, 0.1])) == [3.0, 4.9]


def test_a_request_that_comes_back_to_an_executor_waits_behind_those_who_came_meanwhile() -> None:
    """a and c share a device, b is elsewhere: while b has the first request, the second's a comes first."""
    servers = {"a": Server([1.0]), "b": Server([0.5], site="there"), "c": Server([1.0])}
    assert ends(play(servers, [0, 0.9], sharing="time")) == [3.0, 3.1]


def test_a_join_waits_for_the_slower_branch_on_one_device_one_after_the_other() -> None:
    inputs = {"a": {"x": "src.v"}, "b": {"x": "src.v"}, "c": {"x": "a.out", "y": "b.out"}}
    servers = {"a": Server([1.0]), "b": Server([2.0]), "c": Server([0.5])}
    assert ends(play(servers, [0.0], inputs=inputs)) == [2.5]
    assert ends(play(servers, [0.0], inputs=inputs, sharing="time")) == [3.5]


def test_messages_hold_each_link_in_turn_and_travel_on() -> None:
    """100 bytes at 100 B/s take 1 s of the line, then 0.25 s on the way; the answer takes as long."""
    link = {"rate": "100 B/s", "delay": "250 ms"}
    servers = {"a": Server([0.5], site="there")}
    assert ends(play(servers, [0, 0], link=link, payload=100.0)) == [3.0, 4.0]


def test_members_share_the_rate_of_their_parent_but_not_their_own_line() -> None:
    up = {"rate": "100 B/s", "shared": {"by": "there", "rate": "200 B/s"}}
    link = {"rate": None, "up": up, "down": {"rate": "1 GB/s"}}
    servers = {"a": Server([1e-9], replicas=9, site="there")}
    assert ends(play(servers, [0, 0], members=[0, 1], link=link, payload=100.0)) == [1.5, 2.0]
    assert ends(play(servers, [0, 0], members=[0, 0], link=link, payload=100.0)) == [1.5, 2.5]


def test_a_full_queue_refuses_and_a_passed_deadline_fails() -> None:
    played = play({"a": Server([1.0])}, [0, 0.1, 0.2, 0.3], limit=2)
    assert statuses(played) == [ANSWERED, ANSWERED, ANSWERED, REFUSED]
    played = play({"a": Server([1.0])}, [0, 0.1, 0.2, 0.3], deadline=1.5)
    assert statuses(played) == [ANSWERED, FAILED, FAILED, FAILED]
    assert ends(play({"a": Server([1.0])}, [0, 0.1, 0.2, 5], deadline=1.9)) == [1.0, 1.9, -1, 1.0]


def test_a_link_that_is_down_makes_messages_wait() -> None:
    """The message has half of its second when the line goes down at 0.5, and the rest from 3 on."""
    link = {"rate": "100 B/s"}
    down = Fault("link", "wire", None, 0.0, 0.5, 3.0)
    servers = {"a": Server([1.0], site="there")}
    assert ends(play(servers, [0, 10], link=link, payload=100.0, faults=(down,))) == [5.5, 3.0]
    slow = Fault("link", "wire", None, 0.5, 0.5, float("inf"))
    assert ends(play(servers, [0], link=link, payload=100.0, faults=(slow,))) == [4.5]


def test_a_site_that_is_down_loses_what_it_holds_and_cannot_be_reached() -> None:
    """One is in service and one waits at 1; one comes at 2; one comes when it is back."""
    down = Fault("site", "there", None, 0.0, 1.0, 3.0)
    servers = {"a": Server([2.0], site="there")}
    played = play(servers, [0.5, 0.6, 2.0, 3.5], faults=(down,))
    assert statuses(played) == [FAILED, FAILED, FAILED, ANSWERED]
    assert ends(played)[-1] == 2.0


def test_a_join_at_a_site_that_was_down_has_forgotten_what_it_held() -> None:
    inputs = {"a": {"x": "src.v"}, "b": {"x": "a.out", "y": "src.v"}}
    servers = {"a": Server([2.0]), "b": Server([1.0], site="there")}
    down = Fault("site", "there", None, 0.0, 1.0, 1.5)
    assert statuses(play(servers, [0.0, 1.6], inputs=inputs, faults=(down,))) == [FAILED, ANSWERED]


def test_one_member_may_be_down_alone_and_sends_nothing() -> None:
    down = Fault("site", "here", 0, 0.0, 1.0, 3.0)
    played = play({"a": Server([1.0])}, [2.0, 2.0, 4.0], members=[0, 1, 0], faults=(down,))
    assert sorted(statuses(played)) == [ANSWERED, ANSWERED, 4]


def test_a_slow_site_takes_longer_from_then_on() -> None:
    """Of 2 s, 1 s is done when it goes at half its speed: the rest takes 2 s."""
    slow = Fault("site", "here", None, 0.5, 1.0, float("inf"))
    assert ends(play({"a": Server([2.0])}, [0, 10], faults=(slow,))) == [3.0, 4.0]


def test_faults_read_as_they_are_written() -> None:
    infra = world(1).infra.value
    assert parse_fault("site base down 10s..40s", infra) == Fault("site", "base", None, 0.0, 10.0, 40.0)
    assert parse_fault("link radio down 500ms..6s", infra) == Fault("link", "radio", None, 0.0, 0.5, 6.0)
    assert parse_fault("site edge-0 slow 0.5 1min..", infra) == Fault("site", "edge", 0, 0.5, 60.0, float("inf"))
    for text, why in (
        ("site bse down 1s..2s", "did you mean 'base'"),
        ("site base down 2s..1s", "ends before it begins"),
        ("site base slow 2 1s..", "above 0 and up to 1"),
        ("site base slow .. 1s..", "above 0 and up to 1"),
        ("site edge-99 down 1s..", "members, counted from 0"),
        ("link radio down 1..2", "a unit such as .* without one"),
        ("link radio", "expected a fault such as"),
    ):
        with pytest.raises(InputError, match=why):
            parse_fault(text, infra)


def test_nothing_is_lost_or_counted_twice_whatever_fails() -> None:
    """Every request ends in exactly one way, under overload, faults and full queues at once."""
    faults = (Fault("site", "there", None, 0.0, 100.0, 200.0), Fault("link", "wire", None, 0.0, 300.0, 320.0))
    random = np.random.default_rng(5)
    times = np.sort(random.uniform(0, 900, 3000)).tolist()
    servers = {"a": Server([0.2, 0.5]), "b": Server([0.25], replicas=2, batch=3, site="there", batch_wait_ms=50)}
    played = play(servers, times, faults=faults, limit=5, deadline=8.0, payload=10.0, sharing="time")
    status = played.flows["src@here"].status
    assert len(status) == 3000
    assert set(status.tolist()) <= {ANSWERED, REFUSED, FAILED}
    assert all((status == s).sum() > 20 for s in (ANSWERED, REFUSED, FAILED))

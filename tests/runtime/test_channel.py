"""Messages between hosts by ZeroMQ: each arrives once and in order, whatever connections do, and only among members."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.channel import UNSENDABLE
from runtime.channel.window import REMEMBER, Inbox, Outbox, Parcel
from runtime.channel.zeromq import LONGEST, Secret, ZeroMQChannel
from runtime.message import Message
from tests.runtime.processes import until

FAR = float("inf")


def message(name: str, deadline: float = FAR, **values: Any) -> Message:
    return Message("values", name, "flow", "here", "there", deadline, values=values)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    window=st.integers(1, 60),
    luck=st.lists(st.booleans(), max_size=200),
)
def test_a_window_over_a_line_that_loses_delivers_all_once_and_in_order(
    sizes: list[int], window: int, luck: list[bool]
) -> None:
    outbox, inbox, got, on_the_way = Outbox(window), Inbox(), [], 0
    fates = iter(luck)  # True: that word is lost; once they are used up, none is
    for number, size in enumerate(sizes):
        outbox.add(Parcel(message(str(number)), [bytes(size)], size))
    for _ in range(len(sizes) + len(luck) + 1):
        sent = list(outbox.to_send())
        on_the_way = max(on_the_way, sum(p.size for _, p in sent) if len(sent) > 1 else 0)
        for number, parcel in sent:
            if not next(fates, False) and inbox.take(b"s", number, outbox.oldest) == "new":
                got.append(parcel.message.request)
        if not next(fates, False):  # the sender's word of where it stands, and the answer
            outbox.go_back(inbox.expected(b"s", outbox.oldest))
    assert got == [str(n) for n in range(len(sizes))]
    assert len(outbox) == 0
    assert on_the_way <= window


def test_what_is_past_its_deadline_is_dropped_and_does_not_hold_up_the_rest() -> None:
    outbox, inbox = Outbox(10), Inbox()
    for number, deadline in enumerate((1.0, FAR, 1.0, FAR)):
        outbox.add(Parcel(message(str(number), deadline), [b"12345"], 5))
    assert [n for n, _ in outbox.to_send()] == [0, 1]  # and both are lost
    assert [m.request for m in outbox.expire(2.0)] == ["2", "0"]
    assert inbox.expected(b"s", outbox.oldest) == 1
    outbox.go_back(1)
    assert [(n, p.message.request, inbox.take(b"s", n, 1)) for n, p in outbox.to_send()] == [
        (1, "1", "new"),
        (2, "3", "new"),
    ]


class Ends:
    """Two channels; what came to the second, and what the first could not deliver."""

    def __init__(self, secret: Secret, other: Secret | None = None) -> None:
        self.a, self.b = ZeroMQChannel("127.0.0.1", other or secret), ZeroMQChannel("127.0.0.1", secret)
        self.came: list[Message] = []
        self.undelivered: list[tuple[str, str, str]] = []

    def start(self, way: str = "") -> None:
        ends = {"b": way or self.b.endpoint}
        self.a.connect(ends.get, lambda m, msg, why: self.undelivered.append((m, msg.request, why)))
        self.b.connect(lambda _: None, lambda *_: None)
        self.b.start(self.came.append)
        self.a.start(lambda _: None, {"b": 1_000_000})

    def close(self) -> None:
        self.a.close()
        self.b.close()


@pytest.mark.parametrize("encrypted", [False, True])
def test_values_arrive_as_they_were_sent(encrypted: bool) -> None:
    ends = Ends(Secret.new(encrypted=encrypted))
    with contextlib.closing(ends):
        ends.start()
        array = np.arange(300_000, dtype=np.float32).reshape(3, -1)
        ends.a.send("b", message("1", x=array, y=b"\x00jpeg", z="text", n=np.float64(2.5)))
        assert until(lambda: len(ends.came) == 1, 60)
        values = ends.came[0].values
        np.testing.assert_array_equal(values["x"], array)
        assert (values["y"], values["z"], float(values["n"])) == (b"\x00jpeg", "text", 2.5)
        ends.a.send("nobody", message("2"))
        assert until(lambda: ends.undelivered == [("nobody", "2", "no host for nobody")], 60)


@pytest.mark.parametrize("encrypted", [False, True])
def test_who_has_another_secret_is_not_let_in(encrypted: bool) -> None:
    ends = Ends(Secret.new(encrypted=encrypted), Secret.new(encrypted=encrypted))
    with contextlib.closing(ends):
        ends.start()
        ends.a.send("b", message("1", time.monotonic() + 1.0))
        assert until(lambda: bool(ends.undelivered), 60)
        assert (ends.came, ends.undelivered[0][:2]) == ([], ("b", "1"))


def test_what_cannot_be_sent_is_told_at_once_and_does_not_hold_up_the_rest(ends: Ends) -> None:
    """A value that no peer would take (its memory is never touched), and one that cannot be written."""
    ends.start()
    ends.a.send("b", message("large", x=np.zeros(LONGEST + 1, np.uint8)))
    ends.a.send("b", message("odd", x="\ud800"))
    ends.a.send("b", message("small", x=b"1"))
    assert until(lambda: bool(ends.came), 60)
    assert [m.request for m in ends.came] == ["small"]
    assert [request for _, request, _ in ends.undelivered] == ["large", "odd"]
    assert "too large" in ends.undelivered[0][2]
    assert all(why.startswith(UNSENDABLE) for _, _, why in ends.undelivered)


def test_a_peer_that_heartbeats_reached_before_gets_what_is_sent_in_advance(ends: Ends) -> None:
    ends.start()
    pulses: list[str | None] = []
    ends.a.beat("b", lambda incarnation, _: pulses.append(incarnation))
    assert until(lambda: bool(pulses), 10)
    ends.a.near({"b": 1000})
    assert until(lambda: ends.a._peers["b"].to_open == 0, 10)


def test_a_channel_that_is_closed_writes_to_no_file_that_was_opened_since() -> None:
    """The system gives the numbers of closed files to those that are opened next."""
    channel = ZeroMQChannel("127.0.0.1", Secret.new(encrypted=False))
    channel.connect(lambda _: "tcp://127.0.0.1:1", lambda *_: None)
    channel.start(lambda _: None)
    channel.close()
    pairs = [socket.socketpair() for _ in range(20)]
    channel.give_up("b", "it died")
    ends = [end for pair in pairs for end in pair]
    readable, _, _ = select.select(ends, [], [], 0)
    for end in ends:
        end.close()
    assert not readable


def test_what_the_dead_may_not_have_handled_is_told_at_once(ends: Ends) -> None:
    ends.start("tcp://127.0.0.1:1")  # where nobody listens
    ends.a.send("b", message("1"))
    ends.a.give_up("b", "it died")
    assert until(lambda: ends.undelivered == [("b", "1", "it died")], 60)
    ends.a.send("b", message("2"))
    assert ends.undelivered[1:] == [("b", "2", "it died")]


def test_a_peer_that_lives_gives_a_sign_and_always_the_same_and_a_dead_one_none(ends: Ends) -> None:
    signs: list[tuple[str | None, str]] = []
    ends.start()
    for _ in range(2):
        ends.a.beat("b", lambda incarnation, reason: signs.append((incarnation, reason)))
    assert until(lambda: len(signs) == 2, 60)
    assert signs[0] == signs[1]
    assert signs[0][0]
    ends.a.give_up("b", "it died")
    ends.a.beat("b", lambda incarnation, reason: signs.append((incarnation, reason)))
    assert signs[2] == (None, "it died")


def test_what_several_threads_send_at_once_arrives_once_and_in_the_order_of_each(ends: Ends) -> None:
    """Some of it leaves in their threads, some in that of the channel, which beats meanwhile."""
    ends.start()

    def send(thread: int) -> None:
        for number in range(100):
            ends.a.send("b", message(f"{thread}/{number}", x=bytes(number * 100)))
            if number % 9 == 0:
                ends.a.beat("b", lambda *_: None)

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert until(lambda: len(ends.came) >= 400, 60)
    for n in range(4):
        assert [m.request for m in ends.came if m.request.startswith(f"{n}/")] == [f"{n}/{i}" for i in range(100)]
    assert len(ends.came) == 400
    assert not ends.undelivered


class Restarted:
    """A process that dies and is started again: each time it listens at another port, and remembers nothing."""

    def __init__(self) -> None:
        self.secret = Secret.new(encrypted=False)
        self.sender = ZeroMQChannel("127.0.0.1", self.secret)
        self.lives: list[ZeroMQChannel] = []
        self.came: list[list[str]] = []
        self.undelivered: list[tuple[str, str]] = []
        self.sender.connect(
            lambda name: self.lives[-1].endpoint if self.lives and name == "b" else None,
            lambda _, msg, why: self.undelivered.append((msg.request, why)),
        )
        self.sender.start(lambda _: None)

    def live(self, *, handles: bool = True) -> None:
        """One that does not handle what comes is there, but still loads."""
        channel, came = ZeroMQChannel("127.0.0.1", self.secret), list[str]()
        self.lives.append(channel)
        self.came.append(came)
        channel.connect(lambda _: None, lambda *_: None)
        if handles:
            channel.start(lambda m: came.append(m.request))

    def sign(self) -> str | None:
        """The incarnation that answers, or None where none can."""
        signs: list[str | None] = []
        self.sender.beat("b", lambda incarnation, _: signs.append(incarnation))
        assert until(lambda: bool(signs), 60)
        return signs[0]

    def close(self) -> None:
        for channel in (self.sender, *self.lives):
            channel.close()


def test_one_that_died_is_told_at_once_and_the_next_is_found_where_it_listens() -> None:
    with contextlib.closing(Restarted()) as ends:
        assert ends.sign() is None
        ends.live()
        first = ends.sign()
        ends.sender.send("b", message("1"))
        assert until(lambda: ends.came == [["1"]], 60)
        ends.lives[0].close()
        assert ends.sign() is None
        ends.sender.send("b", message("2"))
        assert until(lambda: ("2", "its process has died") in ends.undelivered, 60)
        ends.live()
        assert ends.sign() not in (None, first)
        ends.sender.send("b", message("3"))
        assert until(lambda: ends.came == [["1"], ["3"]], 60)


def test_what_one_that_died_may_have_had_is_told_and_not_given_to_the_next() -> None:
    """It was on its way, not acknowledged, when the process died; the next was there before anybody noticed."""
    with contextlib.closing(Restarted()) as ends:
        ends.live()
        assert ends.sign()
        ends.live(handles=False)  # from here on the sender looks there
        ends.sender.send("b", message("1"))
        assert until(lambda: ends.came[0] == ["1"], 60)
        ends.lives[0].close()  # before its acknowledgement
        ends.sender.send("b", message("2"))
        ends.lives[1].start(lambda m: ends.came[1].append(m.request))
        assert ends.sign()
        known = {request: why for request, why in ends.undelivered}
        assert known["1"] == "it died and was started again"
        assert set(known) | set(ends.came[1]) == {"1", "2"}
        assert "1" not in ends.came[1]


def test_any_number_of_senders_is_remembered_and_one_that_is_silent_for_long_forgotten() -> None:
    now = 0.0
    inbox = Inbox(lambda: now)
    sessions = [str(n).encode() for n in range(3000)]
    assert {inbox.take(session, 0, 0) for session in sessions} == {"new"}
    assert {inbox.take(session, 0, 0) for session in sessions} == {"seen"}
    now = REMEMBER + 1.0
    assert inbox.take(b"later", 0, 0) == "new"
    assert len(inbox) == 1


class Relay:
    """A TCP relay whose connections can be cut in the middle of what they carry."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._pairs.append((near, far))
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    @staticmethod
    def _copy(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(10_000):
                other.sendall(data)

    def cut(self) -> None:
        while self._pairs:
            for end in self._pairs.pop():
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()


@pytest.fixture
def ends() -> Iterator[Ends]:
    found = Ends(Secret.new(encrypted=False))
    yield found
    found.close()


def test_messages_arrive_once_and_in_order_though_their_connection_is_cut_again_and_again(ends: Ends) -> None:
    relay = Relay(int(ends.b.endpoint.rpartition(":")[2]))
    with contextlib.closing(relay):
        ends.start(relay.endpoint)
        for number in range(60):
            ends.a.send("b", message(str(number), x=bytes(50_000)))
            if number % 15 == 14:
                time.sleep(0.03)
                relay.cut()
        assert until(lambda: len(ends.came) >= 60, 60)
        assert [m.request for m in ends.came] == [str(n) for n in range(60)]
        assert not ends.undelivered

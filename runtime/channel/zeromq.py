"""Messages over ZeroMQ, from host to host. What ZeroMQ must be told is in this file.

A message is a ZeroMQ message of several frames: the word of `_WORD`, the JSON header, and each value as it lies in
memory. All hosts of a run share a secret, and who does not have it is let in nowhere. Connections are encrypted where
they leave the machine (CURVE, RFC 26/CurveZMQ); that takes 2 ms of processor time for 1 MB, so within a machine the
secret is a password (PLAIN, RFC 23). What is lost with a connection is sent again (`runtime.channel.window`).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import zmq

from runtime.channel import OnError
from runtime.channel.window import Inbox, Outbox, Parcel
from runtime.health import OnPulse
from runtime.message import Message, frames, from_frames

WINDOW: Final = 64_000_000
"""Bytes for one peer that are on their way or not yet acknowledged: 1 Gbit/s over 500 ms."""
BEAT: Final = 0.5
"""Seconds between words of where a sender stands, which the peer answers."""
ACKNOWLEDGE: Final = 4_000_000
"""After so many bytes the receiver acknowledges without being asked."""
LONGEST: Final = 1 << 30
"""Bytes of a frame; a connection that brings more is closed."""
BROKEN_AFTER: Final = 4000
"""Milliseconds without progress of TCP after which a connection is given up for another one."""
RECONNECT: Final = (50, 1000)
"""Milliseconds to wait before another connection, at first and at most."""
DOMAIN: Final = b"tierplan"

_WORD: Final = struct.Struct("<c8sQQ")
"""Kind, session, number, and the oldest number that the sender may still send (from sender to receiver)."""
_DATA, _BEAT, _PAD, _ACK, _AGAIN, _ASK, _PULSE = b"D", b"B", b"P", b"A", b"G", b"Q", b"U"
_LOG: Final = logging.getLogger(__name__)

Deliver = Callable[[Message], None]


@dataclass(frozen=True, slots=True)
class Secret:
    """A CURVE key pair (Z85 text) that the hosts of one run share; where not `encrypted`, a password."""

    public: bytes
    private: bytes = field(repr=False)
    encrypted: bool

    @staticmethod
    def new(*, encrypted: bool) -> Secret:
        return Secret(*zmq.curve_keypair(), encrypted)


class _Peer:
    """The way to one other host."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self.outbox = Outbox(WINDOW)
        self.session = os.urandom(8)
        self.heard = time.monotonic()
        self.pulses: list[OnPulse] = []


class ZeroMQChannel:
    """Listens from construction; `connect`, then `start`. One thread has all sockets; the others leave messages to it.

    `send` may be called from any thread and never waits.
    """

    def __init__(self, address: str, secret: Secret) -> None:
        """Listen at `address`, on a free port. Raises zmq.ZMQError where that is not possible."""
        self._secret = secret
        self._context = zmq.Context()
        self._authenticator = _authenticator(self._context, secret)
        self._listener = self._socket(zmq.ROUTER)
        self._listener.zap_domain = DOMAIN
        if secret.encrypted:
            self._listener.curve_server = True
        else:
            self._listener.plain_server = True
        self._listener.maxmsgsize = LONGEST
        self._listener.bind(f"tcp://{address}:*")
        self.endpoint = bytes(self._listener.last_endpoint).decode()  # type: ignore[arg-type]
        self._ends: dict[str, str] = {}
        self._on_error: OnError = lambda member, message, reason: None
        self._deliver: Deliver | None = None
        self._openings: dict[str, int] = {}
        self._peers: dict[str, _Peer] = {}
        self._dead: dict[str, str] = {}
        self._incarnation = os.urandom(8).hex()
        self._by_socket: dict[Any, str] = {}
        self._inbox = Inbox()
        self._unacknowledged: dict[bytes, int] = {}
        self._asked: deque[tuple[str, Message | OnPulse | None]] = deque()
        self._awake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._waking = threading.Lock()
        self._open, self._released = True, False
        self._poller = zmq.Poller()
        self._thread = threading.Thread(target=self._loop, name="channel", daemon=True)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0  # the windows are what limits
        socket.set(zmq.TCP_MAXRT, BROKEN_AFTER)
        socket.set(zmq.CONNECT_TIMEOUT, BROKEN_AFTER)
        socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT
        if self._secret.encrypted:
            socket.curve_publickey, socket.curve_secretkey = self._secret.public, self._secret.private
        return socket

    def connect(self, ends: Mapping[str, str], on_error: OnError) -> None:
        """`ends` are the endpoints of the others; a connection is made when one is first needed."""
        self._ends = dict(ends)
        self._on_error = on_error

    def start(self, deliver: Deliver, to_open: Mapping[str, int] | None = None) -> None:
        """Begin to carry: what comes is given to `deliver`, in one thread. `to_open` are peers to be near from the
        first message on, each with the bytes to send it in advance: TCP starts slowly, and the first message over a
        long link would else need several round trips."""
        self._deliver = deliver
        self._openings = dict(to_open or {})
        self._asked.extend((member, None) for member in self._openings)
        self._thread.start()
        self._stir()

    def send(self, member: str, message: Message) -> None:
        if not self._open or member in self._dead or member not in self._ends:
            known = self._dead.get(member, f"no host for {member}")
            self._on_error(member, message, known if self._open else "the channel is closed")
            return
        self._asked.append((member, message))
        self._stir()

    def beat(self, target: str, on_pulse: OnPulse) -> None:
        """See `runtime.channel.Channel`. Each channel that is opened is another incarnation."""
        if not self._open or target in self._dead or target not in self._ends:
            on_pulse(None, self._dead.get(target, f"no host for {target}") if self._open else "the channel is closed")
            return
        self._asked.append((target, on_pulse))
        self._stir()

    def give_up(self, member: str, reason: str) -> None:
        self._dead[member] = reason
        self._stir()

    def _stir(self) -> None:
        with self._waking:  # once it is released, the descriptor may be another file's
            if not self._released:
                with contextlib.suppress(BlockingIOError):  # it is awake already
                    os.write(self._wake, b".")

    def silence(self) -> dict[str, float]:
        """Seconds since each peer that was sent something was last heard."""
        now = time.monotonic()
        return {member: now - peer.heard for member, peer in list(self._peers.items())}

    def close(self) -> None:
        """Stop. What is on its way may still arrive or not."""
        if not self._open:
            return
        self._open = False
        self._stir()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()
        else:
            self._release()

    # --- the thread

    def _loop(self) -> None:
        self._poller.register(self._awake, zmq.POLLIN)
        self._poller.register(self._listener, zmq.POLLIN)
        next_beat = time.monotonic() + BEAT
        while self._open:
            for end, _ in self._poller.poll(max(0, math.ceil((next_beat - time.monotonic()) * 1e3))):
                try:
                    self._handle(end)
                except Exception:  # a thread that dies would lose all messages after this one
                    _LOG.exception("what came was dropped")
            self._take_asked()
            self._bury()
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + BEAT
                self._beat()
        self._release()

    def _release(self) -> None:
        for peer in self._peers.values():
            peer.socket.close()
        self._listener.close()
        self._authenticator.stop()
        self._context.term()
        with self._waking:
            self._released = True
            os.close(self._wake)
            os.close(self._awake)

    def _handle(self, end: Any) -> None:
        if end == self._awake:
            while _read(self._awake):
                pass
        elif end is self._listener:
            while (parts := _receive(self._listener)) is not None:
                self._come(parts)
        else:
            member = self._by_socket[end]
            while (parts := _receive(end)) is not None:
                self._told(self._peers[member], parts)
            self._flush(self._peers[member])

    def _take_asked(self) -> None:
        touched: dict[str, None] = {}
        while self._asked:
            member, message = self._asked.popleft()
            peer = self._peers.get(member) or self._new_peer(member)
            touched[member] = None
            if message is None:
                _put(peer.socket, [_WORD.pack(_PAD, peer.session, 0, 0), bytes(self._openings[member])])
            elif not isinstance(message, Message):
                peer.pulses.append(message)
                _put(peer.socket, [_WORD.pack(_ASK, peer.session, 0, 0)])
            else:
                self._pack(member, peer, message)
        for member in touched:
            self._flush(self._peers[member])

    def _pack(self, member: str, peer: _Peer, message: Message) -> None:
        """Give `message` to the outbox, or tell why it can never arrive: behind it all others would wait in vain."""
        try:
            parts = frames(message)
        except Exception as error:  # a value from anywhere; the thread must go on
            self._on_error(member, message, f"it cannot be written: {type(error).__name__}: {error}")
            return
        sizes = [len_of(part) for part in parts]
        if max(sizes) > LONGEST:
            self._on_error(member, message, f"a value of {max(sizes)} bytes is too large: at most {LONGEST} are sent")
            return
        peer.outbox.add(Parcel(message, parts, sum(sizes)))

    def _new_peer(self, member: str) -> _Peer:
        socket = self._socket(zmq.DEALER)
        if self._secret.encrypted:
            socket.curve_serverkey = self._secret.public
        else:
            socket.plain_username, socket.plain_password = DOMAIN, self._secret.private
        socket.connect(self._ends[member])
        peer = self._peers[member] = _Peer(socket)
        self._by_socket[socket] = member
        self._poller.register(socket, zmq.POLLIN)
        return peer

    def _flush(self, peer: _Peer) -> None:
        for number, parcel in peer.outbox.to_send():
            _put(peer.socket, [_WORD.pack(_DATA, peer.session, number, peer.outbox.oldest), *parcel.frames])

    def _beat(self) -> None:
        now = time.monotonic()
        for member, peer in self._peers.items():
            for message in peer.outbox.expire(now):
                self._on_error(member, message, "the deadline passed before it was acknowledged")
            _put(peer.socket, [_WORD.pack(_BEAT, peer.session, peer.outbox.end, peer.outbox.oldest)])
            self._flush(peer)

    def _bury(self) -> None:
        """Tell what the dead may not have handled."""
        for member, reason in list(self._dead.items()):
            if (peer := self._peers.get(member)) is not None:
                for message in peer.outbox.clear():
                    self._on_error(member, message, reason)

    def _told(self, peer: _Peer, parts: list[memoryview]) -> None:
        """What a receiver says of what we sent."""
        kind, session, number, _ = _WORD.unpack(parts[0])
        if session != peer.session:
            return
        peer.heard = time.monotonic()
        if kind == _ACK:
            peer.outbox.acknowledge(number)
        elif kind == _AGAIN:
            peer.outbox.go_back(number)
        elif kind == _PULSE:
            asked, peer.pulses = peer.pulses, []
            for on_pulse in asked:
                on_pulse(str(parts[1], "ascii"), "")

    def _come(self, parts: list[memoryview]) -> None:
        """What a sender sent."""
        who, word, *rest = parts
        kind, session, number, oldest = _WORD.unpack(word)
        if kind == _BEAT:
            expected = self._inbox.expected(session, oldest)
            self._answer(who, _ACK if expected >= number else _AGAIN, session, expected)
        elif kind == _ASK:
            _put(self._listener, [who, _WORD.pack(_PULSE, session, 0, 0), self._incarnation.encode()])
        elif kind == _DATA:
            verdict = self._inbox.take(session, number, oldest)
            if verdict == "new":
                assert self._deliver is not None
                self._deliver(from_frames(rest[0], rest[1:]))
                self._count(who, session, number, sum(map(len, rest)))
            elif verdict == "gap":
                self._answer(who, _AGAIN, session, self._inbox.expected(session, oldest))

    def _count(self, who: memoryview, session: bytes, number: int, size: int) -> None:
        held = self._unacknowledged.get(session, 0) + size
        if held >= ACKNOWLEDGE:
            self._answer(who, _ACK, session, number + 1)
            held = 0
        self._unacknowledged[session] = held

    def _answer(self, who: memoryview, kind: bytes, session: bytes, number: int) -> None:
        self._unacknowledged[session] = 0
        _put(self._listener, [who, _WORD.pack(kind, session, number, 0)])


def len_of(part: bytes | memoryview) -> int:
    """Bytes of a buffer, whatever its elements are."""
    return part.nbytes if isinstance(part, memoryview) else len(part)


def _put(socket: zmq.Socket[bytes], parts: Sequence[bytes | memoryview]) -> None:
    """Send, or let it be lost where there is no connection and none is being made: the window sees to it."""
    with contextlib.suppress(zmq.Again):
        socket.send_multipart(parts, zmq.NOBLOCK, copy=False)


def _receive(socket: zmq.Socket[bytes]) -> list[memoryview] | None:
    try:
        return [frame.buffer for frame in socket.recv_multipart(zmq.NOBLOCK, copy=False)]
    except zmq.Again:
        return None


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except BlockingIOError:
        return b""


def _authenticator(context: zmq.Context[Any], secret: Secret) -> Any:
    """Lets in who has the secret (ZAP, RFC 27)."""
    from zmq.auth.thread import ThreadAuthenticator

    class Members:
        def callback(self, domain: str, key: bytes) -> bool:
            return key == secret.public

    found = ThreadAuthenticator(context)
    found.start()
    if secret.encrypted:
        found.configure_curve_callback(DOMAIN.decode(), credentials_provider=Members())
    else:
        found.configure_plain(DOMAIN.decode(), {DOMAIN.decode(): secret.private.decode()})
    return found

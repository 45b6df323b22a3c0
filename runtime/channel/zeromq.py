"""Messages over ZeroMQ, from host to host. What ZeroMQ must be told is in this file.

A message is a ZeroMQ message of several frames: the word of `_WORD` with the header, and each value as it lies in
memory. To a peer that is connected it leaves in the thread that sends it: a thread between them would have to wake up.

All hosts of a run share a secret, and who does not have it is let in nowhere. Connections are encrypted where they
leave the machine (CURVE, RFC 26/CurveZMQ); that takes 2 ms of processor time for 1 MB, so within a machine the secret
is a password (PLAIN, RFC 23).

A connection that breaks is made anew to where the peer listens by then. Before anything else the sender says where it
stands, and the peer, who it is: the same process gets what was lost with the connection once more
(`runtime.channel.window`); of one that has died, and may have been started again, each message that was not
acknowledged is told to have failed, for nobody knows what became of it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import zmq

from runtime.channel import UNSENDABLE, OnError, OnPulse
from runtime.channel.probe import Probe
from runtime.channel.window import Inbox, Outbox, Parcel
from runtime.message import Message, frames, from_frames

WINDOW: Final = 64_000_000
"""Bytes for one peer that are on their way or not yet acknowledged: 1 Gbit/s over 500 ms."""
BEAT: Final = 0.5
"""Seconds between words of where a sender stands, which the peer answers."""
ACKNOWLEDGE: Final = 4_000_000
"""After so many bytes the receiver acknowledges without being asked."""
COPIED: Final = 1 << 18
"""Bytes of a frame up to which it is copied: that costs less than to wake the thread which lets go of what is not."""
LONGEST: Final = 1 << 30
"""Bytes of a frame; a connection that brings more is closed."""
BROKEN_AFTER: Final = 4000
"""Milliseconds without progress of TCP after which a connection is given up for another one."""
KEEPALIVE: Final = 60
"""Seconds of silence after which TCP asks whether the other end is there: one that was cut off leaves its socket."""
DOMAIN: Final = b"tierplan"

_WORD: Final = struct.Struct("<c8sQQ")
"""Kind, session, number; then the oldest number that the sender may still send or, from a receiver, its incarnation."""
_DATA, _BEAT, _PAD, _ACK, _AGAIN, _ASK, _PULSE = b"D", b"B", b"P", b"A", b"G", b"Q", b"U"
_NOW: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_LOG: Final = logging.getLogger(__name__)

Deliver = Callable[[Message], None]
Find = Callable[[str], str | None]
"""Where a process listens by now; None where it does not say."""
GONE: Final = "its process has died"


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
    """The way to one other process: `probe` while it is not known whether it is there, then `socket` and `monitor`.

    `greeted` once it has answered on this connection, `broken` while another one is wanted, not before `try_at`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.outbox = Outbox(WINDOW)
        self.session = os.urandom(8)
        self.pulses: list[OnPulse] = []
        self.incarnation = 0
        self.probe: Probe | None = None
        self.socket: zmq.Socket[bytes] | None = None
        self.monitor: zmq.Socket[bytes] | None = None
        self.greeted = self.broken = False
        self.to_open = 0
        self.try_at = 0.0


class ZeroMQChannel:
    """Listens from construction; `connect`, then `start`. One thread makes connections and hears what comes.

    `send` may be called from any thread and never waits for a peer. Who uses peers and their sockets holds the lock,
    and calls nobody outside meanwhile; the listener is the one thread's alone.
    """

    def __init__(self, address: str, secret: Secret, port: int = 0) -> None:
        """Listen at `address`, on that port or (0) a free one. Raises zmq.ZMQError where that is not possible."""
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
        try:
            self._listener.bind(f"tcp://{address}:{port or '*'}")
        except zmq.ZMQError:
            self._listener.close()
            self._authenticator.stop()
            self._context.term()
            raise
        self.endpoint = bytes(self._listener.last_endpoint).decode()  # type: ignore[arg-type]
        self._find: Find = lambda member: None
        self._on_error: OnError = lambda member, message, reason: None
        self._deliver: Deliver | None = None
        self._peers: dict[str, _Peer] = {}
        self._dead: dict[str, str] = {}
        self._incarnation = int.from_bytes(os.urandom(8), "little") or 1
        self._watched: dict[int, Callable[[], None]] = {}
        self._inbox = Inbox()
        self._asked: deque[tuple[str, Parcel | OnPulse | int]] = deque()
        self._unheard: set[_Peer] = set()
        self._to_tell: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waking = threading.Lock()
        self._open, self._released = True, False
        self._poller = select.epoll()
        self._thread = threading.Thread(target=self._loop, name="channel", daemon=True)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.copy_threshold = COPIED
        socket.sndhwm = socket.rcvhwm = 0  # the windows are what limits
        socket.set(zmq.TCP_MAXRT, BROKEN_AFTER)
        socket.set(zmq.CONNECT_TIMEOUT, BROKEN_AFTER)
        socket.reconnect_ivl = -1  # the peer may listen elsewhere by then
        socket.tcp_keepalive, socket.tcp_keepalive_idle = 1, KEEPALIVE
        if self._secret.encrypted:
            socket.curve_publickey, socket.curve_secretkey = self._secret.public, self._secret.private
        return socket

    def connect(self, find: Find, on_error: OnError) -> None:
        """`find` says where the others listen; it is asked for each connection, when one is first needed."""
        self._find = find
        self._on_error = on_error

    def start(self, deliver: Deliver, to_open: Mapping[str, int] | None = None) -> None:
        """Begin to carry: what comes is given to `deliver`, in one thread. `to_open` are peers to be near from the
        first message on, each with the bytes to send it in advance: TCP starts slowly, and the first message over a
        long link would else need several round trips."""
        self._deliver = deliver
        self._thread.start()
        self.near(to_open or {})

    def near(self, to_open: Mapping[str, int]) -> None:
        """Have connections to members, as far as they are there, before there is anything to send."""
        self._asked.extend(to_open.items())
        self._stir()

    def send(self, member: str, message: Message) -> None:
        if not self._open or member in self._dead:
            self._on_error(member, message, self._dead[member] if self._open else "the channel is closed")
            return
        try:
            parcel = _parcel(message)
        except ValueError as error:  # behind one that can never arrive all others would wait
            self._on_error(member, message, f"{UNSENDABLE}: {error}")
            return
        if not self._sent_now(member, parcel):
            self._asked.append((member, parcel))
            self._stir()

    def _sent_now(self, member: str, parcel: Parcel) -> bool:
        """Whether `parcel` could leave, or wait for the window, without the thread: nothing waits that is before it."""
        with self._lock:
            peer = self._peers.get(member)
            if peer is None or not peer.greeted or self._asked:
                return False
            peer.outbox.add(parcel)
            self._flush(peer)
            return True

    def beat(self, target: str, on_pulse: OnPulse) -> None:
        """See `runtime.channel.Channel`. Each channel that is opened is another incarnation."""
        if not self._open or target in self._dead:
            on_pulse(None, self._dead[target] if self._open else "the channel is closed")
            return
        self._asked.append((target, on_pulse))
        self._stir()

    def give_up(self, member: str, reason: str) -> None:
        self._dead[member] = reason
        self._stir()

    def _stir(self) -> None:
        with self._waking:  # once it is released, the descriptor may be another file's
            if not self._released:
                os.eventfd_write(self._wake, 1)

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
        listener = int(self._listener.fd)
        self._watch(self._wake, select.EPOLLIN, self._wake_up)
        self._poller.register(listener, select.EPOLLIN)
        self._listen()  # what came before is told no more
        next_beat = time.monotonic() + BEAT
        while self._open:
            for end, _ in self._poller.poll(max(0.0, next_beat - time.monotonic())):
                if end == listener:
                    self._listen()
                else:
                    self._do(self._watched.get(end))  # what came before may have ended it
            self._do(self._take_asked)
            self._do(self._bury)
            self._do(self._hear_unheard)
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + BEAT
                self._do(self._beat)
        self._release()

    def _do(self, what: Callable[[], None] | None) -> None:
        """Do it with the lock, and then tell whom it concerns."""
        if what is not None:
            with self._lock:
                self._attempt(what)
        while self._to_tell:
            self._attempt(self._to_tell.popleft())

    @staticmethod
    def _attempt(what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:  # a thread that dies would lose all messages after this one
            _LOG.exception("what came was dropped")

    def _release(self) -> None:
        with self._lock:
            for peer in self._peers.values():
                self._disconnect(peer)
        self._listener.close()
        self._authenticator.stop()
        self._context.term()
        with self._waking:
            self._released = True
            self._poller.close()
            os.close(self._wake)

    def _watch(self, end: int, what: int, handle: Callable[[], None]) -> None:
        self._poller.register(end, what)
        self._watched[end] = handle

    def _forget(self, end: int) -> None:
        if self._watched.pop(end, None) is not None:
            self._poller.unregister(end)

    def _wake_up(self) -> None:
        os.eventfd_read(self._wake)

    def _take_asked(self) -> None:
        touched: dict[str, _Peer] = {}
        while self._asked:
            member, asked = self._asked.popleft()
            peer = self._peers.get(member)
            if peer is None:
                peer = self._peers[member] = _Peer(member)
            touched[member] = peer
            if isinstance(asked, int):
                peer.to_open = asked
                if peer.greeted:  # heartbeats were there before
                    self._open_wide(peer)
            elif isinstance(asked, Parcel):
                peer.outbox.add(asked)
            else:
                peer.pulses.append(asked)
                if peer.greeted:
                    self._put(peer, _ASK)
        for peer in touched.values():
            self._reach(peer)
            self._flush(peer)

    # --- connections

    def _reach(self, peer: _Peer) -> None:
        """Begin to find out whether `peer` is there, where there is no connection and none is being made."""
        if peer.socket is not None or peer.probe is not None or time.monotonic() < peer.try_at:
            return
        endpoint = self._find(peer.name)
        if endpoint is None:
            self._lost(peer, f"no host for {peer.name}")
            return
        probe = peer.probe = Probe(endpoint)
        self._watch(probe.fileno(), select.EPOLLOUT, lambda: self._tried(peer, probe, endpoint))

    def _tried(self, peer: _Peer, probe: Probe, endpoint: str) -> None:
        found = probe.outcome()
        if found is None:
            return
        self._disconnect(peer)
        if found == "there":
            try:
                self._connect(peer, endpoint)
            except Exception:  # no more files, say: once more later
                self._disconnect(peer)
                peer.broken, peer.try_at = True, time.monotonic() + BEAT
                raise
        elif found == "refused":
            self._lost(peer, GONE)
        else:
            peer.broken, peer.try_at = True, time.monotonic() + BEAT

    def _connect(self, peer: _Peer, endpoint: str) -> None:
        socket = peer.socket = self._socket(zmq.DEALER)
        if self._secret.encrypted:
            socket.curve_serverkey = self._secret.public
        else:
            socket.plain_username, socket.plain_password = DOMAIN, self._secret.private
        peer.monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
        self._watch(int(peer.monitor.fd), select.EPOLLIN, lambda: self._see(peer))
        self._watch(int(socket.fd), select.EPOLLIN, lambda: self._hear(peer))
        socket.connect(endpoint)
        self._greet(peer)
        self._see(peer)  # a descriptor shows nothing before the first look

    def _disconnect(self, peer: _Peer) -> None:
        """End the connection, or the try to make one."""
        if peer.probe is not None:
            self._forget(peer.probe.fileno())
            peer.probe.close()
        if peer.monitor is not None and peer.socket is not None:
            self._forget(int(peer.monitor.fd))
            peer.socket.disable_monitor()
            peer.monitor.close(linger=0)
        if peer.socket is not None:
            self._forget(int(peer.socket.fd))
            peer.socket.close()
        peer.probe = peer.monitor = peer.socket = None
        peer.greeted = False

    def _see(self, peer: _Peer) -> None:
        """What the monitor shows, if it is that: its descriptor is ready for ZeroMQ's own words too."""
        if peer.monitor is not None and _has_come(peer.monitor):
            self._broke(peer)

    def _broke(self, peer: _Peer) -> None:
        """A connection has ended: make another at once, unless this one had been good for nothing."""
        peer.broken, peer.try_at = True, 0.0 if peer.greeted else time.monotonic() + BEAT
        self._disconnect(peer)
        self._reach(peer)

    def _lost(self, peer: _Peer, reason: str) -> None:
        """There is no such process any more; where it is asked for again, it may have been started again."""
        self._disconnect(peer)
        peer.broken, peer.try_at, peer.incarnation = False, 0.0, 0
        pulses, peer.pulses = peer.pulses, []
        self._to_tell.extend(partial(on_pulse, None, reason) for on_pulse in pulses)
        self._drop(peer, reason)

    def _drop(self, peer: _Peer, reason: str) -> None:
        self._undelivered(peer, peer.outbox.clear(), reason)

    def _undelivered(self, peer: _Peer, messages: Iterable[Message], reason: str) -> None:
        self._to_tell.extend(partial(self._on_error, peer.name, message, reason) for message in messages)

    def _put(self, peer: _Peer, kind: bytes, number: int = 0, parts: Sequence[bytes | memoryview] = (b"",)) -> None:
        if peer.socket is None:
            return
        head, *values = parts
        _put(peer.socket, [_WORD.pack(kind, peer.session, number, peer.outbox.oldest) + head, *values])
        if _has_come(peer.socket):  # of which sending took the sign
            self._unheard.add(peer)
            self._stir()

    def _flush(self, peer: _Peer) -> None:
        if peer.greeted:
            for number, parcel in peer.outbox.to_send():
                self._put(peer, _DATA, number, parcel.frames)

    def _greet(self, peer: _Peer) -> None:
        """Say where we stand."""
        self._put(peer, _BEAT, peer.outbox.end)

    def _beat(self) -> None:
        now = time.monotonic()
        for peer in list(self._peers.values()):
            late = peer.outbox.expire(now)
            self._undelivered(peer, late, "the deadline passed before it was acknowledged")
            if peer.probe is not None and peer.probe.overdue(now):
                self._disconnect(peer)
                peer.broken = True
            if peer.broken or len(peer.outbox):
                self._reach(peer)
            self._greet(peer)
            self._flush(peer)

    def _bury(self) -> None:
        """Tell what the dead may not have handled."""
        for member, reason in list(self._dead.items()):
            if (peer := self._peers.pop(member, None)) is not None:
                self._lost(peer, reason)

    # --- what comes

    def _hear_unheard(self) -> None:
        while self._unheard:
            self._hear(self._unheard.pop())

    def _hear(self, peer: _Peer) -> None:
        while peer.socket is not None and (parts := _receive(peer.socket)) is not None:
            self._told(peer, parts)
        self._flush(peer)

    def _told(self, peer: _Peer, parts: list[memoryview]) -> None:
        """What a receiver says of what we sent."""
        kind, session, number, incarnation = _WORD.unpack_from(parts[0])
        if session != peer.session:
            return
        if not peer.greeted:
            self._meet(peer, number, incarnation)
        elif kind == _ACK:
            peer.outbox.acknowledge(number)
        elif kind == _AGAIN:
            peer.outbox.go_back(number)
        elif kind == _PULSE:
            self._pulse(peer)

    def _meet(self, peer: _Peer, number: int, incarnation: int) -> None:
        """`peer` has answered on a new connection, and has all before `number` if it is the one that we knew."""
        if peer.incarnation not in (0, incarnation):
            self._drop(peer, "it died and was started again")
        peer.incarnation, peer.greeted, peer.broken = incarnation, True, False
        peer.outbox.go_back(number)
        self._pulse(peer)
        self._open_wide(peer)

    def _open_wide(self, peer: _Peer) -> None:
        """Send in advance what `near` asked for."""
        if peer.to_open:
            self._put(peer, _PAD, 0, [bytes(peer.to_open)])
            peer.to_open = 0

    def _pulse(self, peer: _Peer) -> None:
        pulses, peer.pulses = peer.pulses, []
        self._to_tell.extend(partial(on_pulse, f"{peer.incarnation:016x}", "") for on_pulse in pulses)

    def _listen(self) -> None:
        while (parts := _receive(self._listener)) is not None:
            self._attempt(partial(self._come, parts))

    def _come(self, parts: list[memoryview]) -> None:
        """What a sender sent."""
        who, head, *values = parts
        kind, session, number, oldest = _WORD.unpack_from(head)
        if kind == _BEAT:
            expected = self._inbox.expected(session, oldest)
            self._answer(who, _ACK if expected >= number else _AGAIN, session, expected)
        elif kind == _ASK:
            _put(self._listener, [who, _WORD.pack(_PULSE, session, 0, self._incarnation)])
        elif kind == _DATA:
            verdict = self._inbox.take(session, number, oldest)
            if verdict == "new":
                assert self._deliver is not None
                self._deliver(from_frames(head[_WORD.size :], values))
                if self._inbox.hold(session, sum(map(len, parts))) >= ACKNOWLEDGE:
                    self._answer(who, _ACK, session, number + 1)
            elif verdict == "gap":
                self._answer(who, _AGAIN, session, self._inbox.expected(session, oldest))

    def _answer(self, who: memoryview, kind: bytes, session: bytes, number: int) -> None:
        self._inbox.acknowledged(session)
        _put(self._listener, [who, _WORD.pack(kind, session, number, self._incarnation)])


def _parcel(message: Message) -> Parcel:
    """`message` as it goes on the wire. Raises ValueError where it cannot."""
    try:
        parts = frames(message)
    except Exception as error:  # a value from anywhere
        raise ValueError(f"{type(error).__name__}: {error}") from error
    sizes = [len_of(part) for part in parts]
    if max(sizes) > LONGEST:
        raise ValueError(f"a value of {max(sizes)} bytes is too large: at most {LONGEST} are sent")
    return Parcel(message, parts, sum(sizes))


def len_of(part: bytes | memoryview) -> int:
    """Bytes of a buffer, whatever its elements are."""
    return part.nbytes if isinstance(part, memoryview) else len(part)


def _put(socket: zmq.Socket[bytes], parts: Sequence[bytes | memoryview]) -> None:
    """Send, or let it be lost where there is no connection and none is being made: the window sees to it."""
    *first, last = parts
    with contextlib.suppress(zmq.Again):
        for part in first:
            socket.send(part, _MORE, copy=False)
        socket.send(last, _NOW, copy=False)


def _has_come(socket: zmq.Socket[bytes]) -> bool:
    """Whether there is something to receive: a socket's descriptor only says that it has changed."""
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)


def _receive(socket: zmq.Socket[bytes]) -> list[memoryview] | None:
    parts: list[memoryview] = []
    more = True
    try:
        while more:
            frame = socket.recv(_NOW, copy=False)
            parts.append(frame.buffer)
            more = frame.more
    except zmq.Again:
        return None
    return parts


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

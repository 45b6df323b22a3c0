"""The process that is the network: ``python -m runtime.emulate.emulator`` with what to emulate as JSON on stdin.

It holds the TUN device of every site, reads what is sent, carries it over the links of its route in event time, and
writes it to the device of the site that it is for. Times are logical: who is late reserves the next link for the time
at which the packet was due there. On SIGTERM, or where its folder is gone, it ends, and all sites with it; where the
order says that it is `held`, also once its stdin ends, for whoever holds the other end is gone.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import json
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from runtime.emulate import kernel, tun
from runtime.emulate.link import Line, Server, Step, Train
from runtime.emulate.namespaces import Opened, become_root_of_namespaces, open_site
from runtime.emulate.packet import LONGEST, destination, train_of, train_of_payload
from runtime.emulate.state import CONTROL, HOSTS, STATE, State, process, remove_folder
from runtime.emulate.topology import Host, Network, routes

MOST_HELD: Final = 256_000_000
"""Bytes on their way, of all links together; what comes beyond them is dropped."""
READ_AT_ONCE: Final = 32
"""Packets of one site before others have their turn."""
AWAKE: Final = 2e-4
"""Seconds before something is due in which the processor is not given up: a sleep ends late by about as much."""
LOOK_AROUND: Final = 1.0
"""Seconds between two looks at whether the folder is still there."""
LONGEST_REQUEST: Final = 65_536


class Parcel:
    """A train on its way. `step` is its place in `route`; once all are passed, it is due at `tail`."""

    __slots__ = ("data", "device", "head", "route", "step", "tail", "train")

    def __init__(self, data: bytes, train: Train, device: int, route: tuple[Step, ...], at: float) -> None:
        self.data, self.train, self.device, self.route = data, train, device, route
        self.head = self.tail = at
        self.step = 0


class Background:
    """Traffic that nobody receives: at `rate` a second, a message of one of `payloads` bytes holds a server."""

    __slots__ = ("payloads", "rate", "server")

    def __init__(self, server: Server, rate: float, payloads: Sequence[int]) -> None:
        self.server, self.rate, self.payloads = server, rate, payloads


class Emulator:
    """Carries what the sites send, until it is told to stop."""

    def __init__(self, net: Network, devices: Mapping[str, int], seed: int) -> None:
        self._devices = tuple(devices.values())
        self._lines = _lines(net, random.Random(seed))
        address = {host.name: socket.inet_aton(host.address) for host in net.hosts}
        self._ways = {
            (devices[start], address[end]): (devices[end], tuple(step for i in route for step in self._lines[i].steps))
            for (start, end), route in routes(net).items()
        }
        self._random = random.Random(seed + 1)
        self._heap: list[tuple[float, int, Parcel | Background]] = []
        self._order = itertools.count()
        self._held = 0
        self._late = [0, 0.0, 0.0]
        self._set_trains()

    def advance(self) -> float | None:
        """Move what is due. Returns the seconds until something is, or None where nothing is on its way."""
        heap = self._heap
        now = time.monotonic()
        while heap and heap[0][0] <= now:
            due, _, item = heapq.heappop(heap)
            if isinstance(item, Parcel):
                self._move(item, now - due)
            else:
                self._load(item, due)
            now = time.monotonic()
        return heap[0][0] - now if heap else None

    def _move(self, parcel: Parcel, late: float) -> None:
        if parcel.step == len(parcel.route):
            self._held -= len(parcel.data)
            self._late[0] += 1
            self._late[1] += late
            self._late[2] = max(self._late[2], late)
            with contextlib.suppress(OSError):  # the receiver has no room: as on a wire, it is lost
                os.write(parcel.device, parcel.data)
            return
        times = parcel.route[parcel.step](parcel.head, parcel.tail, parcel.train)
        if times is None:
            self._held -= len(parcel.data)
            return
        parcel.head, parcel.tail = times
        parcel.step += 1
        due = parcel.tail if parcel.step == len(parcel.route) else parcel.head
        heapq.heappush(self._heap, (due, next(self._order), parcel))

    def _load(self, item: Background, at: float) -> None:
        item.server.serve(at, at, train_of_payload(self._random.choice(item.payloads)))
        heapq.heappush(self._heap, (at + self._random.expovariate(item.rate), next(self._order), item))

    def add_background(self, asked: Mapping[str, Any]) -> None:
        """Load the servers of a link, its own or the shared one, that belong to a member at either end."""
        servers = {
            line.shared if asked["shared"] else line.own: None
            for line in self._lines
            if (line.way.link, line.way.direction) == (asked["link"], asked["direction"])
            and asked["member"] in (line.way.start, line.way.end)
        }
        for server in servers:
            if server is not None:
                item = Background(server, asked["rate"], asked["payloads"])
                heapq.heappush(self._heap, (time.monotonic(), next(self._order), item))

    def take(self, device: int, data: bytes) -> None:
        """Start what a site has sent on its way."""
        to = destination(data)
        found = self._ways.get((device, to)) if to is not None else None
        if found is None or self._held + len(data) > MOST_HELD:
            return
        self._held += len(data)
        self._move(Parcel(data, train_of(data), *found, time.monotonic()), 0.0)

    def change(self, link: str, direction: str | None, to: Mapping[str, Any]) -> None:
        """Set what `to` names (delay, jitter, rate, loss, carries) of the link, in one direction or both."""
        now = time.monotonic()
        for line in self._lines:
            if line.way.link == link and direction in (None, line.way.direction):
                if "rate" in to:
                    line.own.set_rate(to["rate"], now)
                for name in {"delay", "jitter", "loss", "carries"} & to.keys():
                    setattr(line, name, to[name])
        self._late = [0, 0.0, 0.0]
        self._set_trains()

    def _set_trains(self) -> None:
        """Where a link loses packets, it must lose single ones."""
        allowed = not any(line.loss for line in self._lines)
        for device in self._devices:
            with contextlib.suppress(OSError):  # a site that was killed
                tun.set_trains(device, allowed)

    def status(self) -> dict[str, Any]:
        delivered, late, latest = self._late
        lines = [
            {
                "link": line.way.link,
                "direction": line.way.direction,
                "start": line.way.start,
                "end": line.way.end,
                "carries": line.carries,
                "delay": line.delay,
                "jitter": line.jitter,
                "rate": line.own.rate,
                "shared": line.way.shared,
                "shared_rate": line.way.shared_rate,
                "loss": line.loss,
                "packets": line.packets,
                "bytes": line.bytes,
                "lost": line.lost,
                "dropped": line.dropped,
            }
            for line in self._lines
        ]
        return {"links": lines, "late": {"mean": late / delivered if delivered else 0.0, "most": latest}}


def _lines(net: Network, rng: random.Random) -> list[Line]:
    shared: dict[str, Server] = {}
    for way in net.ways:
        if way.shared:
            shared.setdefault(way.shared, Server(way.shared_rate))
    return [Line(way, shared.get(way.shared), rng) for way in net.ways]


Take = Callable[[int, bytes], None]
"""What is done with what comes out of a device."""


def switch(net: Network, devices: Mapping[str, int]) -> Take:
    """The control network: what comes out of one of its `devices` goes into another at once."""
    ends = {socket.inet_aton(host.control): devices[host.name] for host in net.hosts if host.control}

    def take(_device: int, data: bytes) -> None:
        to = destination(data)
        if to in ends:
            with contextlib.suppress(OSError):  # the receiver has no room
                os.write(ends[to], data)

    return take


def _read(device: int, take: Take) -> bool:
    """Take what is there, up to a bound. False where the site is gone."""
    for _ in range(READ_AT_ONCE):
        try:
            data = os.read(device, LONGEST)
        except BlockingIOError:  # nothing more
            return True
        except OSError:
            return False
        take(device, data)
    return True


def serve(emulator: Emulator, takes: Mapping[int, Take], control: socket.socket, folder: Path, held: bool) -> None:
    """Take what comes out of devices until SIGTERM, until the folder is gone or, where `held`, until stdin ends."""
    tuns = set(takes)
    holder = {0} if held else set()
    callers: dict[int, socket.socket] = {}
    inode = (folder / STATE).stat().st_ino
    looked = time.monotonic()
    while True:
        due = emulator.advance()
        wait = LOOK_AROUND if due is None else min(max(due - AWAKE, 0.0), LOOK_AROUND)
        ready, _, _ = select.select([*tuns, *holder, control.fileno(), *callers], [], [], wait)
        for descriptor in ready:
            if descriptor in tuns:
                if not _read(descriptor, takes[descriptor]):
                    tuns.discard(descriptor)
            elif descriptor in holder:
                return  # nothing is ever said there
            elif descriptor == control.fileno():
                with contextlib.suppress(OSError):
                    caller, _ = control.accept()
                    caller.setblocking(False)
                    callers[caller.fileno()] = caller
            else:
                with callers.pop(descriptor) as caller:
                    _answer(emulator, caller)
        if time.monotonic() - looked > LOOK_AROUND:
            looked = time.monotonic()
            if not _is_there(folder / STATE, inode):
                return


def _is_there(file: Path, inode: int) -> bool:
    try:
        return file.stat().st_ino == inode
    except OSError:
        return False


def _answer(emulator: Emulator, caller: socket.socket) -> None:
    try:
        asked = json.loads(caller.recv(LONGEST_REQUEST))
        if "set" in asked:
            emulator.change(asked["set"], asked.get("direction"), asked["to"])
        if "background" in asked:
            emulator.add_background(asked["background"])
        answer = emulator.status()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    with contextlib.suppress(OSError):
        caller.sendall(json.dumps(answer).encode())


def _hasten() -> None:
    """Packets are due to a tenth of a millisecond, while sites compute on the same cores: before other work, if we may.

    A process of real time sleeps nearly always here; the kernel leaves others a share even if it did not.
    """
    kernel.set_timer_slack(1)
    gc.disable()  # nothing here makes cycles
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)


def _hosts_text(hosts: tuple[Host, ...]) -> str:
    lines = ["127.0.0.1 localhost", *(f"{host.address} {' '.join(host.names)}" for host in hosts)]
    return "\n".join(lines) + "\n"


def _open_sites(net: Network, folder: Path) -> dict[str, Opened]:
    (folder / HOSTS).write_text(_hosts_text(net.hosts), "ascii")
    (folder / HOSTS).chmod(0o644)
    address = {host.name: host.address for host in net.hosts}
    reachable: dict[str, list[str]] = {host.name: [] for host in net.hosts}
    for start, end in routes(net):
        reachable[start].append(address[end])
    return {host.name: open_site(host, reachable[host.name], str(folder / HOSTS)) for host in net.hosts}


def _listen(folder: Path) -> socket.socket:
    """The path of a socket has 107 characters at most, so it is told by the folder's descriptor."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        control.bind(f"/proc/self/fd/{handle}/{CONTROL}")
    finally:
        os.close(handle)
    control.listen()
    control.setblocking(False)
    return control


def _run(asked: Mapping[str, Any], tell: Any) -> None:
    folder = Path(asked["folder"])
    net = Network.from_json(asked["network"])
    user_namespace = become_root_of_namespaces()
    opened = _open_sites(net, folder)
    control = _listen(folder)
    links = {name: site.tun for name, site in opened.items()}
    controls = {name: site.control for name, site in opened.items() if site.control is not None}
    emulator = Emulator(net, links, asked["seed"])
    takes: dict[int, Take] = dict.fromkeys(links.values(), emulator.take)
    takes |= dict.fromkeys(controls.values(), switch(net, controls))
    sites = {name: process(site.pid) for name, site in opened.items()}
    State(asked["infra"], asked["digest"], user_namespace, net, process(os.getpid()), sites).write(folder)
    _hasten()
    tell({"ready": True})
    serve(emulator, takes, control, folder, asked.get("held", False))


def main() -> int:
    """Emulate until told to end; then nothing is left."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked = json.loads(sys.stdin.readline())

    def tell(what: Mapping[str, Any]) -> None:
        with os.fdopen(os.dup(1), "w") as stdout:
            stdout.write(json.dumps(what) + "\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        try:
            _run(asked, tell)
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
            tell({"error": what})
    remove_folder(Path(asked["folder"]))  # not after a mistake of ours: the log says which
    return 0


if __name__ == "__main__":
    sys.exit(main())

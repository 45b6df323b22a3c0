"""What a hop costs: our channel between two hosts beside a bare ZeroMQ pipe and a bare Ray actor call, by size.

``python -m benchmarks.hops`` writes benchmarks/results/hops.json: on the loopback interface, and over an emulated link
of 20 ms and 1 Gbit/s (Linux with TUN; left out, and said so, where this machine does not allow it). Ours is from the
hand-over to the decoded message, a tensor, at the other host, of which propagation and serialisation are taken off; the
peers are from the call with the same bytes to where they are at the other end. Ours has a second time beside it, of a
message that has passed a shaped link first, whose thread wakes up for it. All alternate in one run, on the same actors.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import zmq

from benchmarks.about import about
from runtime.channel.zeromq import Secret
from runtime.cluster.connection import Connection
from runtime.cluster.keeper import LOOPBACK
from runtime.cluster.local import LocalCluster, Place
from runtime.emulate.attached import AttachedEmulation
from runtime.emulate.namespaces import enter
from runtime.emulate.process import NotAllowed
from runtime.emulate.topology import Host, Network, Way
from runtime.running.hops import GAP, HopProbe
from runtime.topology import OPENING

SIZES: Final = (1_000, 100_000, 1_000_000)
COUNT: Final = 40
RUNS: Final = 3
NODES: Final = ({"site": "a", "tier": "probe"}, {"site": "b", "tier": "probe"})
DELAY: Final = 20e-3
RATE: Final = 125e6
RESULT: Final = Path(__file__).parent / "results" / "hops.json"


class Probe(HopProbe):
    """Sends and takes bare Ray calls, and bare ZeroMQ messages, as well."""

    def __init__(self, address: str, secret: Secret) -> None:
        super().__init__(address, secret)
        self._pull: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._pull.bind(f"tcp://{address}:*")
        self._push: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        while True:
            sent, _ = self._pull.recv_multipart(copy=False)
            self._took.append(time.monotonic() - float(sent.bytes))

    async def pipe(self) -> str:
        """Where the bare pipe ends."""
        return bytes(self._pull.last_endpoint).decode()  # type: ignore[arg-type]

    async def connect_pipe(self, endpoint: str) -> None:
        self._push.connect(endpoint)

    async def bare(self, sent: float, data: bytes) -> None:
        self._took.append(time.monotonic() - sent)

    async def call(self, peer: Any, payload: int, count: int, gap: float) -> None:
        """Call `bare` of `peer` with `payload` bytes, `count` times."""
        data = os.urandom(payload)

        def calls() -> None:
            for _ in range(count):
                peer.bare.remote(time.monotonic(), data)
                time.sleep(gap)
            time.sleep(0.3)

        await asyncio.to_thread(calls)

    async def push(self, payload: int, count: int, gap: float) -> None:
        """Send `payload` bytes through the bare pipe, `count` times."""
        data = os.urandom(payload)

        def sends() -> None:
            for _ in range(count):
                self._push.send_multipart([repr(time.monotonic()).encode(), data], copy=False)
                time.sleep(gap)
            time.sleep(0.3)

        await asyncio.to_thread(sends)


def main() -> int:
    """Measure each case in a process of its own, for Ray stays in the network where it began; write the result."""
    if len(sys.argv) > 1:
        json.dump({"loopback": loopback, "emulated": over_a_link}[sys.argv[1]](), sys.stdout)
        return 0
    rows: list[dict[str, object]] = []
    for case in ("loopback", "emulated"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.hops", case], stdout=subprocess.PIPE, text=True, check=True
        )
        rows += json.loads(done.stdout)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({**about("ray", "pyzmq"), "rows": rows}, indent=1) + "\n", "utf-8")
    return 0


def loopback() -> list[dict[str, object]]:
    """Rows of two nodes on the loopback interface."""
    cluster = LocalCluster(NODES)
    try:
        return _rows("loopback", cluster.wait(), "", (LOOPBACK, LOOPBACK), 0.0, 0.0)
    finally:
        cluster.close()


def over_a_link() -> list[dict[str, object]]:
    """Rows of two nodes with an emulated link between them; none, and a word, where this machine does not allow it."""
    try:
        with emulated() as (first, places):
            enter(first, ("net",))
            cluster = LocalCluster(NODES, places)
            try:
                ends = (places[0].links, places[1].links)
                return _rows("20 ms, 1 Gbit/s", cluster.wait(), places[0].control, ends, DELAY, RATE)
            finally:
                cluster.close()
    except NotAllowed as error:
        print(f"left out: hops over an emulated link: {error}", file=sys.stderr)
        return []


@contextmanager
def emulated() -> Iterator[tuple[int, list[Place]]]:
    """Two sites; Ray's own address is that of the link, so that its calls pass it too."""
    hosts = tuple(Host((name,), name, "probe", f"10.77.0.{n}") for n, name in enumerate(("a", "b"), start=1))
    ways = (Way("trunk", "up", "a", "b", RATE, DELAY), Way("trunk", "down", "b", "a", RATE, DELAY))
    emulation = AttachedEmulation(Network(hosts, ways, {}), 1)
    try:
        emulation.wait()
        first = emulation.first_processes
        yield first["a"], [Place(first[h.name], h.address, h.address) for h in hosts]
    finally:
        emulation.close()


def _rows(
    where: str, address: str, node: str, at: tuple[str, str], delay: float, rate: float
) -> list[dict[str, object]]:
    secret = Secret.new(encrypted=False)
    connection = Connection(address, local=True, node=node)
    try:
        ends = {site: connection.place(site, Probe, own, secret) for site, own in zip(("a", "b"), at, strict=True)}
        connection.call(ends, "open", connection.call(ends, "endpoint"), {"b": OPENING})
        connection.gather({"a": ends["a"].connect_pipe.remote(connection.call(ends, "pipe")["b"])})
        _medians(connection, ends, SIZES[-1])  # connections, caches, and windows of TCP
        return [row for payload in SIZES for row in _of_size(where, connection, ends, payload, delay, rate)]
    finally:
        connection.close()


def _of_size(
    where: str, connection: Connection, ends: dict[str, Any], payload: int, delay: float, rate: float
) -> list[dict[str, object]]:
    samples = [_medians(connection, ends, payload) for _ in range(RUNS)]
    least = delay + (payload / rate if rate else 0.0)
    ours, shaped, pipe, call = (statistics.median(column) - least for column in zip(*samples, strict=True))
    spread = (max(s[0] for s in samples) - min(s[0] for s in samples)) / 2
    rows: list[dict[str, object]] = [
        {
            "case": f"{payload} bytes, {where}",
            "metric": "one-way time beyond propagation and serialisation, median, ms",
            "ours": round(ours * 1e3, 4),
            "peer_name": name,
            "peer": round(peer * 1e3, 4),
            "ratio": round(ours / peer, 3),
            "runs": RUNS,
            "spread": round(spread * 1e3, 4),
            "after_a_shaped_link": round(shaped * 1e3, 4),
        }
        for name, peer in (("bare ZeroMQ pipe", pipe), ("bare Ray actor call", call))
    ]
    for row in rows:
        print(row, file=sys.stderr)
    return rows


def _medians(connection: Connection, ends: dict[str, Any], payload: int) -> tuple[float, float, float, float]:
    """Of one-way seconds: through our channel, the same after a shaped link, through a bare pipe, by a bare call."""
    rest = (payload, COUNT, GAP + payload * 5e-8)
    found: list[float] = []
    for method, *arguments in (
        ("send", "b", *rest, False),
        ("send", "b", *rest, True),
        ("push", *rest),
        ("call", ends["b"], *rest),
    ):
        connection.gather({"a": getattr(ends["a"], method).remote(*arguments)})
        found.append(statistics.median(connection.gather({"b": ends["b"].take.remote(COUNT)})["b"]))
    return found[0], found[1], found[2], found[3]


if __name__ == "__main__":
    sys.exit(main())

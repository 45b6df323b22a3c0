"""A real tracker of TVM's RPC and real servers, as a user starts them, on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from compiler.remote.tracker import Tracker
from specs.errors import EnvironmentFailed


@dataclass
class Lending:
    """Processes by port; each is the head of a group of its own, since TVM's commands start others."""

    tracker: Tracker
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def kill(self, port: int) -> None:
        process = self.processes.pop(port)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def lending(key: str, servers: int, threads: int = 2) -> Iterator[Lending]:
    """A tracker that lends `servers` devices under `key`; all end with the context."""
    port = free_port()
    found = Lending(Tracker("127.0.0.1", port))
    try:
        found.processes[port] = _start("rpc_tracker", port, threads)
        _until(lambda: _devices(found.tracker, key) == 0)
        for _ in range(servers):
            own = free_port()
            found.processes[own] = _start("rpc_server", own, threads, "--tracker", str(found.tracker), "--key", key)
        _until(lambda: _devices(found.tracker, key) == servers)
        yield found
    finally:
        for each in list(found.processes):
            found.kill(each)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(command: str, port: int, threads: int, *options: str) -> subprocess.Popen[bytes]:
    where = ["--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1)]
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, "-m", f"tvm.exec.{command}", *where, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"TVM_NUM_THREADS": str(threads), "PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"},
    )


def _devices(tracker: Tracker, key: str) -> int:
    try:
        return tracker.devices().get(key, 0)
    except EnvironmentFailed:
        return -1


def _until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "tracker and servers did not start"
        time.sleep(0.1)

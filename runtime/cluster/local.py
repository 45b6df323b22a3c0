"""A Ray cluster of our own on this machine: one node a site member."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from runtime.stages.child_environment import child_environment
from specs.errors import EnvironmentFailed

START_LIMIT: Final = 150.0
STOP_LIMIT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """A host of an emulated network: its first process, its addresses in the control network and on its links."""

    process: int
    control: str
    links: str


class LocalCluster:
    """Nodes under a keeper process. `wait` gives the address; `close` leaves nothing behind."""

    def __init__(self, nodes: Sequence[Mapping[str, str]], places: Sequence[Place] | None = None) -> None:
        """Begin to start a node with each of the `nodes` labels; the first is the head. Each is at its place of
        `places`, or all are on the loopback interface.
        """
        # In /tmp whatever TMPDIR says: the path of a unix socket is limited to 107 characters.
        root = tempfile.gettempdir() if len(tempfile.gettempdir()) < 30 else "/tmp"
        self.folder = tempfile.mkdtemp(prefix="tierplan-", dir=root)
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "runtime.cluster.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=child_environment(),
        )
        assert self._keeper.stdin is not None
        at = [None] * len(nodes) if places is None else [asdict(place) for place in places]
        asked = {"folder": self.folder, "nodes": [dict(labels) for labels in nodes], "places": at}
        self._keeper.stdin.write(json.dumps(asked).encode() + b"\n")
        self._keeper.stdin.flush()

    def wait(self) -> str:
        """The address of the head, once all nodes run. Raises EnvironmentFailed where they do not start."""
        assert self._keeper.stdout is not None
        give_up = time.monotonic() + START_LIMIT
        ready = False
        while not ready and time.monotonic() < give_up:
            ready = bool(select.select([self._keeper.stdout], [], [], 0.5)[0])
        line = self._keeper.stdout.readline() if ready else b""
        silent = "the process that starts them ended" if ready else f"no answer within {START_LIMIT:.0f} s"
        answer = json.loads(line) if line else {"error": silent}
        if "error" in answer:
            raise EnvironmentFailed(f"Ray nodes did not start on this machine: {answer['error']}")
        return str(answer["address"])

    def close(self) -> None:
        """Kill the nodes and wait until their processes and files are gone."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        with contextlib.suppress(OSError):
            self._keeper.stdin.close()
        try:
            self._keeper.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(self._keeper.pid, signal.SIGKILL)
            self._keeper.wait()
        self._keeper.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # where the keeper was killed, it is still there


@contextlib.contextmanager
def local_cluster(nodes: Sequence[Mapping[str, str]]) -> Iterator[LocalCluster]:
    """The nodes start at once; ask `wait` before using them."""
    cluster = LocalCluster(nodes)
    try:
        yield cluster
    finally:
        cluster.close()

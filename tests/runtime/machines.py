"""Ray nodes that share neither a file system nor a clock with the test: as if on other machines, as far as one goes.

Each has a mount namespace with a /tmp of its own, where the test's files are not, and a time namespace in which
CLOCK_MONOTONIC is far from the test's.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.runtime.processes import alive, children, until

ROOT = Path(__file__).parents[2]
KEEPER = """
import os, sys
from runtime.cluster import keeper

os.mkdir(sys.argv[1])
keeper.FREE_PORTS = {name: int(sys.argv[2]) + number for number, name in enumerate(keeper.AGENT_PORTS)}
keeper._tell_ports_early()  # on a busy machine nodes die of waiting for what their agents choose
sys.exit(keeper.main())
"""
AHEAD = 1_000_000
"""Seconds that the clock of the first other machine is ahead; of the second twice as many, and so on."""


def need_namespaces() -> None:
    """Skip the test where this machine does not allow them."""
    if Path(sys.prefix).resolve().is_relative_to("/tmp"):
        pytest.skip("this project is below /tmp, of which other machines have their own")
    tried = subprocess.run(
        ["unshare", "--mount", "--time", "--monotonic=9", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"mount and time namespaces are needed: {tried.stderr.strip()}")


@dataclass(frozen=True)
class Machines:
    """The address of each cluster by name. What the machine of MEMBER has in its /tmp is in `folder`/MEMBER."""

    addresses: Mapping[str, str]
    folder: Path

    def left(self) -> list[str]:
        """What of ours lies around on the other machines, apart from what Ray put there."""
        ours = ("tierplan-*", "state/*", "state/.hosted/*")
        return [str(p) for pattern in ours for p in self.folder.glob(f"*/{pattern}") if p.name != ".hosted"]


@contextmanager
def machines(folder: Path, clusters: Mapping[str, Mapping[str, str]]) -> Iterator[Machines]:
    """Clusters by name, each with members and the tier of each. The first member of each has the head, which is here;
    the others are on machines of their own.
    """
    root = Path(tempfile.mkdtemp(prefix="rm-", dir="/tmp"))
    ports = itertools.count(10_000 + os.getpid() * 40 % 20_000, 4)
    keepers: list[subprocess.Popen[bytes]] = []
    try:
        heads = {}
        for number, (name, members) in enumerate(clusters.items()):
            heads[name] = _keeper([], str(root / str(number)), next(iter(members.items())), None, next(ports))
            keepers.append(heads[name])
        addresses = {name: _address(keeper) for name, keeper in heads.items()}
        away = [(name, member) for name, of in clusters.items() for member in list(of.items())[1:]]
        for number, (name, member) in enumerate(away):
            own = folder / member[0]
            own.mkdir(parents=True, mode=0o1777)
            keepers.append(_keeper(_away(own, (number + 1) * AHEAD), "/tmp/n", member, addresses[name], next(ports)))
        for keeper in keepers[len(heads) :]:
            _address(keeper)
        yield Machines(addresses, folder)
    finally:
        pids = {k.pid for k in keepers} | {child for k in keepers for child in children(k.pid)}
        for keeper in reversed(keepers):
            assert keeper.stdin is not None
            keeper.stdin.close()  # which tells it to end
        for keeper in keepers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(60)
            keeper.kill()
            keeper.wait()
            assert keeper.stdout is not None
            keeper.stdout.close()
        for pid in alive(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended = until(lambda: not alive(pids), 20)
        shutil.rmtree(root, ignore_errors=True)
        assert ended


def _away(own: Path, ahead: int) -> list[str]:
    """What runs the command after it on another machine, whose /tmp is `own`."""
    mount = f'mount --make-rprivate / && mount --bind {shlex.quote(str(own))} /tmp && exec "$@"'
    return ["unshare", "--mount", "--time", f"--monotonic={ahead}", "--fork", "--kill-child", "sh", "-c", mount, "sh"]


def _keeper(
    within: list[str], folder: str, member: tuple[str, str], head: str | None, port: int
) -> subprocess.Popen[bytes]:
    """One node, in a process that ends with its stdin; see `runtime.cluster.keeper`. Its agents have ports from `port`
    on.
    """
    started = subprocess.Popen(
        [*within, sys.executable, "-c", KEEPER, folder, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **({"TIERPLAN_STATE": "/tmp/state"} if within else {})},
    )
    labels = {"site": member[0], "tier": member[1]}
    assert started.stdin is not None
    started.stdin.write(
        json.dumps({"folder": folder, "nodes": [labels], "places": [None], "head": head}).encode() + b"\n"
    )
    started.stdin.flush()
    return started


def _address(keeper: subprocess.Popen[bytes]) -> str:
    """Of the cluster, once the node runs."""
    assert keeper.stdout is not None
    give_up = time.monotonic() + 240
    while not select.select([keeper.stdout], [], [], 1.0)[0]:
        assert time.monotonic() < give_up, "a node did not start"
    told = json.loads(keeper.stdout.readline() or b"{}")
    assert "address" in told, told
    return str(told["address"])

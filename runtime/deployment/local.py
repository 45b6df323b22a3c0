"""The nodes of a deployment on this machine: a keeper process that outlives the command, found again by its folder."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import psutil

from runtime.cluster.connection import parse_address, probe
from runtime.cluster.keeper import ADDED, remove_nodes
from runtime.deployment.record import ANNOUNCED, state_folder
from runtime.stages.child_environment import child_environment
from specs.errors import EnvironmentFailed
from specs.output_file import write_whole

KEEPER: Final = "runtime.cluster.keeper"
START_LIMIT: Final = 150.0
"""Seconds; more than Ray itself may take for a node on a busy machine."""
STOP_LIMIT: Final = 20.0
HEAD_LIMIT: Final = 20.0
"""Seconds for a head that died to be started again."""
NODE_LIMIT: Final = 60.0
"""The same for a node."""


def nodes_folder(name: str) -> Path:
    """Of Ray's own files: short, for the path of a unix socket has 107 characters at most; the same for each try."""
    root = tempfile.gettempdir() if len(tempfile.gettempdir()) < 30 else "/tmp"
    return Path(root) / f"tierplan-{zlib.crc32(str(state_folder(name)).encode()):08x}"


def keeper_of(name: str) -> psutil.Process | None:
    """The living keeper of `name`, told by its command line."""
    folder = str(state_folder(name))
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if KEEPER in words and folder in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            return process
    return None


def ensure_nodes(name: str, tiers: Mapping[str, str], *, anew: bool = True) -> str:
    """The head's address of the nodes of `name`, one for each member, which are started where they do not run.

    Where one of them died, their keeper starts it again; if it does not, all are started `anew`, or only that one.
    Raises EnvironmentFailed where they do not start.
    """
    announced = state_folder(name) / ANNOUNCED
    if announced.exists() and keeper_of(name) is not None and (lacking := _lacking_nodes(name, tiers)):
        if anew:
            stop_nodes(name)
        else:
            _add_nodes(name, {member: tier for member, tier in tiers.items() if member in lacking})
    if keeper_of(name) is None:
        _sweep(name)
        announced.unlink(missing_ok=True)
        _start_keeper(name, tiers)
    give_up = time.monotonic() + START_LIMIT
    while not announced.exists():
        if time.monotonic() > give_up or keeper_of(name) is None:
            ended = "their keeper ended" if keeper_of(name) is None else f"not ready within {START_LIMIT:.0f} s"
            stop_nodes(name)
            raise EnvironmentFailed(
                f"Ray nodes did not start on this machine: {ended} (try again when it is less busy with other work)"
            )
        time.sleep(0.1)
    answer = json.loads(announced.read_bytes())
    if "error" in answer:
        stop_nodes(name)
        raise EnvironmentFailed(f"Ray nodes did not start on this machine: {answer['error']}")
    return str(answer["address"])


def _add_nodes(name: str, tiers: Mapping[str, str]) -> None:
    """Have the keeper start nodes for these members beside those that run."""
    announced = state_folder(name) / ANNOUNCED
    wanted = [{"site": member, "tier": tier} for member, tier in tiers.items()]
    before = announced.stat().st_mtime_ns
    write_whole(f"{announced}{ADDED}", json.dumps(wanted))
    give_up = time.monotonic() + START_LIMIT
    while announced.stat().st_mtime_ns == before or _dead_nodes(name, tiers):
        problem = json.loads(announced.read_bytes()).get("failed", "")
        if problem or time.monotonic() > give_up or keeper_of(name) is None:
            what = f"Ray nodes for {', '.join(sorted(tiers))} did not start on this machine"
            raise EnvironmentFailed(f"{what}: {problem}" if problem else what)
        time.sleep(0.1)


def _lacking_nodes(name: str, members: Collection[str]) -> set[str]:
    """Members without a node, once the keeper had the time to start those again that died."""
    known = set(json.loads((state_folder(name) / ANNOUNCED).read_bytes()).get("nodes", ()))
    give_up = time.monotonic() + NODE_LIMIT
    while (lacking := _dead_nodes(name, members)) and lacking <= known and time.monotonic() < give_up:
        if keeper_of(name) is None:
            break
        time.sleep(0.2)
    return lacking


def _dead_nodes(name: str, members: Collection[str]) -> set[str]:
    """Members whose node has no raylet. Ray itself takes 13 s to notice."""
    living = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
    raylets = [words for words in living if words and words[0].endswith("/raylet")]
    homes = {member: f"{nodes_folder(name)}/{member[-40:]}/" for member in members}
    return {m for m, home in homes.items() if not any(home in word for words in raylets for word in words)}


def address_of(name: str) -> str | None:
    """The head's address, or None where no keeper lives or it has not started yet."""
    try:
        answer = json.loads((state_folder(name) / ANNOUNCED).read_bytes())
    except (OSError, ValueError):
        return None
    return answer.get("address") if keeper_of(name) is not None else None


def _start_keeper(name: str, tiers: Mapping[str, str]) -> None:
    folder, state = nodes_folder(name), state_folder(name)
    folder.mkdir(mode=0o700)
    order = {
        "folder": str(folder),
        "nodes": [{"site": member, "tier": tier} for member, tier in tiers.items()],
        "places": [None] * len(tiers),
        "announce": str(state / ANNOUNCED),
    }
    with tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(order).encode() + b"\n")
        stdin.seek(0)
        subprocess.Popen(
            [sys.executable, "-m", KEEPER, str(state)],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=child_environment(),
        )


def stop_nodes(name: str) -> None:
    """End the keeper, which ends the nodes, and remove what a killed one may have left."""
    keeper = keeper_of(name)
    if keeper is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            keeper.terminate()
            try:
                keeper.wait(STOP_LIMIT)
            except psutil.TimeoutExpired:
                keeper.kill()
                keeper.wait(STOP_LIMIT)
    _sweep(name)


def _sweep(name: str) -> None:
    """Processes that name the nodes' folder are the deployment's, for nobody else knows it."""
    folder = str(nodes_folder(name))
    for _ in range(50):
        left = []
        for process in psutil.process_iter(["cmdline"]):
            if any(folder in word for word in process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    left.append(process)
        psutil.wait_procs(left, timeout=0.5)
        if remove_nodes(folder) and not left:
            return
        time.sleep(0.1)


def await_head(address: str) -> None:
    """Where it has died its keeper starts it again: until it answers, or does not for long."""
    give_up = time.monotonic() + HEAD_LIMIT
    while time.monotonic() < give_up:
        with contextlib.suppress(EnvironmentFailed):
            probe(parse_address(address))
            return
        time.sleep(0.2)

"""Keeps the Ray nodes of one local run: ``python -m runtime.cluster.keeper`` with the nodes as JSON on stdin.

The nodes live exactly as long as the keeper's stdin is open. When the command that started it ends, in whatever way,
the pipe closes, and the keeper kills the nodes and removes their folder. It runs in a session of its own, so that
Ctrl-C reaches the command alone.

For a deployment, which outlives its command, the order names a file `announce`: the answer is written there instead,
and the nodes live until the keeper is told to end (SIGTERM). Nodes that a file beside it asks for (`ADDED`) are started
meanwhile, and the answer is written again. What the head's control store knows is then outside of its process, and when
that dies the keeper starts it again at the same address, with all that it knew; so it does with nodes that die.

Where the order names a `head`, by its address, the nodes join that cluster; else the first of them is the head.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psutil

from runtime.cluster.revival import NodeRevival, StoreRevival
from runtime.cluster.settings import apply_settings

LOOPBACK: Final = "127.0.0.2"
"""Reachable from this machine alone. Ray takes 127.0.0.1 for the machine's outer address."""
OBJECT_STORE: Final = 80_000_000
"""Bytes of shared memory a node; Ray's least is 75 MiB. Messages travel inline and need none of it."""
FREE_PORTS: Final[Mapping[str, int | None]] = {"dashboard_agent_listen_port": None}
AGENT_PORTS: Final[Mapping[str, int | None]] = {
    "dashboard_agent_listen_port": 20001,
    "runtime_env_agent_port": 20002,
    "metrics_agent_port": 20003,
    "metrics_export_port": 20004,
}
"""Of a node in a network of its own: else it waits for what its agents choose, and dies after 15 seconds without."""

ADDED: Final = ".add"
"""After the name of the answer's file: the file that asks for more nodes, a JSON list of their labels."""
LOOK_EVERY: Final = 0.2
PATIENCE: Final = 3600
"""Seconds that nodes go on without the control store."""
MEMORY: Final = "/dev/shm"
"""Where files are in memory. What the control store knows has what actors are made of, and so their secrets."""
AGAIN: Final = "again"
"""The folder, in that of the node with the head, of the node that came after it."""
MOST_THREADS: Final = 256
KILL_LIMIT: Final = 5.0
"""Seconds for killed processes to be gone."""

START_LIMIT: Final = 120.0
ASK_AGAIN: Final = 0.1
"""Seconds for a node to be known to the head, and between two questions."""

_PR_SET_CHILD_SUBREAPER: Final = 36
"""Of prctl(2), Linux."""


def main() -> int:
    """Start the nodes, tell the head's address as JSON, wait for the end, clean up."""
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    apply_settings(local=True)
    if "announce" in asked:
        try:
            _keep_state(asked["folder"])
        except OSError as error:
            _tell({"error": f"cannot make {error.filename}: {error.strerror}"}, asked, 1)
            _remove(asked["folder"])
            return 1
    _adopt_orphans()
    _settle_imports()
    _be_patient()
    answer = os.dup(1)
    os.dup2(2, 1)  # Ray prints; stdout is for the answer alone
    folder: str = asked["folder"]
    nodes: list[Any] = []
    try:
        # A node's processes die with the thread that started them, so the threads stay until the end.
        with ThreadPoolExecutor(MOST_THREADS) as pool:
            try:
                first, *others = zip(asked["nodes"], asked["places"], strict=True)
                if first[1] is not None:
                    _tell_ports_early()
                    _enter(first[1])  # Ray's threads are started by this one, and talk to the head
                head = _start(folder, first[0], first[1], asked.get("head"))
                nodes.append(head)
                nodes += pool.map(lambda node: _start(folder, node[0], node[1], head.gcs_address), others)
                members = {labels["site"]: node for labels, node in zip(asked["nodes"], nodes, strict=True)}
                _tell({"address": head.gcs_address, "nodes": list(members)}, asked, answer)
                if "announce" in asked:
                    _tend(asked, nodes, members, pool)
                sys.stdin.read()
            except KeyboardInterrupt:
                pass
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                _tell({"error": reason}, asked, answer)
            finally:
                for node in reversed(nodes):
                    with contextlib.suppress(Exception):
                        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
                _kill_orphans()
    finally:
        _remove(folder)
    return 0


def _tell(what: Mapping[str, object], asked: Mapping[str, Any], stdout: int) -> None:
    line = json.dumps(what).encode() + b"\n"
    file = asked.get("announce")
    if file is None:
        os.write(stdout, line)
        return
    with open(f"{file}.part", "wb") as stream:
        stream.write(line)
    os.replace(f"{file}.part", file)


def _tend(asked: Mapping[str, Any], nodes: list[Any], members: dict[str, Any], pool: ThreadPoolExecutor) -> None:
    """For ever (a signal interrupts it): start again what has died, and add the nodes that are asked for. `members` has
    the living of all `nodes`, the first of which is the head: who announces has a cluster of its own.
    """
    folder, head = asked["folder"], nodes[0]
    address = head.gcs_address
    labels = {each["site"]: each for each in asked["nodes"]}

    def again(member: str) -> Any:
        return _start_again(members[member], head, labels[member], folder, address)

    store, revival = StoreRevival(head), NodeRevival(members, again, pool)
    while True:
        time.sleep(LOOK_EVERY)
        store.look()
        nodes += revival.look()
        if wanted := _wanted(asked["announce"] + ADDED):
            labels |= {each["site"]: each for each in wanted}
            found, problem = _add(wanted, members, folder, pool, address)
            nodes += found
            _tell({"address": address, "nodes": list(members), "failed": problem}, asked, 1)


def _wanted(file: str) -> list[Mapping[str, str]]:
    """The labels of nodes to add that `file` has, which is removed."""
    wanted: list[Mapping[str, str]] = []
    with contextlib.suppress(FileNotFoundError):
        with open(file, "rb") as stream:
            wanted = json.load(stream)
        os.unlink(file)
    return wanted


def store_of(folder: str) -> str:
    """The folder of what the control store knows of the nodes whose folder that is: swap apart, no disk has it."""
    return f"{MEMORY}/{os.path.basename(folder)}"


def _keep_state(folder: str) -> None:
    """Have the control store write what it knows to files in memory, and nodes wait for it to come back.

    Left alone it keeps that in its own memory, and nodes end a minute after it has died.
    """
    store = store_of(folder)
    os.mkdir(store, 0o700)
    settings = {
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": store,
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(PATIENCE),
    }
    os.environ.update(settings)


def _add(
    wanted: Sequence[Mapping[str, str]], members: dict[str, Any], folder: str, pool: ThreadPoolExecutor, head: str
) -> tuple[list[Any], str]:
    """Start the nodes that are wanted and not there, and enter them in `members`; and what went wrong. Those that have
    died are started again anyway.
    """
    lacking = {each["site"]: each for each in wanted if each["site"] not in members}
    started = {member: pool.submit(_start, folder, labels, None, head) for member, labels in lacking.items()}
    found: dict[str, Any] = {}
    problem = ""
    for member, node in started.items():
        try:
            found[member] = node.result()
        except Exception as error:  # Ray raises many kinds: whoever asked is told
            problem = f"{member}: {type(error).__name__}: {error}".splitlines()[0]
            _clear(_home(folder, lacking[member]))  # for another try
    members |= found
    return list(found.values()), problem


def _start_again(dead: Any, first: Any, labels: Mapping[str, str], folder: str, head: str) -> Any:
    """A node in the place of a `dead` one. That of the `first` keeps its folder, where its control store writes."""
    home = _home(folder, labels)
    if dead is first or os.path.exists(f"{home}/{AGAIN}"):
        home = f"{home}/{AGAIN}"
    if dead is not first:
        dead.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
    _clear(home)
    return _start(folder, labels, None, head, home)


def _clear(home: str) -> None:
    """Remove the folder of a node and, first, what a start that failed half-way has left running: a second raylet of
    one site would be taken for the first.
    """
    left = [p for p in psutil.Process().children(recursive=True) if _names(p, f"{home}/")]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=KILL_LIMIT)
    shutil.rmtree(home, ignore_errors=True)


def _names(process: psutil.Process, path: str) -> bool:
    """Whether `path` stands in its command line."""
    with contextlib.suppress(psutil.Error):  # it has ended
        return any(path in word for word in process.cmdline())
    return False


def _home(folder: str, labels: Mapping[str, str]) -> str:
    """The folder of a node."""
    return f"{folder}/{labels['site'][-40:]}"


def _settle_imports() -> None:
    """Ask once whether Ray's optional parts are installed.

    Each node asks by trying to import them. Threads that try at the same time can be told "yes" by the half-imported
    module of another, and their node dies of it a few seconds later: one start in ten did.
    """
    from ray._private import utils

    answer = utils.get_dashboard_dependency_error()
    utils.get_dashboard_dependency_error = lambda: answer


def _be_patient() -> None:
    """Ask only now and then whether a node is known to the head, and for long.

    Left alone, each node asks without a pause, which takes the processors from what it waits for, and gives up after 30
    seconds, which a busy machine can need.
    """
    from ray._private import services

    ask = services.get_node

    def patient(gcs_address: str, node_id: str) -> Any:
        give_up = time.monotonic() + START_LIMIT
        while True:
            try:
                return ask(gcs_address, node_id)
            except RuntimeError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(ASK_AGAIN)

    services.get_node = patient


def _tell_ports_early() -> None:
    """Tell a node, before it asks, that its dashboard's agent listens nowhere.

    The agent says so itself when all of it is imported. On a busy machine that takes longer than the node waits for it,
    and the node dies. Its other ports are `AGENT_PORTS`.
    """
    from ray import _raylet
    from ray._private import services

    start = services.start_raylet

    def told(*arguments: Any, **named: Any) -> Any:
        given = inspect.signature(start).bind(*arguments, **named).arguments
        _raylet.persist_port(  # type: ignore[attr-defined]  # compiled, without types
            given["session_dir"],
            given["node_id"],
            _raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME,  # type: ignore[attr-defined]
            -1,
        )
        return start(*arguments, **named)

    services.start_raylet = told


def _adopt_orphans() -> None:
    """Processes whose parent dies become children of the keeper. Agents of a killed node do not always end by it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_orphans() -> None:
    """Kill all that is still below the keeper, until there is nothing."""
    for _ in range(50):
        left = psutil.Process().children(recursive=True)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if not psutil.wait_procs(left, timeout=0.2)[1] and not left:
            return


def _remove(folder: str) -> None:
    """Workers outlive their node by a moment and may still write; so again, until it stays away."""
    for _ in range(50):
        remove_nodes(folder)
        time.sleep(0.1)
        if remove_nodes(folder):
            return


def remove_nodes(folder: str) -> bool:
    """Remove the folder of nodes and their store; whether both are gone."""
    both = (folder, store_of(folder))
    for each in both:
        shutil.rmtree(each, ignore_errors=True)
    return not any(map(os.path.exists, both))


def _enter(place: Mapping[str, Any]) -> None:
    """Let this thread, and the processes that it starts, have the network of an emulated site."""
    from runtime.emulate.namespaces import enter

    enter(place["process"], ("net",))


def _start(
    folder: str, labels: Mapping[str, str], place: Mapping[str, Any] | None, head: str | None, home: str = ""
) -> Any:
    """A Ray node with `labels`, at `place` or on the loopback; the head where the address `head` is None. Its files
    are in the new folder `home`, by default one named after its site.
    """
    if place is not None:
        _enter(place)
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    # Nodes that start together would choose the same names for sockets and logs, so each has a folder of its own. The
    # path of a unix socket has 107 characters at most.
    home = home or _home(folder, labels)
    os.mkdir(home)
    params = RayParams(
        node_ip_address=LOOPBACK if place is None else place["control"],
        num_cpus=0,
        num_gpus=0,
        object_store_memory=OBJECT_STORE,
        labels=dict(labels),
        include_dashboard=False,
        include_log_monitor=False,
        no_monitor=True,
        temp_dir=home,
        plasma_store_socket_name=f"{home}/plasma",
        raylet_socket_name=f"{home}/raylet",
        min_worker_port=0,
        max_worker_port=0,
        node_manager_port=0,
        gcs_address=head,
        redis_address=head,
        **(FREE_PORTS if place is None else AGENT_PORTS),
    )
    return Node(params, head=head is None, shutdown_at_exit=False, spawn_reaper=True)


if __name__ == "__main__":
    sys.exit(main())

"""Hosts on Ray in an emulated network, driven from inside it by a process of their own.

The command stays where it is; this process shares the network of the head's site, from which the control network
reaches all others, and does what the command asks through a pipe. When the pipe closes, by whatever end of the command,
it ends the hosts and their nodes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from runtime.stages.child_environment import child_environment
from specs.errors import EnvironmentFailed

if TYPE_CHECKING:
    from runtime.cluster.local import Place
    from runtime.hosting.host import HostOptions
    from runtime.hosting.hosts import Load, StageInputs
    from runtime.hosting.request import Departure, Entry
    from runtime.reference.items import Item
    from runtime.stages.secrets import Secrets
    from runtime.topology import Topology

STOP_LIMIT: Final = 40.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the hosts are to be: the arguments of `RayHosts`."""

    bundle: Path
    top: Topology
    options: HostOptions
    tiers: Mapping[str, str]
    places: Mapping[str, Place]
    secrets: Secrets


class DrivenHosts:
    """See `runtime.hosting.hosts.Hosts`. Nodes start with construction; `open` waits for them."""

    def __init__(self, order: Order) -> None:
        """The first member of the order's tiers has the head."""
        head = order.places[next(iter(order.tiers))].process
        self._pipe, theirs = Pipe()
        self._number = 0
        self._pending = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runtime.cluster.driver", str(theirs.fileno()), str(head)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the command alone
            env=child_environment(),
        )
        theirs.close()
        self._pipe.send(order)

    def _ask(self, method: str, *arguments: object) -> Any:
        """What `method` of the hosts returns or raises. The answer to a call that was interrupted is passed over."""
        self._number += 1
        try:
            self._pipe.send((self._number, method, arguments))
            self._pending = True
            number = 0
            while number != self._number:
                number, answer, error = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise EnvironmentFailed("the process that drives the hosts has died") from error
        self._pending = False
        if error is not None:
            raise error
        return answer

    def open(self) -> bool:
        spread: bool = self._ask("open")
        return spread

    def warm_up(self, inputs: Mapping[str, Mapping[str, StageInputs]], rounds: int) -> None:
        self._ask("warm_up", inputs, rounds)

    def give_items(self, items: Mapping[str, Mapping[int, Item]]) -> None:
        self._ask("give_items", items)

    def start_background(self, loads: Mapping[str, Load], seed: int) -> None:
        self._ask("start_background", loads, seed)

    def start_load(self, departures: Mapping[str, Sequence[Departure]], start_in: float, deadline: float) -> None:
        self._ask("start_load", departures, start_in, deadline)

    def progress(self) -> dict[str, int]:
        found: dict[str, int] = self._ask("progress")
        return found

    def logs(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = self._ask("logs")
        return found

    def round_trips(self) -> Mapping[tuple[str, str], float]:
        return {}  # all share this machine's clock

    def gone(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._ask("gone")
        return found

    def close(self) -> None:
        """Also in the middle of a call that was interrupted: the driver is killed, and the keeper ends the rest."""
        below = _below(self._process.pid)
        if not self._pending:
            with contextlib.suppress(EnvironmentFailed):
                self._ask("close")
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.kill()
        self._process.wait()
        psutil.wait_procs(below, STOP_LIMIT)


def _below(process: int) -> list[psutil.Process]:
    try:
        return psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def main() -> int:
    """Enter the namespace, then do what is asked until nobody is there to ask."""
    descriptor, head = int(sys.argv[1]), int(sys.argv[2])
    from runtime.emulate.namespaces import enter

    enter(head, ("user", "net"))  # before there are threads
    from runtime.cluster.hosts import RayHosts

    pipe: Connection[Any, Any] = Connection(descriptor)
    try:
        order: Order = pipe.recv()
        hosts = RayHosts(order.bundle, order.top, order.options, order.tiers, None, order.places, order.secrets)
        while True:
            number, method, arguments = pipe.recv()
            pipe.send((number, *_done(hosts, method, arguments)))
    except (EOFError, OSError):
        os._exit(0)  # Ray would take its time; the nodes' keeper notices, and ends them


def _done(hosts: Any, method: str, arguments: Sequence[object]) -> tuple[Any, Exception | None]:
    try:
        return getattr(hosts, method)(*arguments), None
    except Exception as error:  # for the command to tell
        return None, error


if __name__ == "__main__":
    sys.exit(main())

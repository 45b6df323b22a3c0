"""An emulation that belongs to one command, and ends with it in whatever way that ends."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from runtime.emulate import state as states
from runtime.emulate.layout import with_control
from runtime.emulate.process import ask, await_ready, last_words, start_emulator
from runtime.emulate.state import State, read_state
from runtime.emulate.topology import Host, Network
from specs.errors import EnvironmentFailed

END_LIMIT: Final = 10.0


class AttachedEmulation:
    """Sites with links between them, and a control network that joins all of them directly.

    The emulator lives as long as the pipe that it was started with, so nothing is left after `kill -9`.
    """

    def __init__(self, net: Network, seed: int) -> None:
        """Begin to start the members of `net`; `seed` is of jitter and loss."""
        self.folder = Path(tempfile.mkdtemp(prefix="tierplan-net-"))
        try:
            self._emulator = start_emulator(self.folder)
        except BaseException:
            states.remove_folder(self.folder)
            raise
        order: dict[str, Any] = {
            "folder": str(self.folder),
            "network": with_control(net).to_json(),
            "infra": "",
            "digest": "",
            "seed": seed,
            "held": True,
        }
        assert self._emulator.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._emulator.stdin.write(json.dumps(order).encode() + b"\n")
            self._emulator.stdin.flush()
        self._state: State | None = None

    def wait(self) -> None:
        """Until all sites are there. Raises NotAllowed where this machine does not allow it."""
        await_ready(self._emulator, self.folder)
        self._state = read_state(self.folder)
        if self._state is None:
            raise EnvironmentFailed(f"the emulator died: {last_words(self.folder)}")

    @property
    def _running(self) -> State:
        if self._state is None:
            raise EnvironmentFailed("the emulation has not started")
        return self._state

    @property
    def hosts(self) -> dict[str, Host]:
        """By name."""
        return {host.name: host for host in self._running.network.hosts}

    @property
    def first_processes(self) -> dict[str, int]:
        """Of each host by name: who wants to enter it goes to this process's namespaces."""
        return {name: process.pid for name, process in self._running.sites.items()}

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What the emulator answers. Raises EnvironmentFailed where it does not."""
        return ask(request, self.folder)

    def close(self) -> None:
        """End the sites and all that is in their PID namespaces; remove the folder. May be called again."""
        if self._emulator.stdin is not None and not self._emulator.stdin.closed:
            with contextlib.suppress(OSError):
                self._emulator.stdin.close()
            found = self._state or read_state(self.folder)
            with contextlib.suppress(Exception):
                self._emulator.wait(END_LIMIT / 2)
            self._emulator.kill()
            self._emulator.wait()
            assert self._emulator.stdout is not None
            self._emulator.stdout.close()
            if found is not None:
                states.end(found.sites.values(), END_LIMIT)
            states.remove_folder(self.folder)

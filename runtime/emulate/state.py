"""What an emulation leaves on the disk: one folder of the user, with the record of its processes.

A process is known by its number and the time it started at; only those are ever ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from runtime.emulate.topology import Network
from specs.errors import EnvironmentFailed

STATE: Final = "state.json"
HOSTS: Final = "hosts"
LOG: Final = "log"
CONTROL: Final = "control"
_PIECE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Process:
    """`started` in the kernel's ticks since boot `boot`."""

    pid: int
    started: int
    boot: str

    def alive(self) -> bool:
        """Whether it still runs: a zombie, or another process with the same number, does not."""
        return self.boot == boot() and _started(self.pid) == self.started

    def kill(self, number: int) -> None:
        """Send the signal `number`, if it still runs."""
        if not self.alive():
            return
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive():  # from here on, the handle can mean no other process
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def process(pid: int) -> Process:
    """A process that runs. Raises ProcessLookupError where it does not."""
    started = _started(pid)
    if started is None:
        raise ProcessLookupError(pid)
    return Process(pid, started, boot())


def boot() -> str:
    """Names this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _started(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def end(processes: Iterable[Process], seconds: float) -> list[Process]:
    """Kill `processes` and wait. Returns those that did not end in time."""
    left = [p for p in processes if p.alive()]
    for p in left:
        p.kill(signal.SIGKILL)
    return wait(left, seconds)


def wait(processes: Iterable[Process], seconds: float) -> list[Process]:
    """Wait for `processes` to end. Returns those that still run."""
    until = time.monotonic() + seconds
    left = [p for p in processes if p.alive()]
    while left and time.monotonic() < until:
        time.sleep(_PIECE)
        left = [p for p in left if p.alive()]
    return left


@dataclass(frozen=True, slots=True)
class State:
    """`infra` is the file and `digest` its contents'; `sites` are the first processes of members by name."""

    infra: str
    digest: str
    user_namespace: bool
    network: Network
    emulator: Process
    sites: dict[str, Process]

    def write(self, folder: Path) -> None:
        part = folder / f"{STATE}.part"
        part.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")
        part.replace(folder / STATE)


def read_state(folder: Path) -> State | None:
    """None where there is none, or where it cannot be read: then nothing is known of processes."""
    try:
        value: dict[str, Any] = json.loads((folder / STATE).read_bytes())
        sites = {str(name): Process(**one) for name, one in value["sites"].items()}
        network = Network.from_json(value["network"])
        return State(**{**value, "network": network, "emulator": Process(**value["emulator"]), "sites": sites})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def state_folder() -> Path:
    """``$TIERPLAN_EMULATION``, else below ``$XDG_RUNTIME_DIR``, else below the folder of temporary files.

    Raises EnvironmentFailed where something else is in its place, or somebody else's.
    """
    given = os.environ.get("TIERPLAN_EMULATION")
    base = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        folder = Path(given).absolute()
    elif base and os.path.isdir(base) and os.access(base, os.W_OK):
        folder = Path(base).absolute() / "tierplan-emulation"
    else:
        folder = Path(tempfile.gettempdir()).absolute() / f"tierplan-emulation-{os.geteuid()}"
    with contextlib.suppress(FileNotFoundError):
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            message = f"{folder} is not a folder of yours that only you may read: remove it, or set TIERPLAN_EMULATION"
            raise EnvironmentFailed(message)
    return folder


def make_folder(folder: Path) -> bool:
    """Whether there was none: only one command can make it."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        return False
    return True


def remove_folder(folder: Path) -> None:
    """Only what an emulation has put there; a folder that holds more stays."""
    for name in (STATE, f"{STATE}.part", HOSTS, LOG, CONTROL):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()
    if folder.exists() and not any(folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)

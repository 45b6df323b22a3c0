"""A folder on a host's machine for what came from the machine that deploys or runs.

All processes of one deployment or run on that machine share it; the last one that leaves removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

from specs.errors import EnvironmentFailed
from specs.output_file import cannot_write

LOCK: Final = ".lock"
"""Held shared by each process that uses the folder: with a process that is killed its hold goes, too."""


class MachineFolder:
    """Made, or joined, by construction. Nobody but its user may look into it."""

    def __init__(self, path: Path) -> None:
        """Raises EnvironmentFailed where it cannot be written, or belongs to somebody else."""
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._join()
        except OSError as error:
            raise cannot_write(path, error) from error

    def _join(self) -> int:
        while True:
            self.path.mkdir(mode=0o700, exist_ok=True)
            try:
                if self.path.stat().st_uid != os.geteuid():
                    raise EnvironmentFailed(f"{self.path} belongs to another user")
                lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # another process has just removed the folder
                continue
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_at(lock, self.path / LOCK):
                return lock
            os.close(lock)

    def leave(self) -> None:
        """Use it no longer; the last one removes it. May be called again."""
        if self._lock < 0:
            return
        lock, self._lock = self._lock, -1
        _remove_unused(self.path, lock)


def sweep(siblings: Path, pattern: str) -> None:
    """Remove folders in `siblings` that processes left which were killed: those that nobody uses."""
    for path in siblings.glob(pattern):
        with contextlib.suppress(OSError):
            _remove_unused(path, os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC))


def _remove_unused(path: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(lock, path / LOCK):
            gone = path.with_name(f".{path.name}.{os.getpid()}.gone")
            path.rename(gone)  # in one step: who comes now makes another
            shutil.rmtree(gone, ignore_errors=True)
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        os.close(lock)


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False

"""Files of JSON lines that grow while measuring: a line is there whole or not at all, whatever interrupts."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from specs.base import Spec
from specs.output_file import cannot_write, output_path
from specs.profile import json_line


class Ledger:
    """Appends to one file; two processes may append to the same one."""

    def __init__(self, file: Path) -> None:
        """Raises InputError where `file` is no regular file, EnvironmentFailed where it cannot be written."""
        self.file = file
        self._mend()

    def append(self, value: Spec) -> None:
        """Add `value` as one line, on disk when this returns; on an error or interruption nothing of it is left.

        Raises EnvironmentFailed where the disk or its rights do not allow it.
        """
        line = json_line(value).encode()
        try:
            with self.file.open("ab", buffering=0) as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                before = os.fstat(stream.fileno()).st_size
                try:
                    _write_all(stream.fileno(), line)
                except BaseException:
                    os.ftruncate(stream.fileno(), before)
                    raise
        except OSError as error:
            raise cannot_write(self.file, error) from error

    def _mend(self) -> None:
        """Cut off a last line without an end: what a crash left of one."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if output_path(self.file).exists():
                with self.file.open("r+b") as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX)
                    data = stream.read()
                    if data and not data.endswith(b"\n"):
                        stream.truncate(data.rfind(b"\n") + 1)
        except OSError as error:
            raise cannot_write(self.file, error) from error


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)

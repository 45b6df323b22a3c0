"""Files of JSON lines that grow while measuring: a line is there whole or not at all, whatever interrupts."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from specs.base import Spec
from specs.profile import json_line


class Ledger:
    """Appends to one file; two processes may append to the same one."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._mend()

    def append(self, value: Spec) -> None:
        """Add `value` as one line, on disk when this returns."""
        line = json_line(value).encode()
        with self.file.open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())

    def _mend(self) -> None:
        """Cut off a last line without an end: what a crash left of one."""
        if not self.file.exists():
            return
        with self.file.open("r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            data = stream.read()
            if data and not data.endswith(b"\n"):
                stream.truncate(data.rfind(b"\n") + 1)

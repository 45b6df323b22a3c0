"""Digests of large files, remembered: reading gigabytes of weights at each `planner solve` would take seconds.

What is remembered holds as long as the file's inode, size and times of change are the same, as git does it for its
index. The time of the last status change cannot be set by a program, so a file cannot be altered behind it without
that; and a file that changed less than `SETTLED` before it was read is not remembered, since it may change once more
within one tick of the clock. Artefacts and bundles never rest on this: they are digested anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from specs.errors import TierplanError
from specs.output_file import write_whole

LARGE: Final = 4_000_000
"""Bytes from which on a digest is worth remembering (5 ms)."""
SETTLED: Final = 2.0
"""Seconds."""


def remembered(file: Path, digest: Callable[[Path], str]) -> str:
    """``digest(file)``, or what it was when the file was last read as it is now. Raises what `digest` raises."""
    try:
        found = os.stat(file)
    except OSError:
        return digest(file)
    if found.st_size < LARGE:
        return digest(file)
    state = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    note = _folder() / f"{found.st_dev:x}-{found.st_ino:x}.json"
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(note.read_text("utf-8"))
        if isinstance(known, dict) and known.get("state") == state and isinstance(known.get("sha256"), str):
            return str(known["sha256"])
    began = time.time()
    value = digest(file)
    if began - max(found.st_mtime, found.st_ctime) > SETTLED:
        with contextlib.suppress(OSError, TierplanError):  # a cache that cannot be written costs time, not truth
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(note, json.dumps({"file": str(file), "state": state, "sha256": value}))
    return value


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "tierplan" / "digests"

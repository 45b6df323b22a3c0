"""What runs and lies around on this machine, for tests that nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def children(of: int | None = None) -> set[int]:
    """All living descendants of a process (this one by default)."""
    try:
        found = psutil.Process(of or os.getpid()).children(recursive=True)
    except psutil.NoSuchProcess:
        return set()
    return {p.pid for p in found if p.status() != psutil.STATUS_ZOMBIE}


def alive(pids: set[int]) -> set[int]:
    """Those of `pids` that still run; a zombie that nobody has collected does not."""
    found = set()
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.add(pid)
    return found


def in_folder(folder: str) -> set[int]:
    """Processes that name `folder` on their command line."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        if any(folder in word for word in process.info["cmdline"] or ()):
            found.add(process.pid)
    return found


def folders() -> set[str]:
    """Folders of runs under /tmp."""
    return {str(p) for p in Path(tempfile.gettempdir()).glob("tierplan-*")}


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until `holds`; whether it did in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True

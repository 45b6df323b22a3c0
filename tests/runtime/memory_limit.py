"""A limit of the kernel on what processes hold in memory: who goes beyond it is killed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@contextmanager
def memory_limit(pids: Collection[int], size: int) -> Iterator[None]:
    """On what `pids`, and whom they start, take from now on, all together, in bytes.

    Skips the test where this machine does not allow it.
    """
    root, limit = (V1, "memory.limit_in_bytes") if V1.is_dir() else (V2, "memory.max")
    group = root / f"tierplan-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of memory can be made here: {error}")
    try:
        if not (group / limit).exists():
            pytest.skip(f"{root} does not limit memory here")
        (group / limit).write_text(str(size))
        for pid in pids:
            (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        _dissolve(group, root)


def _dissolve(group: Path, root: Path) -> None:
    """Its processes go back to where all are, new ones too."""
    for _ in range(100):
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                (root / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)
    raise AssertionError(f"{group} does not become empty")

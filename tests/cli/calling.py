"""Calls the command as a user does: in a process of its own, with its streams apart."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str


def planner(*arguments: str | Path, folder: Path, timeout: float = 600) -> Called:
    """Run ``planner`` in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "planner.cli.entry", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Called(done.returncode, done.stdout, done.stderr)

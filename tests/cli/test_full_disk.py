"""A disk that is full: one line that names the file, exit code 3, and nothing half-written."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

SPECS = ("app.yaml", "--infra", "infra.yaml")


def with_files_of_at_most(size: int, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command where whatever is written beyond `size` bytes of a file fails."""
    return subprocess.run(
        [sys.executable, "-m", "planner.cli.entry", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file but what Python caches."""
    files = (f for f in folder.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


VERBS = {
    "plan.yaml": ("solve", *SPECS),
    "p.json": ("solve", *SPECS, "--save-problem", "p.json"),
    "report.html": ("report", "plan.yaml"),
    "b2": ("compile", "plan.yaml", *SPECS, "-o", "b2"),
    "bundle": ("compile", "plan.yaml", *SPECS),
    "run.prediction.json": ("run", "bundle", "--requests", "5"),
    "new/app.yaml": ("init", "new"),
}


@pytest.mark.parametrize("name", VERBS)
def test_what_does_not_fit_is_named_and_what_stood_there_stays(name: str, solved: Path) -> None:
    before = contents(solved)
    done = with_files_of_at_most(200, *VERBS[name], folder=solved)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "cannot write " in line
    assert name in line
    assert line.endswith(": File too large")
    assert "Traceback" not in done.stderr
    assert contents(solved) == before


def test_a_profile_keeps_what_was_measured_before_the_disk_was_full(solved: Path) -> None:
    """All but one record is known; its line does not fit any more."""
    file = solved / "profiles" / "profiles.jsonl"
    known = b"".join(file.read_bytes().splitlines(keepends=True)[:-1])
    file.write_bytes(known)
    limit = len(known) + 50
    done = with_files_of_at_most(limit, "profile", *SPECS, "--budget", "0.05", folder=solved)
    assert done.returncode == 3, done.stderr
    assert "error: cannot write profiles/profiles.jsonl: File too large" in done.stderr
    assert file.read_bytes() == known

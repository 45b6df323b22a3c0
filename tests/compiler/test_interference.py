"""What others take of this machine while something is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.interference import Usage, others_since

SPIN = "import time\nwhile time.process_time() < 1.0:\n    pass"
APART = f"import os\nif not os.fork():\n    exec({SPIN!r})"
"""Leaves to the system what works on, which holds its output open until it is done."""


def test_what_another_process_takes_is_counted() -> None:
    began = Usage.now()
    assert began is not None
    subprocess.run([sys.executable, "-c", APART], check=True, capture_output=True, start_new_session=True)
    others = others_since(began)
    assert others is not None
    there = (time.monotonic() - began.at) * (os.cpu_count() or 1)
    assert others * there >= 0.9  # processor seconds; the system counts in hundredths


def test_what_the_process_takes_itself_is_not() -> None:
    began = Usage.now()
    assert began is not None
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    before = replace(began, own=began.own - 0.5)  # as if half a second more had been its own
    others, fewer = others_since(began), others_since(before)
    assert others is not None
    assert fewer is not None
    there = (time.monotonic() - began.at) * (os.cpu_count() or 1)
    assert others <= 1 - 0.45 / there
    assert fewer <= max(0.0, others - 0.4 / there)


def test_what_processes_below_it_take_is_its_own_while_they_run_and_after() -> None:
    began = Usage.now()
    assert began is not None
    below = subprocess.Popen([sys.executable, "-c", f"{SPIN}\nprint(flush=True)\nimport sys\nsys.stdin.read()"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    with below:
        assert below.stdout is not None
        below.stdout.readline()
        running = Usage.now()
    ended = Usage.now()
    assert running is not None
    assert ended is not None
    assert 0.9 <= running.own - began.own <= ended.own - began.own + 0.02


def test_nothing_is_said_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("compiler.interference.STAT", tmp_path / "stat")
    assert Usage.now() is None
    assert others_since(None) is None

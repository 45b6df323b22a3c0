"""What the kernel kills for its memory is told as that, and what ends otherwise is not."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from runtime.hosting.memory_kills import MemoryKills, kills
from tests.runtime.memory_limit import memory_limit

GREEDY = "import sys; sys.stdin.readline(); x = bytearray(b'x') * 300_000_000"


def test_a_process_that_is_killed_for_its_memory_is_told_so_from_then_on_for_a_while() -> None:
    told = MemoryKills()
    with subprocess.Popen([sys.executable, "-c", GREEDY], stdin=subprocess.PIPE) as process:
        with memory_limit([process.pid], 100_000_000):
            before = kills()
            process.communicate(b"go\n", timeout=60)
        assert process.returncode == -signal.SIGKILL
    if kills() == before:
        pytest.skip("this kernel does not count what it kills for its memory")
    assert told.explain("refused").startswith("refused (where the request entered, the kernel killed a process")


def test_without_a_kill_the_reason_stands_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # Others on this machine may be killed meanwhile.
    monkeypatch.setattr("runtime.hosting.memory_kills.kills", lambda: 7)
    assert MemoryKills(7).explain("refused") == "refused"

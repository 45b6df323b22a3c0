"""`planner status --watch` in a terminal: a real one (pty), read by a terminal emulator."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import pyte
import pytest

COMMAND = (sys.executable, "-m", "tests.cli.watched")
LINES, COLUMNS = 24, 150
LIMIT = 90.0


class Terminal:
    """A process in a terminal of its own."""

    def __init__(self, *command: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        unset = ("LINES", "COLUMNS", "NO_COLOR")
        environment = {k: v for k, v in os.environ.items() if k not in unset} | {"TERM": "xterm"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment
        )
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""

    def until(self, wanted: Callable[[str], bool]) -> str:
        """The screen, as soon as it is as `wanted`."""
        end = time.monotonic() + LIMIT
        while not wanted(self.screen):
            assert time.monotonic() < end, self.screen
            if select.select([self.master], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    data = os.read(self.master, 65536)
                    self.raw += data
                    self._stream.feed(data)
        return self.screen

    @property
    def screen(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def answered(screen: str) -> int:
    line = next((line for line in screen.splitlines() if line.startswith("requests: ")), "requests: 0 ")
    return int(line.split()[1]) if line.split()[1].isdecimal() else 0


def is_whole(screen: str) -> bool:
    """What is shown comes in parts."""
    words = ("req/s", "p50", "p95", "p99", "measured", "upload@phones", "shrink", "phones-0", "q ends")
    return all(word in screen for word in words)


@pytest.mark.parametrize("end", ["q", "interrupt"])
def test_the_view_refreshes_in_its_place_and_ends_with_0(end: str) -> None:
    """Of 24 lines, too: rates, percentiles and counts; q or Ctrl-C leaves the terminal as it was."""
    terminal = Terminal(*COMMAND, "table")
    try:
        first = terminal.until(lambda s: is_whole(s) and answered(s) > 0)
        second = terminal.until(lambda s: is_whole(s) and answered(s) > answered(first))
        assert first.count("requests: ") == second.count("requests: ") == 1, "one view at a time"
        if end == "q":
            os.write(terminal.master, b"xq")
        else:
            os.killpg(terminal.process.pid, signal.SIGINT)
        terminal.until(lambda s: "left" in s.split())
        assert terminal.process.wait(LIMIT) == 0
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert terminal.raw.count(b"\x1b[?1049h") == terminal.raw.count(b"\x1b[?1049l") == 1
        assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l"), "the cursor is back"
        assert "Traceback" not in terminal.raw.decode(errors="replace")
    finally:
        terminal.close()


def test_where_nobody_looks_at_a_terminal_each_look_is_a_document() -> None:
    process = subprocess.Popen((*COMMAND, "json"), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        found, text = [], ""
        for line in process.stdout:
            text += line
            if line.rstrip() == "}":
                found.append(json.loads(text))
                text = ""
            if len(found) == 2:
                break
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().split() == ["left"]
        assert process.wait(LIMIT) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    assert [f["schema"] for f in found] == ["tierplan.status/v1"] * 2
    assert found[1]["requests"]["answered"] > found[0]["requests"]["answered"]

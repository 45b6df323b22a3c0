"""A child process answers under limits, and never outlives the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from compiler.child import Child, Limits
from specs.errors import NotKnown

WORKER = "tests.compiler.busy_worker"
PARENT = f"""
from compiler.child import Child, Limits
child = Child({WORKER!r}, Limits())
print(child.ask({{}}, "who")["pid"], flush=True)
child.ask({{"work": True}}, "work")
"""


def test_a_child_that_takes_too_long_is_ended() -> None:
    with Child(WORKER, Limits(seconds=1.0)) as child:
        pid = child.ask({}, "who")["pid"]
        with pytest.raises(NotKnown, match="no result within 1 s"):
            child.ask({"work": True}, "work")
        assert not psutil.pid_exists(pid)


def test_a_busy_child_dies_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.2)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert not psutil.wait_procs([child], timeout=10)[1] or child.status() == psutil.STATUS_ZOMBIE

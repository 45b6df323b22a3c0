"""The emulator's process, seen from the command: started, waited for, asked."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from runtime.emulate.state import CONTROL, LOG
from runtime.emulate.tun import DEVICE
from runtime.stages.child_environment import child_environment
from specs.errors import EnvironmentFailed

EMULATOR: Final = "runtime.emulate.emulator"
DOWN: Final = "planner emulate down"
ANSWER_LIMIT: Final = 10.0
START_LIMIT: Final = 60.0


class NotAllowed(EnvironmentFailed):
    """This machine, or this user's rights, do not suffice to emulate networks."""


def start_emulator(folder: Path) -> subprocess.Popen[bytes]:
    """An emulator that waits for its order on stdin; what goes wrong with it stands in the log in `folder`."""
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", EMULATOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=child_environment(),
        )


def await_ready(emulator: subprocess.Popen[bytes], folder: Path) -> None:
    """Until the sites are there. Raises NotAllowed with what is missing, EnvironmentFailed where nothing comes."""
    assert emulator.stdout is not None
    if not select.select([emulator.stdout], [], [], START_LIMIT)[0]:
        raise EnvironmentFailed(f"the emulator is not ready after {START_LIMIT:.0f} s")
    line = emulator.stdout.readline()
    answer = json.loads(line) if line else {"error": last_words(folder) or "the emulator ended without a word"}
    if "error" in answer:
        raise NotAllowed(_not_allowed(answer["error"]))


def _not_allowed(reason: str) -> str:
    if DEVICE in reason:
        way_out = f"this user must be allowed to open {DEVICE}; modprobe tun, or --device {DEVICE} of a container"
    else:
        way_out = "root is needed, or a kernel that lets users make namespaces (sysctl user.max_user_namespaces)"
    return f"this machine does not allow it: {reason} ({way_out})"


def last_words(folder: Path) -> str:
    """The last line of the emulator's log, which is empty where it made no mistake."""
    with contextlib.suppress(OSError):
        return "".join((folder / LOG).read_text("utf-8", "replace").strip().splitlines()[-1:])
    return ""


def ask(request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the emulator of `folder` answers. Raises EnvironmentFailed where it does not."""
    answer: dict[str, Any]
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
                control.settimeout(ANSWER_LIMIT)
                control.connect(f"/proc/self/fd/{handle}/{CONTROL}")
                control.sendall(json.dumps(request).encode())
                answer = json.loads(control.recv(1 << 20))
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise EnvironmentFailed(f"the emulator does not answer ({error}); {DOWN} ends it") from error
    if "error" in answer:
        raise EnvironmentFailed(f"the emulator refused: {answer['error']}")
    return answer

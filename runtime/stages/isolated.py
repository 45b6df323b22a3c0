"""A function in a process of its own, where its component has an environment or secrets: no other function sees them.

The process is asked through pipes: a header in JSON, then raw values (`runtime.stages.isolated_worker` is its side).
What a call costs beside the function is part of what `planner profile` measures, since it opens functions in the same
way.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from runtime.stages.child_environment import child_environment
from runtime.stages.functions import Function, Raised, load_function
from runtime.stages.secrets import NO_SECRETS, Secrets
from runtime.values import Value, pack, unpack
from specs.emulation import busy_elsewhere
from specs.errors import EnvironmentFailed, InputError, Issue, Place

HEAD: Final = struct.Struct("<I")
END_LIMIT: Final = 2.0
"""Seconds that the process has to end by itself."""


def open_isolated(
    project: Path, function: str, environment: Mapping[str, str] | None = None, secrets: Sequence[str] = ()
) -> Function:
    """`function`, in a process of its own with `environment` added where one is given, else in this one.

    The values of those of its names that are `secrets` are hidden in all that the process says. Raises InputError as
    `load_function` does.
    """
    if environment is None:
        return load_function(project, function)
    hidden = Secrets({name: environment[name] for name in secrets})
    return IsolatedFunction(project, function, environment, hidden)


class IsolatedFunction:
    """A callable that takes and gives what the function does. Serves one thread at a time."""

    def __init__(
        self, project: Path, function: str, environment: Mapping[str, str], secrets: Secrets = NO_SECRETS
    ) -> None:
        """Starts the process and imports the function in it. Raises InputError where that cannot be done."""
        self._project, self._function = project, function
        self._environment, self._secrets = environment, secrets
        self.place: Place | None = None
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "runtime.stages.isolated_worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**child_environment(), **self._environment},
        )
        self._end = weakref.finalize(self, _end, self._process)
        threading.Thread(target=_relay, args=(self._process.stderr, self._secrets), daemon=True).start()
        order = {"project": str(self._project.resolve()), "function": self._function}
        answer, _ = self._ask(order, {})
        if "issues" in answer:
            self._end()
            raise InputError(*(self._issue(*issue) for issue in answer["issues"]))
        self.place = _place(answer["place"])

    def __call__(self, **inputs: Value) -> Mapping[str, object]:
        """Raises Raised for what the function raises, EnvironmentFailed where its process ends; the next call starts
        another.
        """
        if not self._end.alive:
            self._start()
        answer, data = self._ask({}, inputs)
        busy_elsewhere(answer["busy"])
        if "raised" in answer:
            raise Raised(self._secrets.hide(answer["raised"]), _place(answer["place"]))
        found: dict[str, object] = {**answer["plain"], **unpack(answer["values"], data)}
        return found

    def peak_memory(self) -> int:
        """Bytes that the process held at most."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def close(self) -> None:
        """End the process."""
        self._end()

    def _ask(self, head: dict[str, Any], values: Mapping[str, Value]) -> tuple[dict[str, Any], memoryview]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            write(self._process.stdin, head, values)
            return read(self._process.stdout)
        except (OSError, EOFError):
            self._end()
            code = self._process.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise EnvironmentFailed(f"the process of {self._function} ended with {how}") from None

    def _issue(self, message: str, place: Sequence[Any] | None, hint: str) -> Issue:
        return Issue(self._secrets.hide(message), _place(place), hint)


def write(stream: IO[bytes], head: Mapping[str, Any], values: Mapping[str, Value]) -> None:
    """One message: `head` and `values`, which must be canonical. Raises TypeError for a head that is no JSON."""
    described, buffers = pack(values)
    count = sum(memoryview(b).nbytes for b in buffers)
    text = json.dumps({**head, "values": described, "bytes": count}, default=_listed).encode()
    stream.write(HEAD.pack(len(text)) + text)
    for buffer in buffers:
        stream.write(buffer)
    stream.flush()


def _listed(value: object) -> object:
    """What of numpy stands in lists."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"expected numbers, got {type(value).__name__}")


def read(stream: IO[bytes]) -> tuple[dict[str, Any], memoryview]:
    """The next message: its head, and the bytes that ``unpack(head["values"], ...)`` takes. Raises EOFError."""
    (length,) = HEAD.unpack(_exactly(stream, HEAD.size))
    head: dict[str, Any] = json.loads(_exactly(stream, length))
    return head, memoryview(_exactly(stream, head["bytes"]))


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _place(found: Sequence[Any] | None) -> Place | None:
    return Place(*found) if found else None


def _relay(stream: IO[bytes], secrets: Secrets) -> None:
    """What the process prints goes where this one's messages go, without its secrets."""
    with stream:
        for line in stream:
            sys.stderr.write(secrets.hide(line.decode("utf-8", "replace")))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end by the end of its input, and kill it where it does not: a thread may be reading what it answers, so
    that this is closed last.
    """
    _close(process.stdin)
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _close(process.stdout)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()

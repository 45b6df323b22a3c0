"""A child process that answers requests, one JSON line each, under limits of memory and time.

Building and measuring run models of unknown origin through LLVM and ONNX Runtime: what crashes, hangs or eats memory
there ends a child, not the command.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from specs.errors import EnvironmentFailed, InputError, Issue, NotKnown, Place, TierplanError

_PR_SET_PDEATHSIG: Final = 1
"""Of prctl(2), Linux. The signal comes when the thread that started the child ends, which must outlive it."""
Handler = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory` is address space in bytes (LLVM and stacks reserve more than they touch), `seconds` a request's time."""

    memory: int = 16 << 30
    seconds: float = 180.0


class Child:
    """Runs `python -m MODULE` and exchanges JSON lines with it. A context manager: leaving it ends the child."""

    def __init__(self, module: str, limits: Limits, env: dict[str, str] | None = None) -> None:
        self._limits = limits
        root = Path(__file__).resolve().parents[1]
        path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(limits.memory), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path} | (env or {}),
            start_new_session=True,
        )
        self._buffer = b""
        self._said = b""

    def ask(self, request: dict[str, Any], what: str) -> dict[str, Any]:
        """The answer to `request`; `what` names it in errors.

        Raises what the handler raised of our own errors; NotKnown when the time or memory limit was reached;
        EnvironmentFailed when the child died.
        """
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died(what) from None
        answer = json.loads(self._line(what))
        if "error" in answer:
            raise _decode(answer["error"])
        return dict(answer["answer"])

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End the child at once, from any thread: who waits for its answer is told that it died."""
        with suppress(ProcessLookupError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the child at once; nothing of it stays behind."""
        self.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, what: str) -> bytes:
        assert self._process.stdout
        assert self._process.stderr
        end = time.monotonic() + self._limits.seconds
        out, err = self._process.stdout.fileno(), self._process.stderr.fileno()
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0:
                self.close()
                raise NotKnown(
                    f"{what}: no result within {self._limits.seconds:g} s; simplify the model or raise the limit"
                )
            ready, _, _ = select.select([out, err], [], [], left)
            if err in ready:
                self._said = (self._said + os.read(err, 65536))[-4096:]
            if out in ready:
                data = os.read(out, 1 << 20)
                if not data:
                    raise self._died(what)
                self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def _died(self, what: str) -> TierplanError:
        code = self._process.wait()
        self.close()
        if code == -signal.SIGXCPU:
            return NotKnown(f"{what}: no result within the processor time allowed")
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        last = (self._said.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1][:200]
        return EnvironmentFailed(f"{what}: the child process ended with {reason}: {last}")


def serve(handler: Handler) -> None:
    """The child's side: limit this process's memory, then answer each line of stdin until it, or the parent, ends.

    Whatever libraries print goes to stderr, so that stdout carries answers only.
    """
    import resource

    memory, parent = int(sys.argv[1]), int(sys.argv[2])
    _end_with(parent)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(_answer(handler, json.loads(line))), file=answers, flush=True)


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, in whatever way; long work would outlive it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was quicker
        os._exit(1)


def _answer(handler: Handler, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": handler(request)}
    except MemoryError:
        return {"error": {"kind": "NotKnown", "text": "not enough memory within the limit"}}
    except InputError as error:
        return {"error": {"kind": "InputError", "issues": [_encode(issue) for issue in error.issues]}}
    except TierplanError as error:
        return {"error": {"kind": type(error).__name__, "text": str(error)}}
    except Exception as error:
        text = (str(error).strip().splitlines() or [""])[0][:300]
        return {"error": {"kind": "EnvironmentFailed", "text": f"{type(error).__name__}: {text}"}}


def _encode(issue: Issue) -> dict[str, Any]:
    place = [issue.place.file, issue.place.line, issue.place.column] if issue.place else None
    return {"message": issue.message, "place": place, "hint": issue.hint}


def _decode(error: dict[str, Any]) -> TierplanError:
    if error["kind"] == "InputError":
        issues = (Issue(i["message"], Place(*i["place"]) if i["place"] else None, i["hint"]) for i in error["issues"])
        return InputError(*issues)
    kinds = {kind.__name__: kind for kind in TierplanError.__subclasses__()}
    return kinds.get(error["kind"], EnvironmentFailed)(error["text"])

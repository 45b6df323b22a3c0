"""The process of one function: `runtime.stages.isolated` starts it; it answers calls until its stdin or parent ends."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from runtime.garbage import settle
from runtime.stages.functions import Function, load_function
from runtime.stages.isolated import read, write
from runtime.values import Value, unpack
from specs.errors import InputError, Place

LOOK: Final = 1.0
"""Seconds between looks whether the parent lives: a function that never returns would not hear that stdin ended."""
_PLAIN: Final = (bool, int, float, list, tuple, type(None))


def main() -> None:
    parent = int(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed goes elsewhere: this pipe carries answers only
    order, _ = read(calls)
    project = Path(order["project"])
    try:
        function = load_function(project, order["function"])
    except InputError as error:
        issues = [[i.message, _tuple(i.place), i.hint] for i in error.issues]
        write(answers, {"issues": issues, "busy": 0.0}, {})
        return
    settle()
    code = getattr(inspect.unwrap(function), "__code__", None)
    file = code.co_filename if code is not None else ""
    write(answers, {"place": [file, code.co_firstlineno, 1] if code is not None else None, "busy": 0.0}, {})
    while True:
        try:
            head, data = read(calls)
        except EOFError:
            return
        _answer(function, unpack(head["values"], data), file, answers)


def _answer(function: Function, inputs: Mapping[str, Value], file: str, answers: IO[bytes]) -> None:
    began = time.thread_time()
    try:
        result = function(**{k: v if isinstance(v, (bytes, str)) or v.ndim else v[()] for k, v in inputs.items()})
        plain, values = _split(result)
        write(answers, {"plain": plain, "busy": time.thread_time() - began}, values)
    except (Exception, SystemExit) as error:  # user code may raise anything
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        place = [file, lines[-1], 1] if lines else None
        said = {"raised": f"{type(error).__name__}: {error}", "place": place}
        write(answers, {**said, "busy": time.thread_time() - began}, {})


def _split(result: object) -> tuple[dict[str, Any], dict[str, Value]]:
    """What travels as JSON, and what travels raw. Raises TypeError for what is no value."""
    if not isinstance(result, Mapping):
        raise TypeError(f"expected a dictionary of outputs, got {type(result).__name__}")
    plain = {str(k): v for k, v in result.items() if isinstance(v, _PLAIN) and not isinstance(v, np.generic)}
    values = {str(k): _raw(str(k), v) for k, v in result.items() if str(k) not in plain}
    return plain, values


def _raw(name: str, value: object) -> Value:
    if isinstance(value, (bytes, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)) and not np.asarray(value).dtype.hasobject:
        return np.asarray(value)
    raise TypeError(f"{name}: expected bytes, text, a number or an array, got {type(value).__name__}")


def _tuple(place: Place | None) -> list[Any] | None:
    return None if place is None else [place.file, place.line, place.column]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


if __name__ == "__main__":
    main()

"""The child that measures: opens what it is told to, runs it on the samples in turn, answers with what that took."""

from __future__ import annotations

import ctypes
import gc
import importlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from compiler.child import serve
from compiler.interference import Usage, others_since
from compiler.samples import load_samples
from specs.emulation import Stopwatch, emulated_seconds
from specs.statistics import summarise

WARMING: Final = 60.0
"""Seconds after which warming up ends, so that the child still has time to measure what is slow."""
_LIBRARIES = {"tvm": "tvm.runtime.vm", "onnxruntime": "onnxruntime", "openvino": "openvino"}
"""Imported before memory is measured: a process pays for its library once, not once a model."""


def handle(request: dict[str, Any]) -> dict[str, Any]:
    load_library(request["backend"])
    samples = load_samples(Path(request["samples"]))
    others = np.ones(request["budget"]["evict"], np.uint8)  # before memory is counted: it is not the subject's
    before = settle()
    run, elsewhere = _open(request)
    ends = list(itertools.accumulate(request["parts"]))
    parts = [samples[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    if request["keeps_state"]:  # its memory is told without the state, which warming up fills
        run(samples[0])
        memory = status("VmHWM") - before + elsewhere()
    began = Usage.now()
    timed, seen = [], 0
    for part in parts:
        turns = itertools.cycle(part)
        seen += _warm(run, turns, _most_warmups(request, len(part)))
        timed.append(_time(run, turns, request["budget"], others))
    used_by_others = others_since(began)
    if not request["keeps_state"]:
        memory = status("VmHWM") - before + elsewhere()
    latency = {
        cpu: [summarise([emulated_seconds(*r, float(cpu)) for r in runs]).dump() for runs in timed]
        for cpu in request["cpus"]
    }
    return {"latency": latency, "memory": memory, "others": used_by_others, "seen": seen}


def _most_warmups(request: dict[str, Any], samples: int) -> int:
    """What keeps state has seen every sample before it is timed, if `WARMING` suffices: it may be slower, the more it
    knows."""
    least = int(request["budget"]["warmup"])
    return max(least, samples) if request["keeps_state"] else least


def _warm(run: Callable[[dict[str, Any]], Any], turns: Iterator[dict[str, Any]], most: int) -> int:
    """Run `most` samples, or as many as `WARMING` allows; how many those were."""
    end = time.perf_counter() + WARMING
    for done in range(most):
        if time.perf_counter() > end:
            return done
        run(next(turns))
    return most


def load_library(backend: str) -> None:
    """Import what a backend runs on; nothing for others."""
    if backend in _LIBRARIES:
        importlib.import_module(_LIBRARIES[backend])


def _open(request: dict[str, Any]) -> tuple[Callable[[dict[str, Any]], Any], Callable[[], int]]:
    """What takes one sample, and what says how many bytes another process held for that at most."""
    module, name = request["open"].split(":")
    opener = getattr(importlib.import_module(module), name)
    folder = Path(request["folder"])
    if request["function"]:
        own = () if request["environment"] is None else (request["environment"], request["secrets"])
        typed = {"outputs": request["outputs"]} if request["outputs"] else {}
        typed |= {"keeps_state": True} if request["keeps_state"] else {}
        typed |= {"timeout": request["timeout"]} if request["timeout"] is not None else {}
        function = opener(folder, request["function"], *own, **typed)
        return lambda sample: function(**sample), getattr(function, "peak_memory", lambda: 0)
    executor = opener(folder, int(request["threads"]), **request["on_wire"])
    return lambda sample: executor.run(sample), lambda: 0


def _time(
    run: Callable[[dict[str, Any]], Any],
    turns: Iterator[dict[str, Any]],
    budget: dict[str, Any],
    others: np.ndarray[Any, Any],
) -> list[tuple[float, float]]:
    """Seconds (elapsed, on the processor) of each run, the samples in turn, each after a pause that cools the caches.

    Writing `others` puts something else into them.

    A stage serves one request now and then, and others use the machine between: runs back to back would promise more.
    """
    runs: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(runs) < budget["most"]:
        if budget["pause"]:
            others += 1
            time.sleep(budget["pause"])
        watch = Stopwatch.start()
        run(next(turns))
        runs.append(watch.read())
        spent, count = time.perf_counter() - began, len(runs)
        if count >= budget["fewest"] and (
            (spent >= budget["seconds"] and count >= budget["least"]) or spent >= budget["seconds_most"]
        ):
            break
    return runs


def settle() -> int:
    """Bytes resident once garbage is given back; the peak counts from here."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak of resident memory
    return status("VmRSS")


def status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    serve(handle)

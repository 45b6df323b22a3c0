"""The sides of a comparison, each in a process of its own: our artefact, ONNX Runtime, OpenVINO; all fully optimised.

Their thread pools disturb each other in one process. A side answers one block of runs at a time, so that all sides see
the machine's ups and downs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.child import Child, Limits, serve
from compiler.samples import Sample, load_samples, save_samples
from runtime.executors import open_executor
from runtime.executors.tvm import fields, writable
from specs.artefact import Executor

BLOCKS, SECONDS = 7, 0.3
"""Blocks a side, and how long each is measured."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Median of each block in seconds, all runs, and the outputs; `processor` is the least processor time of a run."""

    blocks: tuple[float, ...]
    runs: int
    outputs: dict[str, np.ndarray[Any, Any]]
    processor: float

    @property
    def median(self) -> float:
        return statistics.median(self.blocks)


@dataclass(frozen=True, slots=True)
class Side:
    """`kind` is "artefact" (`path` its folder), "openvino" (an ONNX file) or "library" (what TVM exported)."""

    name: str
    kind: str
    path: Path


def alternate(sides: list[Side], sample: Sample, threads: int, blocks: int = BLOCKS) -> dict[str, Timing]:
    """Every side timed on `sample`, in turns. Raises what a side raised."""
    medians: dict[str, list[float]] = {side.name: [] for side in sides}
    runs = dict.fromkeys(medians, 0)
    processor = dict.fromkeys(medians, float("inf"))
    outputs: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        given = Path(folder) / "sample.npz"
        save_samples(given, [sample])
        children = {side.name: Child("benchmarks.peers", Limits(seconds=180)) for side in sides}
        try:
            for turn in range(blocks + 1):  # the first block warms up
                for side in sides if turn % 2 else reversed(sides):
                    result = Path(folder) / f"{side.name}.npz"
                    request = {"kind": side.kind, "path": str(side.path), "threads": threads, "sample": str(given)}
                    answer = children[side.name].ask(request | {"result": str(result)}, f"running {side.name}")
                    if turn:
                        medians[side.name].append(answer["median"])
                        runs[side.name] += answer["runs"]
                        processor[side.name] = min(processor[side.name], answer["processor"])
            for side in sides:
                outputs[side.name] = dict(load_samples(Path(folder) / f"{side.name}.npz")[0])
        finally:
            for child in children.values():
                child.close()
    return {name: Timing(tuple(medians[name]), runs[name], outputs[name], processor[name]) for name in medians}


class _OpenVino:
    """OpenVINO's CPU plugin for latency, float32 throughout."""

    def __init__(self, file: Path, threads: int) -> None:
        import openvino

        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        compiled = core.compile_model(core.read_model(str(file)), "CPU", options)
        self._names = [output.get_any_name() for output in compiled.outputs]
        self._request = compiled.create_infer_request()

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        results = self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return dict(zip(self._names, results.values(), strict=True))


class _Library:
    """A library of `compiler.lower`, for batches that an artefact does not take; called as the runtime calls one."""

    def __init__(self, file: Path) -> None:
        import tvm
        from tvm.runtime.vm import VirtualMachine

        self._main = VirtualMachine(tvm.runtime.load_module(str(file)), tvm.cpu())["main"]
        self._tensors: list[Any] = []
        self._views: list[Any] = []
        self._outputs = 0

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        from tvm.runtime import empty

        if not self._tensors:
            self._tensors = [empty(value.shape, str(value.dtype)) for value in inputs.values()]
            self._views = [writable(tensor) for tensor in self._tensors]
        for view, value in zip(self._views, inputs.values(), strict=True):
            np.copyto(view, value)
        result = self._main(*self._tensors)
        self._outputs = self._outputs or (1 if hasattr(result, "numpy") else len(result))
        tensors = fields(result, self._outputs)
        return {str(i): np.from_dlpack(tensor) for i, tensor in enumerate(tensors)}


class _Onnx:
    """ONNX Runtime on a file, for batches that an artefact does not take."""

    def __init__(self, file: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(file), options)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {str(i): value for i, value in enumerate(self._session.run(None, dict(inputs)))}


def _open(kind: str, path: Path, threads: int) -> Executor:
    if kind == "openvino":
        return _OpenVino(path, threads)
    if kind == "library":
        return _Library(path)
    return _Onnx(path, threads) if kind == "onnx" else open_executor(path, threads)


_OPENED: dict[str, tuple[Executor, Sample]] = {}


def _block(request: dict[str, Any]) -> dict[str, Any]:
    """The child's work: runs for SECONDS, at least three times, after one that wakes its threads."""
    key = f"{request['kind']} {request['path']}"
    if key not in _OPENED:
        (first,) = load_samples(Path(request["sample"]))
        opened = _open(request["kind"], Path(request["path"]), int(request["threads"]))
        _OPENED[key] = opened, first
        save_samples(Path(request["result"]), [opened.run(first)])
    executor, sample = _OPENED[key]
    executor.run(sample)
    times: list[float] = []
    processor: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 3:
        started, spent = time.perf_counter(), time.process_time()
        executor.run(sample)
        processor.append(time.process_time() - spent)
        times.append(time.perf_counter() - started)
    return {"median": statistics.median(times), "runs": len(times), "processor": min(processor)}


if __name__ == "__main__" and len(sys.argv) == 3 and all(map(str.isdigit, sys.argv[1:])):
    serve(_block)  # a child of this benchmark: its arguments are the memory limit and the parent

"""Each model compiled by TVM beside ONNX Runtime: same inputs, equal threads, both fully optimised, taken in turns.

`python -m benchmarks.models` writes benchmarks/results/models.json. Each side is loaded in a process of its own (their
thread pools disturb each other) and answers one block of runs at a time, so that both see the machine's ups and downs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from compiler.build import build_all
from compiler.child import Child, Limits, serve
from compiler.host import host
from compiler.job import job, versions
from compiler.numerics import check
from compiler.samples import load_samples, save_samples
from compiler.signature import read_signature
from compiler.store import Store
from runtime.executors import open_executor
from specs.artefact import ModelBackend
from specs.artefact_folder import read_artefact
from specs.errors import TierplanError

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "models.json"
BACKENDS: tuple[ModelBackend, ModelBackend] = ("tvm", "onnxruntime")
EXAMPLE = HERE.parent / "examples" / "blog_upload" / "models"
LIGHT = ("squeezenet", "resnet50", "inception_v1", "densenet121")
"""Models that come with the package onnx; their weights are constant, which decides nothing about their speed."""

BLOCKS, SECONDS = 7, 0.35
"""Blocks a side, and how long each is measured."""


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    model: Path
    threads: int


def cases(threads: list[int]) -> Iterator[Case]:
    """The example's models, and the image models of the package onnx."""
    found = find_spec("onnx")
    light = Path(found.origin).parent / "backend" / "test" / "data" / "light" if found and found.origin else Path()
    files = [*sorted(EXAMPLE.glob("*.onnx")), *(light / f"light_{name}.onnx" for name in LIGHT)]
    for file, count in itertools.product((f for f in files if f.is_file()), threads):
        yield Case(file.stem.removeprefix("light_"), file, count)


def inputs(model: Path) -> dict[str, Any]:
    """Random values of the model's types; small natural numbers for integers, which index tables."""
    rng = np.random.default_rng(0)
    values = {}
    for name, type_ in read_signature(model).inputs.items():
        shape, dtype = (1, *map(int, type_.shape)), np.dtype(type_.numpy)
        drawn = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(1, 200, shape)
        values[name] = drawn.astype(dtype)
    return values


def measure(case: Case, store: Store) -> dict[str, Any]:
    """One row: medians of both sides in milliseconds, in turns; raises what building or checking raised."""
    started = time.perf_counter()
    jobs = [job(case.model, backend, case.threads) for backend in BACKENDS]
    built = {one.job.backend: one for one in build_all(jobs, store)}
    seconds = time.perf_counter() - started
    folders = {}
    for backend, one in built.items():
        if one.error is not None:
            raise one.error
        assert one.folder is not None
        folders[backend] = one.folder
    sample = inputs(case.model)
    difference = check(folders["tvm"], folders["onnxruntime"], [sample], open_executor)
    blocks: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    runs = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sample.npz"
        save_samples(file, [sample])
        children = {backend: Child("benchmarks.models", Limits(seconds=120)) for backend in BACKENDS}
        try:
            for turn in range(BLOCKS + 1):  # the first block warms up
                for backend in BACKENDS if turn % 2 else reversed(BACKENDS):
                    request = {"folder": str(folders[backend]), "threads": case.threads, "sample": str(file)}
                    answer = children[backend].ask(request, f"{case.name} on {backend}")
                    if turn:
                        blocks[backend].append(answer["median"])
                        runs += answer["runs"]
        finally:
            for child in children.values():
                child.close()
    ours, peer = (statistics.median(blocks[b]) * 1e3 for b in BACKENDS)
    ratios = [a / b for a, b in zip(blocks["tvm"], blocks["onnxruntime"], strict=True)]
    return {
        "case": f"{case.name}, {case.threads} thread{'s' if case.threads > 1 else ''}",
        "metric": "ms",
        "ours": round(ours, 4),
        "peer_name": "onnxruntime",
        "peer": round(peer, 4),
        "ratio": round(statistics.median(ratios), 3),
        "spread": round((max(ratios) - min(ratios)) / 2, 3),
        "runs": runs,
        "difference": difference.relative,
        "build_seconds": None if all(b.cached for b in built.values()) else round(seconds, 1),
        "fallback": list(read_artefact(folders["tvm"]).fallback),
    }


_OPEN: dict[str, Any] = {}


def _block(request: dict[str, Any]) -> dict[str, Any]:
    """The child's side: runs for SECONDS, at least five times."""
    executor = _OPEN.setdefault(request["folder"], None) or open_executor(Path(request["folder"]), request["threads"])
    _OPEN[request["folder"]] = executor
    (sample,) = load_samples(Path(request["sample"]))
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 5:
        started = time.perf_counter()
        executor.run(sample)
        times.append(time.perf_counter() - started)
    return {"median": statistics.median(times), "runs": len(times)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", help="names of models")
    parser.add_argument("-o", "--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    rows, failed = [], 0
    threads = [t for t in arguments.threads if t <= host().cores]
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        for case in cases(threads):
            if arguments.only and case.name not in arguments.only:
                continue
            try:
                row = measure(case, Store(Path(folder)))
            except TierplanError as error:
                print(f"{case.name}, {case.threads} threads: {error}", file=sys.stderr)
                failed += 1
                continue
            rows.append(row)
            times = f"{row['ours']:9.3f} ms  {row['peer']:9.3f} ms  {row['ratio']:.2f} +- {row['spread']:.2f}"
            print(f"{row['case']:28} {times}", file=sys.stderr)
    result = {
        "schema": "tierplan.benchmark/v1",
        "versions": versions("tvm") | versions("onnxruntime") | {"compiler": versions("tvm")["compiler"]},
        "machine": {"cpu": host().cpu, "level": host().level, "cores": host().cores},
        "rows": rows,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(arguments.output)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].isdigit():  # a child of this benchmark: its one argument is the memory limit
        serve(_block)
    else:
        sys.exit(main())

"""Each model compiled by TVM beside ONNX Runtime and OpenVINO: same inputs, equal threads, float32, taken in turns.

`python -m benchmarks.compile` writes benchmarks/results/compile-MACHINE.json: machines differ, so each has its file.
Rows that are not measured again (`--only`) stay. The mark is the better peer of a row; errors are against float64.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.exact import error, exact
from benchmarks.peak import peak
from benchmarks.peers import Side, alternate
from benchmarks.zoo import work, zoo
from compiler.build import build_all
from compiler.child import Limits
from compiler.host import host
from compiler.job import job, versions
from compiler.model import load_model, prepare
from compiler.signature import read_signature
from compiler.store import Store
from specs.artefact import ModelBackend
from specs.artefact_folder import read_artefact
from specs.errors import TierplanError

OURS: tuple[ModelBackend, ModelBackend] = ("tvm", "onnxruntime")
RESULTS = Path(__file__).resolve().parent / "results"
_LAST_LEVEL_CACHE = 32 << 20
"""Weights beyond this many bytes come from memory in every run."""


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    write: Callable[[], Path]
    threads: int

    @property
    def title(self) -> str:
        return f"{self.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"


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
    """One row; raises what building or running raised."""
    file = case.write()
    folders, seconds = _build(case, file, store)
    sides = [Side(name, "artefact", folder) for name, folder in folders.items()]
    (model, sample, expected), made = _meaning(file), read_artefact(folders["tvm"])
    trees = any(node.domain == "ai.onnx.ml" for node in model.graph.node)  # which OpenVINO does not have
    if find_spec("openvino") and not trees:
        sides.append(Side("openvino", "openvino", folders["onnxruntime"] / "model.onnx"))
    if made.winograd:
        sides.append(Side("direct", "library", _direct(model, case.threads, store.root)))
    timings = alternate(sides, sample, case.threads)
    ours, direct = timings.pop("tvm"), timings.pop("direct", None)
    best = min(timings, key=lambda name: timings[name].median)
    ratios = [a / b for a, b in zip(ours.blocks, timings[best].blocks, strict=True)]
    errors = {name: error(timing.outputs, expected) for name, timing in {"tvm": ours, **timings}.items()}
    without = {}
    if direct is not None:
        names = [output.name for output in model.graph.output]
        found = {name: direct.outputs[str(i)] for i, name in enumerate(names)}
        without = {
            "ms": round(direct.median * 1e3, 4),
            "ratio": round(direct.median / timings[best].median, 3),
            "error": float(f"{error(found, expected):.2g}"),
        }
    return {
        "case": case.title,
        "metric": "ms",
        "ours": round(ours.median * 1e3, 4),
        "peer_name": best,
        "peer": round(timings[best].median * 1e3, 4),
        "ratio": round(statistics.median(ratios), 3),
        "spread": round((max(ratios) - min(ratios)) / 2, 3),
        "runs": ours.runs + sum(t.runs for t in timings.values()),
        "peers": {name: round(t.median * 1e3, 4) for name, t in timings.items()},
        "error": {name: float(f"{value:.2g}") for name, value in errors.items()},
        "share_of_peak": _share(model, ours.median, case.threads),
        "build_seconds": seconds,
        "fallback": list(made.fallback),
        "winograd": list(made.winograd),
        "without_winograd": without,
    }


def _direct(model: onnx.ModelProto, threads: int, folder: Path) -> Path:
    """A library of the model without Winograd's algorithm, to time it and its error beside."""
    from compiler.importer import import_model
    from compiler.lower import lower

    file = folder / "direct.so"
    lower(import_model(model, "direct"), host().target, threads, winograd=False).executable.export_library(str(file))
    return file


@cache
def _meaning(file: Path) -> tuple[onnx.ModelProto, dict[str, Any], dict[str, Any]]:
    """(The model prepared, inputs for it, its outputs in float64)."""
    model, sample = prepare(load_model(file), {}, str(file)), inputs(file)
    return model, sample, exact(model, sample)


def _build(case: Case, file: Path, store: Store) -> tuple[dict[str, Path], float | None]:
    """(artefact folders by backend, seconds that ours took, or None where it was there)."""
    folders: dict[str, Path] = {}
    seconds = None
    for backend in OURS:
        started = time.perf_counter()
        (built,) = build_all([job(file, backend, case.threads)], store, Limits(seconds=600))
        if built.error is not None:
            raise built.error
        assert built.folder is not None
        folders[backend] = built.folder
        if backend == "tvm" and not built.cached:
            seconds = round(time.perf_counter() - started, 1)
    return folders, seconds


def _share(model: onnx.ModelProto, seconds: float, threads: int) -> dict[str, float]:
    """The shares of the machine's multiply-adds and, where the weights fit no cache, of its memory's bandwidth."""
    operations, size = work(model)
    rate, bandwidth = peak(threads)
    shares = {"flops": round(operations / seconds / rate, 3)}
    if size > _LAST_LEVEL_CACHE:
        shares["bandwidth"] = round(size / seconds / bandwidth, 3)
    return shares


def cases(folder: Path, threads: list[int], only: list[str] | None) -> Iterator[Case]:
    for (name, write), count in itertools.product(zoo(folder), threads):
        if not only or name in only:
            yield Case(name, write, count)


def result_file() -> Path:
    """benchmarks/results/compile-CPU-LEVEL.json: one maker's name can stand for several instruction sets."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{host().cpu}-{host().level}".lower()).strip("-")
    return RESULTS / f"compile-{name}.json"


def write_result(file: Path, rows: list[dict[str, Any]]) -> None:
    """Put `rows` in `file`, in place of those of the same case; the others stay, each with its compiler's digest."""
    old = json.loads(file.read_text("utf-8"))["rows"] if file.is_file() else []
    merged = {row["case"]: row for row in (*old, *rows)}
    found = versions("tvm") | versions("onnxruntime") | {"compiler": versions("tvm")["compiler"]}
    if find_spec("openvino"):
        found["openvino"] = version("openvino")
    result = {
        "schema": "tierplan.benchmark/v1",
        "versions": found,
        "machine": {"cpu": host().cpu, "level": host().level, "cores": host().cores},
        "geometric_mean": round(math.exp(statistics.fmean(math.log(row["ratio"]) for row in merged.values())), 3),
        "rows": list(merged.values()),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", help="names of models")
    parser.add_argument("--models", type=Path, help="folder that keeps the models; default: a temporary one")
    parser.add_argument("-o", "--output", type=Path, default=result_file())
    arguments = parser.parse_args()
    failed = 0
    threads = [t for t in arguments.threads if t <= host().cores]
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        models = arguments.models or Path(folder)
        models.mkdir(parents=True, exist_ok=True)
        for case in cases(models, threads, arguments.only):
            try:
                row = measure(case, Store(Path(folder) / "store"))
            except TierplanError as problem:
                print(f"{case.title}: {problem}", file=sys.stderr)
                failed += 1
                continue
            row["compiler"] = versions("tvm")["compiler"]
            write_result(arguments.output, [row])
            times = f"{row['ours']:9.3f} ms  {row['peer']:9.3f} ms {row['peer_name']:11}"
            shares = "  ".join(f"{share:.0%} {what}" for what, share in row["share_of_peak"].items())
            worse = row["error"]["tvm"] / max(min(v for k, v in row["error"].items() if k != "tvm"), 1e-12)
            ratio = f"{row['ratio']:.2f} +- {row['spread']:.2f}"
            if row["winograd"]:
                shares += f"  ({row['without_winograd']['ratio']:.2f} without Winograd)"
            print(f"{case.title:24} {times} {ratio}  error x{worse:.1f}  {shares}", file=sys.stderr)
    print(arguments.output)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

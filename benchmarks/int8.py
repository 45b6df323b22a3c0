"""Each model in int8 beside itself in float32, both compiled by us on one thread, and beside ONNX Runtime's int8.

`python -m benchmarks.int8` writes benchmarks/results/int8-MACHINE.json. Times are the least processor time of a run, so
that what else a machine does counts little; the sides take turns, each in a process of its own. `agreement` is how far
the outputs are from those in float32, as a share of the largest value: weights are random but for MiniLM's, so that it
says how much is rounded, not how accurate a trained model stays.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.compile import RESULTS, inputs, write_result
from benchmarks.peers import Side, alternate
from benchmarks.zoo import zoo
from compiler.build import build
from compiler.child import Limits
from compiler.given import Given
from compiler.host import host
from compiler.job import job, versions
from compiler.model import source_digest
from compiler.quantize import quantize
from compiler.schedules.machine import machine_of
from compiler.store import Store
from specs.errors import TierplanError

MODELS: Final = ("resnet50", "squeezenet", "vgg19", "mobilenetv2", "minilm_16", "minilm_64", "minilm_128")
MARK: Final = 0.60
"""Of our own time in float32, at most."""


def measure(name: str, file: Path, store: Store) -> dict[str, Any]:
    """One row; raises what quantizing, building or running raised."""
    source, sample = source_digest(file), inputs(file)
    limits = Limits(seconds=900)
    small = quantize(name, Given(name, file, source), f"{source} int8", [sample], store, limits)
    folders = {
        f"{backend}-{kind}": build(job(model, backend), store, limits)
        for kind, model in (("float32", file), ("int8", small))
        for backend in ("tvm", "onnxruntime")
    }
    sides = [Side(side, "artefact", folder) for side, folder in folders.items()]
    if find_spec("openvino"):
        sides.append(Side("openvino-int8", "openvino", folders["onnxruntime-int8"] / "model.onnx"))
    timings = alternate(sides, sample, 1)
    least = {side: 1e3 * timing.processor for side, timing in timings.items()}
    peers = {side: time for side, time in least.items() if side.endswith("int8") and side != "tvm-int8"}
    best = min(peers, key=lambda side: peers[side])
    outputs = {side: timing.outputs for side, timing in timings.items()}
    assert small.quantization is not None
    return {
        "case": f"{name}, 1 thread",
        "metric": "ms of processor time",
        "ours": round(least["tvm-int8"], 3),
        "peer_name": "tvm-float32",
        "peer": round(least["tvm-float32"], 3),
        "ratio": round(least["tvm-int8"] / least["tvm-float32"], 3),
        "runs": sum(timing.runs for timing in timings.values()),
        "times": {side: round(time, 3) for side, time in least.items()},
        "ratio_to_best_int8": round(least["tvm-int8"] / peers[best], 3),
        "best_int8": best,
        "agreement": round(_difference(outputs["tvm-int8"], outputs["tvm-float32"]), 4),
        "agreement_with_onnxruntime_int8": round(_difference(outputs["tvm-int8"], outputs["onnxruntime-int8"]), 4),
        "integers": len(small.quantization.integers),
        "floats": len(small.quantization.floats),
        "instructions": getattr(machine_of(host().target, 1).dot, "name", "none"),
        "compiler": versions("tvm")["compiler"],
    }


def _difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """The largest difference of all outputs, each as a share of its largest value."""
    gaps = [
        float(np.abs(np.asarray(found[name], np.float64) - value).max()) / max(float(np.abs(value).max()), 1e-9)
        for name, value in expected.items()
    ]
    return max(gaps)


def result_file() -> Path:
    """benchmarks/results/int8-CPU-LEVEL.json."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{host().cpu}-{host().level}".lower()).strip("-")
    return RESULTS / f"int8-{name}.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(MODELS), help="names of models")
    parser.add_argument("-o", "--output", type=Path, default=result_file())
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        for name, write in zoo(Path(folder)):
            if name not in arguments.only:
                continue
            try:
                row = measure(name, write(), Store(Path(folder) / "store"))
            except TierplanError as problem:
                print(f"{name}: {problem}", file=sys.stderr)
                failed += 1
                continue
            write_result(arguments.output, [row])
            times = f"{row['ours']:8.2f} ms, {row['peer']:8.2f} ms in float32"
            against = f"{row['ratio_to_best_int8']:.2f} of {row['best_int8']}"
            verdict = "" if row["ratio"] <= MARK else f"  above {MARK:.2f}"
            print(f"{row['case']:24} {times}: {row['ratio']:.2f}{verdict}; {against}", file=sys.stderr)
    print(arguments.output)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The child that times the operators of a model and finds its cuts."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx

from compiler.child import serve
from compiler.model import load_model, prepare
from compiler.samples import load_samples
from compiler.splitting.cuts import find_cuts
from compiler.splitting.operators import Operators, operators_of

RUNS: Final = 24
FEWEST: Final = 4
SECONDS: Final = 3.0
"""After which no run begins, if there were the fewest."""
WARMUP: Final = 3
_KEPT: Final = 0.75
"""Of each operator's runs the quicker ones count: what disturbed the others is not its own."""


def handle(request: dict[str, Any]) -> dict[str, Any]:
    model = prepare(load_model(Path(request["model"])), {}, request["name"])
    operators = operators_of(model, request["name"])
    samples = load_samples(Path(request["samples"]))
    seconds = operator_seconds(model, operators, samples)
    cuts = find_cuts(operators, seconds, int(request["most"]))
    return {
        "cuts": [
            {"tensors": {n: str(t) for n, t in c.tensors.items()}, "bytes": c.bytes, "before": c.before} for c in cuts
        ]
    }


def operator_seconds(model: onnx.ModelProto, operators: Operators, samples: Sequence[Mapping[str, Any]]) -> list[float]:
    """By operator; those that ONNX Runtime takes away or folds are free."""
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for index, node in enumerate(copy.graph.node):
        node.name = f"op{index}"
    named = {next(o for o in n.output if o): n.name for n in copy.graph.node}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # What is fused has one time for several operators, between which a cut may lie.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        file = Path(folder) / "model.onnx"
        onnx.save(copy, str(file))
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        began = time.monotonic()
        for run in range(WARMUP + RUNS):
            if run >= WARMUP + FEWEST and time.monotonic() - began > SECONDS:
                break
            session.run(None, samples[run % len(samples)])
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    spent: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent.setdefault(event["name"].removesuffix("_kernel_time"), []).append(event["dur"] * 1e-6)
    return [_typical(spent.get(named[name], [])[WARMUP:]) for name in operators.names]


def _typical(seconds: Sequence[float]) -> float:
    kept = sorted(seconds)[: max(1, round(_KEPT * len(seconds)))]
    return sum(kept) / len(kept) if kept else 0.0


if __name__ == "__main__":
    serve(handle)

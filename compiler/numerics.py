"""Does an artefact compute what its model means? Compared with ONNX Runtime on real inputs, in a child process."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compiler.child import Child, Limits, serve
from compiler.samples import Sample, in_groups, joined, load_samples, save_samples
from compiler.soundness import nodes
from specs.artefact import Executor, OpenExecutor
from specs.artefact_folder import read_artefact, the_file
from specs.errors import AnswerIsNo, InputError, Issue

TOLERANCE = 1e-4
"""Largest error allowed, as a share of an output's largest value; sums in another order stay a factor of ten below."""
QUANTIZED_TOLERANCE = 0.1
"""The same for a quantized model: where a value lies between two integers, rounding in float32 decides, and a step of
one value, of 255, goes through all layers that follow. Most inputs give equal outputs; one of MiniLM's was 0.06 away,
where quantizing itself moves it by 0.2."""


@dataclass(frozen=True, slots=True)
class Numerics:
    """The largest difference over all samples and outputs, and relative to the largest value of the output it is in."""

    absolute: float
    relative: float
    samples: int


def check(
    folder: Path,
    reference: Path,
    samples: Sequence[Sample],
    open_executor: OpenExecutor,
    tolerance: float | None = None,
    limits: Limits | None = None,
) -> Numerics:
    """Compare the artefact in `folder` with `reference`, an artefact of the same segment for ONNX Runtime.

    `samples` are of one item each: an artefact that takes several at once gets them together, the reference alone.
    Without a `tolerance`, it is that of a model in float32 or, as the reference is, of a quantized one.

    Raises AnswerIsNo where an output is beyond it (integers and booleans must be equal), InputError where the
    two are not of one segment or there is no sample.
    """
    ours, theirs = read_artefact(folder), read_artefact(reference)
    if (ours.source, ours.segment, ours.outputs) != (theirs.source, theirs.segment, theirs.outputs) or not samples:
        raise InputError(Issue("expected two artefacts of one model's segment, and at least one sample"))
    with tempfile.TemporaryDirectory(prefix="tierplan-") as temporary:
        file = Path(temporary) / "samples.npz"
        save_samples(file, samples)
        request = {
            "open": f"{open_executor.__module__}:{open_executor.__qualname__}",
            "batch": ours.batch,
            "artefacts": [[str(folder.resolve()), ours.threads], [str(reference.resolve()), theirs.threads]],
            "samples": str(file),
        }
        with Child("compiler.numerics", limits or Limits(seconds=120)) as child:
            answer = child.ask(request, f"checking {ours.key[:12]}")
    if tolerance is None:
        tolerance = QUANTIZED_TOLERANCE if is_quantized(reference) else TOLERANCE
    found = Numerics(answer["absolute"], answer["relative"], len(samples))
    if not found.relative <= tolerance:  # not-a-number must fail too
        why = ": filling inputs up to a bucket may change the answer: give the model a mask" if ours.buckets else ""
        raise AnswerIsNo(
            f"{answer['output']} of the {ours.backend} artefact differs from ONNX Runtime by {found.relative:.2g} of"
            f" its largest value; {tolerance:g} is allowed{why}; use backend onnxruntime"
        )
    return found


def is_quantized(reference: Path) -> bool:
    """Whether the model of an artefact for ONNX Runtime rounds values to integers."""
    return rounds(onnx.load(str(the_file(reference, read_artefact(reference), ".onnx")), load_external_data=False))


def rounds(model: onnx.ModelProto) -> bool:
    """Whether a model rounds values to integers, so that it is compared within `QUANTIZED_TOLERANCE`."""
    return any("Quantize" in node.op_type or "Integer" in node.op_type for node in nodes(model.graph))


def compare(ours: Executor, theirs: Executor, samples: Sequence[Sample], batch: int = 1) -> tuple[float, float, str]:
    """(largest difference, relative difference, output that has the latter); `ours` takes `batch` samples at once."""
    absolute, worst, where = 0.0, 0.0, ""
    for group in in_groups(samples, batch):
        found = ours.run(joined(group))
        alone = [theirs.run(sample) for sample in group]
        expected = {name: np.concatenate([np.asarray(one[name]) for one in alone]) for name in alone[0]}
        for name, value in expected.items():
            difference = _difference(np.asarray(found[name]), np.asarray(value))
            scale = float(np.max(np.abs(value.astype(np.float64)), initial=0.0)) if value.dtype.kind == "f" else 1e-9
            relative = difference / max(scale, 1e-6) if difference else 0.0
            absolute = max(absolute, difference)
            if not relative <= worst or not where:
                worst, where = relative, name
    return absolute, worst, where


def _difference(found: Any, expected: Any) -> float:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    same = (
        (found == expected) | (np.isnan(found) & np.isnan(expected)) if found.dtype.kind == "f" else found == expected
    )
    gap = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    return float(np.max(np.where(same, 0.0, gap), initial=0.0))


def _handle(request: dict[str, Any]) -> dict[str, Any]:
    module, name = request["open"].split(":")
    opener: OpenExecutor = getattr(importlib.import_module(module), name)
    ours, theirs = (opener(Path(folder), int(threads)) for folder, threads in request["artefacts"])
    absolute, relative, where = compare(ours, theirs, load_samples(Path(request["samples"])), int(request["batch"]))
    finite = np.isfinite(absolute) and np.isfinite(relative)
    return {"absolute": absolute if finite else 1e300, "relative": relative if finite else 1e300, "output": where}


if __name__ == "__main__":
    serve(_handle)

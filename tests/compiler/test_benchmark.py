"""The compile benchmark's sides: each runs in a process of its own and gives the outputs that are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.compile import _direct
from benchmarks.exact import error, exact
from benchmarks.peers import Side, alternate
from compiler.build import build
from compiler.job import job
from compiler.model import prepare
from compiler.store import Store
from tests.compiler.models import cnn, pixels, save


@pytest.mark.deep
def test_every_side_is_timed_in_its_own_process_and_computes_what_the_model_means(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    model = save(cnn(rng), tmp_path / "cnn.onnx")
    prepared, sample, store = prepare(cnn(np.random.default_rng(1)), {}, "cnn.onnx"), pixels(rng), Store(tmp_path / "s")
    sides = [Side(name, "artefact", build(job(model, name), store)) for name in ("tvm", "onnxruntime")]
    sides += [Side("direct", "library", _direct(prepared, 1, tmp_path)), Side("onnx", "onnx", model)]
    expected = exact(prepared, sample)
    timings = alternate(sides, sample, threads=1, blocks=1)
    assert set(timings) == {"tvm", "onnxruntime", "direct", "onnx"}
    for timing in timings.values():
        assert timing.runs >= 3
        assert timing.median > 0
        outputs = dict(zip(expected, timing.outputs.values(), strict=True))
        assert error(outputs, expected) < 1e-5

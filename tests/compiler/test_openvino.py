"""The third backend: the same results as the others, the same threads, and one clear error for what it cannot take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from compiler.backends import BACKENDS, installed
from compiler.build import build, build_all
from compiler.job import job
from compiler.measure import ArtefactSubject, Budget, HardwareClass, measure_all
from compiler.numerics import compare
from compiler.store import Store
from runtime.executors import open_executor
from specs.errors import InputError
from tests.compiler.models import cnn, model, pixels, save

pytest.importorskip("openvino", reason="OpenVINO is an extra: install tierplan[openvino]")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("openvino")
    file = save(cnn(np.random.default_rng(2)), folder / "cnn.onnx")
    results = build_all([job(file, "openvino"), job(file, "onnxruntime")], Store(folder / "store"))
    return {built.job.backend: built.folder for built in results if built.folder is not None}


def test_it_is_installed_and_so_among_the_backends_that_are_measured() -> None:
    assert installed() == BACKENDS


def test_it_computes_what_onnx_runtime_does(folders: dict[str, Path]) -> None:
    samples = [pixels(np.random.default_rng(seed)) for seed in range(3)]
    ours, theirs = (open_executor(folders[name], 1) for name in ("openvino", "onnxruntime"))
    _, relative, _ = compare(ours, theirs, samples)
    assert relative < 1e-4  # bfloat16, which it would take by itself where the processor has it, gives 1e-2


def test_outputs_stay_as_they_were_when_it_runs_again(folders: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    executor = open_executor(folders["openvino"], 1)
    first = executor.run(pixels(rng))["score"]
    before = first.copy()
    executor.run(pixels(rng))
    np.testing.assert_array_equal(first, before)


def test_it_is_measured_as_the_others_are(folders: dict[str, Path]) -> None:
    subject = ArtefactSubject(folders["openvino"], [pixels(np.random.default_rng(0))])
    budget = Budget(seconds=0.05, least=10, seconds_most=0.2)
    (found,) = measure_all([subject], [HardwareClass("here", 1, None)], open_executor, budget=budget)
    assert found.record is not None, found.error
    assert (found.record.backend, found.record.provenance) == ("openvino", "measured")
    assert found.record.latency.mean > 0


def test_a_model_that_it_cannot_take_is_the_users_error_and_names_the_way_out(tmp_path: Path) -> None:
    strange = model([helper.make_node("Det", ["x"], ["y"])], {"x": ["N", 4, 4]}, {"y": ["N"]})
    with pytest.raises(InputError, match="use backend"):
        build(job(save(strange, tmp_path / "strange.onnx"), "openvino"), Store(tmp_path / "store"))

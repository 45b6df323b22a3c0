"""What a profile measures of an application is what a stage does, its checks included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.job import job
from compiler.make import make
from compiler.measure import FunctionSubject, HardwareClass, measure_all
from compiler.store import Store
from runtime.executors import open_executor
from runtime.stages.served import open_served_function, open_served_model
from specs.errors import InputError
from tests.compiler.models import cnn, pixels, save
from tests.compiler.test_measure import BUDGET, HERE


def test_a_served_model_gives_what_its_executor_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = save(cnn(rng), tmp_path / "cnn.onnx")
    folder = make(job(file, "onnxruntime"), Store(tmp_path / "store"))
    given = pixels(rng)
    bare, served = open_executor(folder, 1).run(given), open_served_model(folder, 1).run(given)
    assert set(served) == set(bare)
    for name, value in served.items():
        np.testing.assert_array_equal(value, np.asarray(bare[name])[0])


def test_a_function_is_measured_with_the_checks_of_its_stage(tmp_path: Path) -> None:
    (tmp_path / "served_work.py").write_text("def length(text):\n    return {'size': len(text)}\n")
    right = FunctionSubject(tmp_path, "served_work:length", "f" * 64, [{"text": "abc"}], outputs={"size": "i64"})
    wrong = FunctionSubject(tmp_path, "served_work:length", "f" * 64, [{"text": "abc"}], outputs={"size": "f32[2]"})
    places: list[HardwareClass] = [HERE]
    first, second = measure_all([right, wrong], places, open_served_model, open_served_function, BUDGET)
    assert first.error is None
    assert isinstance(second.error, InputError)
    assert "expected f32[2]" in str(second.error)


def test_a_served_function_raises_what_its_stage_would_answer(tmp_path: Path) -> None:
    (tmp_path / "served_other.py").write_text("def length(text):\n    return {'size': len(text)}\n")
    function = open_served_function(tmp_path, "served_other:length", outputs={"size": "i64", "more": "i64"})
    with pytest.raises(InputError, match=r"expected a dictionary with \['more', 'size'\]"):
        function(text="abc")

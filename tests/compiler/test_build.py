"""Building artefacts: in a child with limits, once, atomically, verified before use."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import tvm_ffi

from compiler.build import build, build_all
from compiler.child import Limits
from compiler.host import host
from compiler.job import job
from compiler.make import make
from compiler.numerics import check, compare
from compiler.store import Store
from runtime.executors import open_executor
from specs.artefact import Segment
from specs.artefact_folder import read_artefact
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, NotKnown
from tests.compiler.models import cnn, pixels, save


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model's artefacts for both backends, built in a child."""
    folder = tmp_path_factory.mktemp("built")
    file = save(cnn(np.random.default_rng(2)), folder / "cnn.onnx")
    jobs = [job(file, "tvm"), job(file, "tvm", 2), job(file, "onnxruntime")]
    results = list(build_all(jobs, Store(folder / "store")))
    assert [r.error for r in results] == [None] * 3
    names = ("tvm", "tvm2", "onnxruntime")
    return {name: r.folder for name, r in zip(names, results, strict=True) if r.folder} | {"model": file}


def test_both_backends_compute_the_same_through_their_executors(built: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    samples = [pixels(rng) for _ in range(3)]
    theirs = open_executor(built["onnxruntime"], 1)
    for name, threads in (("tvm", 1), ("tvm2", 2)):
        absolute, relative, _ = compare(open_executor(built[name], threads), theirs, samples)
        assert absolute < 1e-5
        assert relative < 1e-4


def test_numerics_are_checked_in_a_child_and_refused_beyond_the_tolerance(built: dict[str, Path]) -> None:
    samples = [pixels(np.random.default_rng(0))]
    found = check(built["tvm"], built["onnxruntime"], samples, open_executor)
    assert found.samples == 1
    assert 0 < found.relative < 1e-4
    with pytest.raises(AnswerIsNo, match="differs from ONNX Runtime"):
        check(built["tvm"], built["onnxruntime"], samples, open_executor, tolerance=found.relative / 2)


def test_the_second_build_is_found_in_the_store_wherever_the_model_lies(built: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.onnx"
    copy.write_bytes(built["model"].read_bytes())
    (again,) = build_all([job(copy, "tvm")], Store(built["tvm"].parent))
    assert again.cached
    assert again.folder == built["tvm"]


def test_whatever_decides_the_bytes_decides_the_key(built: dict[str, Path]) -> None:
    file = built["model"]
    jobs = [
        job(file, "tvm"),
        job(file, "onnxruntime"),
        job(file, "tvm", 2),
        job(file, "tvm", target={"kind": "llvm", "mcpu": "core2"}),  # older than any host that runs this
        job(file, "tvm", segment=Segment(end=("p2",))),
        job(file, "tvm", dims={"T": 4}),
    ]
    assert len({j.key for j in jobs}) == len(jobs)


def test_a_changed_file_is_refused_with_what_was_expected_and_found(built: dict[str, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    folder = make(job(built["model"], "onnxruntime"), store)
    file = folder / "model.onnx"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"model\.onnx.*expected sha256 .*found"):
        open_executor(folder, 1)
    with pytest.raises(InputError, match="the file was changed"):
        build(job(built["model"], "onnxruntime"), store)


def test_a_file_name_that_leaves_the_artefact_is_refused(built: dict[str, Path], tmp_path: Path) -> None:
    folder = make(job(built["model"], "onnxruntime"), Store(tmp_path / "store"))
    description = json.loads((folder / "artefact.json").read_text())
    description["files"] = {"../model.onnx": "0" * 64}
    (folder / "artefact.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="outside the artefact"):
        read_artefact(folder)


def test_another_number_of_threads_is_refused(built: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="for 1 threads, not 2"):
        open_executor(built["tvm"], 2)


@pytest.mark.skipif(host().cores < 2, reason="needs two cores")
def test_an_artefact_for_two_threads_gets_two(built: dict[str, Path]) -> None:
    """TVM's own count of cores finds one in many virtual machines."""
    open_executor(built["tvm2"], 2).run(pixels(np.random.default_rng(0)))
    assert tvm_ffi.get_global_func("runtime.NumThreads")() == 2


def test_outputs_stay_as_they_were_when_the_executor_runs_again(built: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    executor = open_executor(built["tvm"], 1)
    first = executor.run(pixels(rng))["score"]
    before = first.copy()
    executor.run(pixels(rng))
    np.testing.assert_array_equal(first, before)


def test_inputs_of_another_type_are_refused_before_they_reach_compiled_code(built: dict[str, Path]) -> None:
    executor = open_executor(built["tvm"], 1)
    with pytest.raises(InputError, match=r"expected uint8\[1, 3, 32, 32\]"):
        executor.run({"pixels": np.zeros((1, 3, 32, 31), np.uint8)})
    with pytest.raises(InputError, match=r"expected uint8\[1, 3, 32, 32\]"):
        executor.run({"pixels": np.zeros((1, 3, 32, 32), np.float32)})
    with pytest.raises(InputError, match="expected the inputs pixels"):
        executor.run({"image": np.zeros((1, 3, 32, 32), np.uint8)})


def test_two_processes_that_build_the_same_leave_one_whole_artefact(built: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "store"
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        folders = pool.starmap(_make, [(str(built["model"]), str(root))] * 2)
    assert len(set(folders)) == 1
    assert [p.name for p in root.iterdir()] == [Path(folders[0]).name]
    read_artefact(Path(folders[0]))


def _make(model: str, root: str) -> str:
    return str(make(job(Path(model), "onnxruntime"), Store(Path(root))))


def test_a_corrupt_model_is_the_users_error_and_the_next_job_is_built(built: dict[str, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    data = built["model"].read_bytes()
    bad.write_bytes(data[: len(data) // 2])
    store = Store(tmp_path / "store")
    with pytest.raises(InputError, match="not an ONNX model"):
        job(bad, "tvm")
    broken = job(built["model"], "onnxruntime").model_copy(update={"model": str(bad)})
    first, second = build_all([broken, job(built["model"], "onnxruntime")], store)
    assert isinstance(first.error, InputError)
    assert second.folder is not None
    assert [p for p in store.root.iterdir() if p.name.startswith(".")] == []


def test_a_child_beyond_its_time_is_ended_and_the_answer_is_not_known(built: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(NotKnown, match="no result within"):
        build(job(built["model"], "tvm"), Store(tmp_path / "store"), Limits(seconds=0.3))


def test_a_child_beyond_its_memory_fails_alone(built: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises((NotKnown, EnvironmentFailed)):
        build(job(built["model"], "tvm"), Store(tmp_path / "store"), Limits(memory=200 << 20))

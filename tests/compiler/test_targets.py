"""Every target gets real code for its device; what can run here, or under qemu, computes what the model means."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from compiler.build import build
from compiler.check_target import check_target
from compiler.host import host
from compiler.job import job
from compiler.link import missing
from compiler.numerics import compare
from compiler.store import Store
from compiler.targets import TARGETS, Target, Tool, find_target, target_of
from runtime.executors import open_executor
from specs.artefact_folder import read_artefact, the_file
from specs.catalogue import catalogue
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError
from tests.compiler.models import cnn, pixels, reference, save

RUNNER = Path(__file__).with_name("edge_runner.cc")
QEMU, CROSS = "qemu-aarch64-static", "aarch64-linux-gnu-g++"
LIBRARIES = "TIERPLAN_AARCH64_TVM"
"""Names a folder with libtvm_runtime.so and libtvm_ffi.so of the aarch64 wheels."""

LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
QUICK = ("cortex-a72", "wasm32", "opencl")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store]:
    """A model, and a store that fills while the tests run."""
    folder = tmp_path_factory.mktemp("targets")
    return save(cnn(np.random.default_rng(2)), folder / "cnn.onnx"), Store(folder / "store")


def compiled(made: tuple[Path, Store], target: Target) -> Path:
    lacking = missing(target)
    if lacking:
        pytest.skip(f"needs {', '.join(map(str, lacking))}")
    model, store = made
    return build(job(model, "tvm", target=target.tvm), store)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.deep) for n in TARGETS])
def test_an_artefact_holds_code_for_its_target_and_for_no_other_machine(made: tuple[Path, Store], name: str) -> None:
    target = TARGETS[name]
    folder = compiled(made, target)
    (file,) = (folder / f for f in read_artefact(folder).files)
    found = check_target(file, target)
    assert len(found) == 1 + bool(target.device)
    for other in TARGETS.values():
        if other.elf != target.elf or (other.device and other != target):
            with pytest.raises(AnswerIsNo, match=f"not an artefact for {other.name}"):
                check_target(file, other)


@pytest.mark.parametrize("name", LEVELS)
def test_each_level_of_x86_that_this_machine_has_computes_what_the_model_means(
    made: tuple[Path, Store], name: str
) -> None:
    if host().level not in LEVELS or LEVELS.index(host().level) < LEVELS.index(name):
        pytest.skip(f"this machine is {host().level}")
    folder = compiled(made, TARGETS[name])
    theirs = open_executor(build(job(made[0], "onnxruntime"), made[1]), 1)
    _, relative, _ = compare(open_executor(folder, 1), theirs, [pixels(np.random.default_rng(0))])
    assert relative < 1e-4


@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump (Debian package binutils)")
@pytest.mark.parametrize(("name", "widest", "none"), [("x86-64-v2", "xmm", "ymm"), ("x86-64-v3", "ymm", "zmm")])
def test_code_for_a_level_uses_its_registers_and_no_wider_ones(
    made: tuple[Path, Store], name: str, widest: str, none: str
) -> None:
    folder = compiled(made, TARGETS[name])
    file = the_file(folder, read_artefact(folder), ".so")
    code = subprocess.run(["objdump", "-d", str(file)], capture_output=True, text=True, check=True).stdout
    assert code.count(f"%{widest}") > 1000
    assert f"%{none}" not in code


def test_aarch64_code_under_qemu_computes_what_the_model_means(made: tuple[Path, Store], tmp_path: Path) -> None:
    lacking = [tool for tool in (QEMU, CROSS) if shutil.which(tool) is None]
    libraries = os.environ.get(LIBRARIES, "")
    if lacking or not libraries:
        packages = "Debian packages qemu-user-static, g++-aarch64-linux-gnu"
        pytest.skip(f"needs {packages} ({', '.join(lacking) or 'there'}), and {LIBRARIES} (docs/targets.md)")
    import tvm_ffi.libinfo

    runner, values, result = tmp_path / "runner", tmp_path / "pixels.bin", tmp_path / "score.bin"
    include = [
        f"-I{path}" for path in (tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path())
    ]
    link = [f"-L{libraries}", "-Wl,--no-as-needed", "-ltvm_ffi", "-ltvm_runtime"]
    subprocess.run([CROSS, "-std=c++17", "-O1", *include, str(RUNNER), "-o", str(runner), *link], check=True)
    sample = pixels(np.random.default_rng(0))
    sample["pixels"].tofile(values)
    expected = reference(cnn(np.random.default_rng(2)), sample)[0]
    for name in ("cortex-a53", "cortex-a72", "aarch64"):
        folder = compiled(made, TARGETS[name])
        file = the_file(folder, read_artefact(folder), ".so")
        emulated = [QEMU, "-L", "/usr/aarch64-linux-gnu", "-E", f"LD_LIBRARY_PATH={libraries}", str(runner)]
        subprocess.run([*emulated, str(file), str(result), "u8", "1,3,32,32", str(values)], check=True, timeout=60)
        found = np.fromfile(result, np.float32).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_missing_tool_is_named_with_the_package_that_brings_it(made: tuple[Path, Store]) -> None:
    nowhere = Tool("no-such-gcc", "gcc-no-such")
    target = Target("strange", {"kind": "llvm", "mtriple": "strange"}, nowhere, TARGETS["riscv64"].elf)
    assert missing(target) == (nowhere,)
    from compiler.link import require

    with pytest.raises(EnvironmentFailed, match=r"target strange needs no-such-gcc \(Debian package gcc-no-such\)"):
        require(target)


def test_a_file_that_is_cut_short_or_something_else_is_no_artefact(made: tuple[Path, Store], tmp_path: Path) -> None:
    file = tmp_path / "model.so"
    for data in (b"", b"\x7fELF", b"\0asm\1\0\0\0", b"\x7fELF\2\1\1" + bytes(60), os.urandom(4096)):
        file.write_bytes(data)
        for target in TARGETS.values():
            with pytest.raises(AnswerIsNo):
                check_target(file, target)


def test_this_machines_own_target_is_a_row_so_that_alike_machines_share_artefacts() -> None:
    assert target_of(host().target).name in TARGETS


def test_every_target_that_the_catalogue_names_is_there() -> None:
    for name, entry in catalogue().entries.items():
        assert entry.target in TARGETS, name
        assert entry.gpu is None or entry.gpu in TARGETS, name


def test_an_unknown_target_gives_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r"unknown target 'cortex-a71' .did you mean 'cortex-a7"):
        find_target("cortex-a71")

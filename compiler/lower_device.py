"""From a Relax module to a GPU's kernels: TVM's own schedules, and never the host's code in their place."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.targets import Target
from specs.errors import EnvironmentFailed, InputError, Issue

if TYPE_CHECKING:
    from compiler.lower import Lowered

_DRIVER = "libcuda.so.1"
_DRIVER_FUNCTIONS = (
    "cuDeviceGetName",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuLaunchKernelEx",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuTensorMapEncodeTiled",
)
"""What TVM's CUDA runtime links to; compiling calls none of them."""
_NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE, the answer of every function of the stand-in."""


def stand_in_driver(target: Target) -> None:
    """Let TVM's CUDA module load where there is no driver: to compile, it needs the library but not the device.

    Must come before TVM is imported. Raises EnvironmentFailed where it is too late or the CUDA runtime is missing.
    """
    if target.device != "cuda":
        return
    os.environ["TVM_CUDA_COMPILE_MODE"] = "nvcc"
    try:
        ctypes.CDLL(_DRIVER)
        return
    except OSError:
        pass
    if "tvm" in sys.modules:
        raise EnvironmentFailed("TVM was loaded before its CUDA module could be; compile for this target alone")
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        source, library = Path(folder) / "driver.c", Path(folder) / _DRIVER
        source.write_text("".join(f"int {f}(void) {{ return {_NO_DEVICE}; }}\n" for f in _DRIVER_FUNCTIONS), "ascii")
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{_DRIVER}", "-o", str(library), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EnvironmentFailed(f"gcc cannot make a stand-in for {_DRIVER}: {done.stderr.strip()[:200]}")
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)  # found by its name when the CUDA module asks for it


def lower_device(mod: Any, target: Target) -> Lowered:
    """Compile `mod["main"]` for a GPU.

    Raises InputError where a function has no schedule for it, EnvironmentFailed where its kernels were not compiled.
    """
    import tvm
    from tvm import relax, tirx
    from tvm.s_tir import dlight

    from compiler.lower import Lowered, graph_passes

    described = tvm.target.Target(dict(target.tvm))
    if target.device == "cuda":
        _compile_to_cubin(str(target.tvm["arch"]))
    gpu = dlight.gpu
    rules = (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())
    with described, tvm.transform.PassContext(opt_level=3):
        mod = graph_passes(mod)
        mod = tvm.transform.Sequential(
            [
                relax.transform.LegalizeOps(),
                relax.transform.AnnotateTIROpPattern(),
                relax.transform.FoldConstant(),
                relax.transform.DeadCodeElimination(),
                relax.transform.FuseOps(),
                relax.transform.FuseTIR(),
                dlight.ApplyDefaultSchedule(*rules),
            ]
        )(mod)
        functions = {str(g.name_hint): f for g, f in mod.functions_items() if isinstance(f, tirx.PrimFunc)}
        left = [name for name, f in functions.items() if not (f.attrs and f.attrs.get("tirx.is_scheduled"))]
        if left:
            raise InputError(Issue(f"no GPU schedule for {', '.join(sorted(left)[:5])}", None, "use another target"))
        executable = tvm.compile(mod, target=described)
    kernels = sum(_kernels(m, target.device) for m in _modules(executable.mod))
    if kernels < len(functions):
        raise EnvironmentFailed(f"{target.name}: {kernels} kernels for {len(functions)} functions: not all of it is")
    return Lowered(executable, ())


def _modules(module: Any) -> Iterator[Any]:
    yield module
    for inner in module.imports:
        yield from _modules(inner)


def _kernels(module: Any, device: str) -> int:
    """Kernels in the source of a device module."""
    if module.kind != device:
        return 0
    word = {"cuda": "__global__", "opencl": "__kernel"}[device]
    return str(module.inspect_source("")).count(f"{word} void")


def _compile_to_cubin(arch: str) -> None:
    """Make nvcc write code for exactly `arch`, uncompressed, so that what is shipped can be checked."""
    import tvm_ffi
    from tvm.support.nvcc import compile_cuda

    def compile_code(code: str, *_: Any) -> bytes:
        return bytes(compile_cuda(code, target_format="cubin", arch=arch, compiler="nvcc"))

    tvm_ffi.register_global_func("tvm_callback_cuda_compile", compile_code, override=True)

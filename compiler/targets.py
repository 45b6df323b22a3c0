"""What models are compiled for: a row a target, with what TVM is told, what links it, and what the result must be."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from compiler.elf import Elf
from specs.errors import InputError, Issue
from specs.nearest import near

Device = Literal["", "cuda", "opencl"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, and the Debian package that brings it."""

    program: str
    package: str

    def __str__(self) -> str:
        return f"{self.program} (Debian package {self.package})"


@dataclass(frozen=True, slots=True)
class Target:
    """`tvm` describes it to TVM; `linker` makes a shared library of it (None: the artefact is an object file).

    `elf` is what the file must say of itself (None for WebAssembly). `device` is the kind of module that must hold the
    kernels; empty for CPUs. `tools` are needed besides the linker.
    """

    name: str
    tvm: dict[str, Any]
    linker: Tool | None
    elf: Elf | None
    link_options: tuple[str, ...] = ()
    device: Device = ""
    tools: tuple[Tool, ...] = ()


_X86: Final = Elf(machine=62, bits=64)
_AARCH64: Final = Elf(machine=183, bits=64)
_ARM: Final = Elf(machine=40, bits=32, flags=0x05000000)
"""EABI version 5."""
_RISCV: Final = Elf(machine=243, bits=64, flags=0x4)
"""Doubles in registers."""

_GCC_ARM64: Final = Tool("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
_GCC_X86: Final = Tool("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu")
_GCC_ARMHF: Final = Tool("arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf")
_GCC_RISCV: Final = Tool("riscv64-linux-gnu-gcc", "gcc-riscv64-linux-gnu")
_NVCC: Final = Tool("nvcc", "nvidia-cuda-toolkit")
_GCC: Final = Tool("gcc", "gcc")


def _x86(level: str) -> Target:
    return Target(level, {"kind": "llvm", "mcpu": level}, _GCC_X86, _X86)


def _arm64(name: str, mcpu: str | None = None) -> Target:
    cpu = {"mcpu": mcpu or name} if name != "aarch64" else {}
    described = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", **cpu, "mattr": ["+neon"]}
    return Target(name, described, _GCC_ARM64, _AARCH64)


def _gpu(name: str, device: Device, host: Target, **described: Any) -> Target:
    tools = (_NVCC, _GCC) if device == "cuda" else ()
    target = {"kind": device, **described, "host": host.tvm}
    return Target(name, target, host.linker, host.elf, device=device, tools=tools)


def _rows() -> list[Target]:
    x86 = [_x86(level) for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4")]
    vnni = Target("x86-64-v4-vnni", {**x86[2].tvm, "mattr": ["+avx512vnni"]}, _GCC_X86, _X86)
    cores = ("aarch64", "cortex-a53", "cortex-a55", "cortex-a72", "cortex-a73", "cortex-a76")
    arm64 = [_arm64(name) for name in (*cores, "neoverse-n1", "neoverse-v1", "neoverse-n2", "neoverse-v2")]
    a76 = next(t for t in arm64 if t.name == "cortex-a76")
    armv7 = {"kind": "llvm", "mtriple": "armv7l-linux-gnueabihf", "mattr": ["+neon", "+vfp3"], "mfloat-abi": "hard"}
    riscv = {"kind": "llvm", "mtriple": "riscv64-linux-gnu", "mcpu": "generic-rv64", "mabi": "lp64d"}
    wasm = {"kind": "llvm", "mtriple": "wasm32-unknown-unknown", "mattr": ["+simd128"]}
    # TVM writes a data-only object beside the code that does not say which float ABI it has.
    mixed = ("-Wl,--no-warn-mismatch",)
    return [
        *x86,
        vnni,
        *arm64,
        Target("armv7", armv7, _GCC_ARMHF, _ARM, mixed),
        Target("riscv64", riscv | {"mattr": ["+m", "+a", "+f", "+d", "+c"]}, _GCC_RISCV, _RISCV),
        Target("wasm32", wasm, None, None),
        *(_gpu(f"cuda-sm{sm}", "cuda", x86[1], arch=f"sm_{sm}") for sm in (75, 80, 86, 89, 90)),
        _gpu("cuda-sm87", "cuda", a76, arch="sm_87"),
        _gpu("opencl", "opencl", x86[1]),
        _gpu("opencl-aarch64", "opencl", a76),
    ]


TARGETS: Final[dict[str, Target]] = {target.name: target for target in _rows()}


def find_target(name: str) -> Target:
    """The target called `name`. Raises InputError with the nearest name where there is none."""
    if name not in TARGETS:
        raise InputError(Issue(f"unknown target {name!r}", None, near(name, TARGETS)))
    return TARGETS[name]


def target_of(described: Mapping[str, Any]) -> Target:
    """The row of a description for TVM; one that has none is for machines like this one, and linked as here."""
    for target in TARGETS.values():
        if target.tvm == dict(described):
            return target
    elf = _AARCH64 if platform.machine() == "aarch64" else _X86
    linker = _GCC_ARM64 if elf is _AARCH64 else _GCC_X86
    return Target(str(described.get("mcpu", "host")), dict(described), linker, elf)

"""Does a file hold code for the device that it was compiled for? Read from its bytes, without running it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compiler.elf import Elf, read_elf
from compiler.targets import Target
from specs.errors import AnswerIsNo, InputError

_ELF_OF_A_GPU = 190
"""EM_CUDA."""
_WASM, _WASM_CODE = b"\0asm", 10


def check_target(file: Path, target: Target) -> tuple[str, ...]:
    """What was found, in words. Raises AnswerIsNo, naming the file, where it is not what `target` runs."""
    data = file.read_bytes()
    try:
        found = [_wasm(data) if target.elf is None else _cpu(data, target.elf)]
        if target.device == "cuda":
            found.append(_cuda(data, int(str(target.tvm["arch"]).removeprefix("sm_"))))
        if target.device == "opencl":
            found.append(_opencl(data))
    except (AnswerIsNo, InputError) as error:
        raise AnswerIsNo(f"{file}: not an artefact for {target.name}: {error}") from error
    return tuple(found)


def _cpu(data: bytes, expected: Elf) -> str:
    found = read_elf(data)
    if (found.machine, found.bits) != (expected.machine, expected.bits):
        message = f"ELF machine {found.machine}, {found.bits} bits; expected {expected.machine}, {expected.bits}"
        raise AnswerIsNo(message)
    if found.flags & expected.flags != expected.flags:
        raise AnswerIsNo(f"ELF flags {found.flags:#x}; expected {expected.flags:#x}")
    if not found.code:
        raise AnswerIsNo("it holds no instructions")
    return f"ELF machine {found.machine}, {found.bits} bits, flags {found.flags:#x}, {found.code} bytes of code"


def _wasm(data: bytes) -> str:
    if data[:4] != _WASM:
        raise AnswerIsNo("not WebAssembly")
    size = sum(length for kind, length in _sections(data) if kind == _WASM_CODE)
    if not size:
        raise AnswerIsNo("it holds no instructions")
    return f"WebAssembly object, {size} bytes of code"


def _sections(data: bytes) -> Iterator[tuple[int, int]]:
    """(kind, bytes) of each section of a WebAssembly module: a byte, a length in LEB128, the content."""
    at = 8
    while at < len(data):
        kind, at = data[at], at + 1
        length, shift = 0, 0
        while at < len(data):
            byte, at = data[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        yield kind, length
        at += length


def _cuda(data: bytes, capability: int) -> str:
    """The cubin, an ELF file inside: its e_flags say the capability, in the lowest byte or the one above it."""
    at = data.find(b"\x7fELF", 1)
    while at > 0:
        try:
            found = read_elf(data[at:])
        except InputError:
            found = Elf(0, 0)
        if found.machine == _ELF_OF_A_GPU:
            if capability not in (found.flags & 0xFF, found.flags >> 8 & 0xFF):
                raise AnswerIsNo(f"a cubin with flags {found.flags:#x}; expected sm_{capability}")
            return f"cubin for sm_{capability}, {found.code} bytes of code"
        at = data.find(b"\x7fELF", at + 4)
    raise AnswerIsNo("it holds no cubin")


def _opencl(data: bytes) -> str:
    count = data.count(b"__kernel void")
    if not count:
        raise AnswerIsNo("it holds no OpenCL kernel")
    return f"OpenCL source of {count} kernels"

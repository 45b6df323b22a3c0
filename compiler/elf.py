"""What an ELF file says of the machine that it is for, and how much code it holds (System V ABI, chapter 4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from specs.errors import InputError, Issue

_MAGIC = b"\x7fELF"
_EXECUTABLE = 0x4
"""SHF_EXECINSTR, a flag of sections that hold instructions."""


@dataclass(frozen=True, slots=True)
class Elf:
    """`machine` is e_machine, `flags` the bits of e_flags that say which ABI; `code` bytes of executable sections."""

    machine: int
    bits: int
    flags: int = 0
    code: int = 0


def read_elf(data: bytes) -> Elf:
    """The header and the size of the code of an ELF file. Raises InputError where it is none, or cut short."""
    if data[:4] != _MAGIC or len(data) < 64:
        raise InputError(Issue("not an ELF file"))
    bits, end = {1: 32, 2: 64}.get(data[4], 0), {1: "<", 2: ">"}.get(data[5], "")
    if not bits or not end:
        raise InputError(Issue("not an ELF file of 32 or 64 bits"))
    layout = f"{end}HHIQQQIHHHHHH" if bits == 64 else f"{end}HHIIIIIHHHHHH"
    header = struct.unpack_from(layout, data, 16)
    machine, offset, flags, size, count = header[1], header[5], header[6], header[10], header[11]
    return Elf(machine, bits, flags, _code(data, f"{end}", bits, offset, size, count))


def _code(data: bytes, end: str, bits: int, offset: int, size: int, count: int) -> int:
    layout = f"{end}IIQQQQ" if bits == 64 else f"{end}IIIIII"
    total = 0
    for index in range(count):
        try:
            _, _, flags, _, _, length = struct.unpack_from(layout, data, offset + index * size)
        except struct.error as error:
            raise InputError(Issue("the ELF file is cut short")) from error
        total += length if flags & _EXECUTABLE else 0
    return total

"""What a schedule must know of a CPU: how wide its vectors are, how many registers it has, how many threads to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from specs.choice import Choice

_SERVER, _BOARD = 16 << 20, 1 << 20
"""Bytes of the last cache that one model may count on."""


GROUP: Final = 4
"""Bytes that one 32-bit sum takes at a time."""


@dataclass(frozen=True, slots=True)
class Dot:
    """Instructions that multiply unsigned by signed bytes and add `GROUP` neighbouring products to 32 bits.

    `widest` is the largest magnitude of a weight for which the result is exact: those that add two products in 16 bits
    would saturate beyond 64 (2 * 255 * 64 < 2^15). `registers` are what they need beside sums and operands.
    """

    name: str
    widest: int
    registers: int = 0


SSSE3: Final = Dot("ssse3", 64, 2)
AVX2: Final = Dot("avx2", 64, 2)
AVX512: Final = Dot("avx512bw", 64, 2)
VNNI: Final = Dot("avx512vnni", 128)
I8MM: Final = Dot("i8mm", 128)


@dataclass(frozen=True, slots=True)
class Machine:
    """`lanes` are float32 values in a vector register, `registers` how many of those; two threads mean parallel loops.

    `fused_load` says that a multiply-add can broadcast one operand from memory, which saves the register for it.
    `winograd` allows Winograd's algorithm, whose float32 error is larger than that of direct convolution.
    `dot` are its instructions for products of bytes, None where there are none that we know.
    `operands` are the registers that a step of a reduction needs beside its sums: with fewer LLVM, which loads ahead,
    keeps sums on the stack (`benchmarks/registers.py` shows it).
    `cache` are bytes of weights that stay in the last cache between two runs: of a server, or of a board or phone.
    `tuned` are choices found by measuring, by workload; what is not in it is chosen analytically.
    """

    lanes: int
    registers: int
    threads: int
    fused_load: bool = False
    winograd: bool = True
    cache: int = _SERVER
    dot: Dot | None = None
    operands: int = 4
    tuned: Mapping[str, Choice] = field(default_factory=dict)

    def splits(self, operations: int) -> bool:
        """Whether that many operations on values are worth waking the other threads for (about 5 us of work)."""
        return self.threads > 1 and operations >= 20_000 * self.lanes

    @property
    def widest(self) -> int:
        """Products of bytes are exact for weights up to this magnitude; 0 where there are no instructions for them."""
        return self.dot.widest if self.dot is not None else 0

    @property
    def accumulators(self) -> int:
        """Registers that sums may occupy, so that operands still fit beside them (28 of 32 with AVX-512, 12 of 16
        with AVX2)."""
        return self.registers - self.operands


_AVX512 = (
    "x86-64-v4",
    "skylake-avx512",
    "cascadelake",
    "icelake",
    "sapphirerapids",
    "graniterapids",
    "znver4",
    "znver5",
)
"""The first two have no VNNI, or do not say so."""
_NEON, _NO_FUSED = 6, 5
"""Operands: NEON's are loaded four steps ahead; without fused multiply-add, products need a register too."""
_I8MM = ("neoverse-v1", "neoverse-n2", "neoverse-v2")


def machine_of(target: Mapping[str, Any], threads: int) -> Machine:
    """The machine that a TVM target describes.

    The CPU's name decides; features in `mattr` overrule it. An unknown x86 CPU counts as AVX2 if it says so, else as
    SSE.
    """
    cpu, features = str(target.get("mcpu", "")), set(map(str, target.get("mattr", ())))
    if "aarch64" in str(target.get("mtriple", "")):
        cache = _SERVER if cpu.startswith("neoverse") else _BOARD
        dot = I8MM if cpu in _I8MM or "+i8mm" in features else None
        return Machine(lanes=4, registers=32, threads=threads, cache=cache, dot=dot, operands=_NEON)
    if ("+avx512f" in features or cpu.startswith(_AVX512)) and "-avx512f" not in features:
        vnni = "+avx512vnni" in features or cpu.startswith(_AVX512[2:])
        dot = VNNI if vnni and "-avx512vnni" not in features else AVX512
        return Machine(lanes=16, registers=32, threads=threads, fused_load=True, dot=dot)
    if (
        "+avx2" in features
        or cpu in ("x86-64-v3", "haswell", "broadwell", "skylake", "alderlake")
        or cpu.startswith("znver")
    ):
        return Machine(lanes=8, registers=16, threads=threads, dot=AVX2)
    dot = SSSE3 if cpu == "x86-64-v2" or "+ssse3" in features else None
    cache = _SERVER if cpu.startswith("x86") else _BOARD
    return Machine(lanes=4, registers=16, threads=threads, cache=cache, dot=dot, operands=_NO_FUSED)

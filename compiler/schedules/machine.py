"""What a schedule must know of a CPU: how wide its vectors are, how many registers it has, how many threads to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SERVER, _BOARD = 16 << 20, 1 << 20
"""Bytes of the last cache that one model may count on."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`lanes` are float32 values in a vector register, `registers` how many of those; two threads mean parallel loops.

    `fused_load` says that a multiply-add can broadcast one operand from memory, which saves the register for it.
    `winograd` allows Winograd's algorithm, whose float32 error is larger than that of direct convolution.
    `cache` are bytes of weights that stay in the last cache between two runs: of a server, or of a board or phone.
    """

    lanes: int
    registers: int
    threads: int
    fused_load: bool = False
    winograd: bool = True
    cache: int = _SERVER

    def splits(self, operations: int) -> bool:
        """Whether that many operations on values are worth waking the other threads for (about 5 us of work)."""
        return self.threads > 1 and operations >= 20_000 * self.lanes

    @property
    def accumulators(self) -> int:
        """Registers that sums may occupy, so that operands still fit beside them (28 of 32, 12 of 16)."""
        return self.registers - 4


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


def machine_of(target: Mapping[str, Any], threads: int) -> Machine:
    """The machine that a TVM target describes.

    The CPU's name decides; features in `mattr` overrule it. An unknown x86 CPU counts as AVX2 if it says so, else as
    SSE.
    """
    cpu, features = str(target.get("mcpu", "")), set(map(str, target.get("mattr", ())))
    if "aarch64" in str(target.get("mtriple", "")):
        return Machine(lanes=4, registers=32, threads=threads, cache=_SERVER if cpu.startswith("neoverse") else _BOARD)
    if ("+avx512f" in features or cpu.startswith(_AVX512)) and "-avx512f" not in features:
        return Machine(lanes=16, registers=32, threads=threads, fused_load=True)
    if (
        "+avx2" in features
        or cpu in ("x86-64-v3", "haswell", "broadwell", "skylake", "alderlake")
        or cpu.startswith("znver")
    ):
        return Machine(lanes=8, registers=16, threads=threads)
    return Machine(lanes=4, registers=16, threads=threads, cache=_SERVER if cpu.startswith("x86") else _BOARD)

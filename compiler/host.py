"""The machine that compiles and measures: its CPU, and the TVM target that describes it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_V3 = {"avx2", "bmi1", "bmi2", "fma", "f16c", "movbe", "abm"}
_V4 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_V2 = {"sse4_1", "sse4_2", "ssse3", "popcnt", "cx16"}


@dataclass(frozen=True, slots=True)
class Host:
    """`cpu` is the maker's name; `level` the instruction set as LLVM names it; `cores` those this process may use."""

    cpu: str
    level: str
    features: tuple[str, ...]
    cores: int

    @property
    def target(self) -> dict[str, Any]:
        """What TVM compiles for here. A level, not a model, so that alike machines share artefacts."""
        if self.level == "aarch64":
            return {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mattr": ["+neon"]}
        described: dict[str, Any] = {"kind": "llvm", "mcpu": self.level}
        if self.level == "x86-64-v4" and "avx512_vnni" in self.features:
            described["mattr"] = ["+avx512vnni"]  # all but the first servers with AVX-512 have it
        return described

    def __str__(self) -> str:
        return f"{self.cpu} ({self.level}, {self.cores} cores)"


@cache
def host() -> Host:
    """This machine, as Linux describes it."""
    lines = _cpuinfo()
    flags = set(lines.get("flags", lines.get("Features", "")).split())
    name = lines.get("model name", platform.processor() or platform.machine())
    known = sorted(flags & (_V2 | _V3 | _V4 | {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "asimd"}))
    return Host(" ".join(name.split()), _level(flags), tuple(known), len(os.sched_getaffinity(0)))


@cache
def clock() -> float | None:
    """Cycles a second of a core, as Linux has it just now; None where it does not say."""
    megahertz = _cpuinfo().get("cpu MHz")
    return None if megahertz is None else 1e6 * float(megahertz)


def _level(flags: set[str]) -> str:
    if platform.machine() == "aarch64":
        return "aarch64"
    if flags >= _V2 | _V3 | _V4:
        return "x86-64-v4"
    if flags >= _V2 | _V3:
        return "x86-64-v3"
    return "x86-64-v2" if flags >= _V2 else "x86-64"


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}

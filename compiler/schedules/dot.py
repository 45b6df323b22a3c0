"""Products of bytes: instructions that multiply unsigned by signed bytes and add four neighbouring products to 32 bits.

Each set of them is a tensor intrinsic of TVM: what it computes, and the LLVM intrinsics that do it.

Those that add pairs in 16 bits first take two groups at a step where the weights allow it (`short_sums`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
from tvm.s_tir import TensorIntrin
from tvm.script import tirx as T

from compiler.schedules.machine import GROUP, Machine
from compiler.schedules.short_sums import fit
from compiler.schedules.tiles import Tile, candidates, useful

_PAIRS: Final[Mapping[str, tuple[str, str]]] = {
    "ssse3": ("llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.sse2.pmadd.wd"),
    "avx2": ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
    "avx512bw": ("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
}
"""Bytes to pairs in 16 bits, pairs to 32 bits."""


_WHOLE: Final[Mapping[str, str]] = {
    "avx512vnni": "llvm.x86.avx512.vpdpbusd.512",
    "i8mm": "llvm.aarch64.neon.usdot.v4i32.v16i8",
}
"""Bytes to 32 bits, added to what is there."""


def groups_a_step(machine: Machine, values: np.ndarray) -> int:
    """How many groups of weights int8 [K, N] a step of the reduction takes."""
    assert machine.dot is not None
    return 2 if machine.dot.name in _PAIRS and fit(values) else 1


_SECOND: Final = 2
"""Registers for the second group of a step: its weights, and its products until they are added."""
_LATENCY: Final = 8
"""Independent sums that keep two units of VNNI, of latency 4, busy; the other instructions need fewer."""


def integer_tile(machine: Machine, vectors: int, rows: int, columns: int, groups: int) -> Tile:
    """The register tile of a product of bytes, with the registers that the instructions take beside for steps of so
    many groups.

    Sums do not wait for one another as long as those of float32 do: what counts beside the multiplications are loads,
    of weights above all, which come from a cache farther away, a vector each, where a position brings four bytes.
    """
    assert machine.dot is not None
    taken = machine.dot.registers + _SECOND * (groups - 1)
    left = replace(machine, registers=machine.registers - taken)

    def cost(tile: Tile) -> tuple[float, int, int]:
        sums = tile.vectors * tile.positions
        cycles = max(sums, _LATENCY) + tile.vectors / 2 + tile.positions / 4
        return round(cycles / sums / useful(tile, rows, columns), 4), -sums, tile.rows

    return min(candidates(left, vectors, rows, columns), key=cost)


def intrinsic(machine: Machine, groups: int = 1) -> str:
    """The name under which TVM knows the tensor intrinsic of a machine for steps of one group or two."""
    assert machine.dot is not None
    return _registered(machine.dot.name, machine.lanes, groups)


@cache
def _registered(dot: str, lanes: int, groups: int) -> str:
    name = f"tierplan.dot.{dot}.{groups}"
    if groups == 2:
        TensorIntrin.register(name, _meaning_of_two(lanes), _fours(dot, lanes))
    else:
        TensorIntrin.register(name, _meaning(lanes), (_pairs if dot in _PAIRS else _whole)(dot, lanes))
    return name


def _meaning(lanes: int) -> Any:
    @T.prim_func(s_tir=True)
    def meaning(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (4,), "uint8", offset_factor=1)
        B = T.match_buffer(b, (lanes, 4), "int8", offset_factor=1)
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            for i in T.serial(0, lanes):
                for k in T.serial(0, 4):
                    with T.sblock("update"):
                        vi, vk = T.axis.remap("SR", [i, k])
                        C[vi] = C[vi] + T.cast(A[vk], "int32") * T.cast(B[vi, vk], "int32")

    return meaning


def _meaning_of_two(lanes: int) -> Any:
    @T.prim_func(s_tir=True)
    def meaning(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (8,), "uint8", offset_factor=1)
        B = T.match_buffer(b, (2, lanes, 4), "int8", offset_factor=1, strides=[T.int32(), 4, 1])
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:8], B[0:2, 0:lanes, 0:4])
            T.writes(C[0:lanes])
            for g in T.serial(0, 2):
                for i in T.serial(0, lanes):
                    for k in T.serial(0, 4):
                        with T.sblock("update"):
                            vi, vg, vk = T.axis.remap("SRR", [i, g, k])
                            C[vi] = C[vi] + T.cast(A[vg * 4 + vk], "int32") * T.cast(B[vg, vi, vk], "int32")

    return meaning


def _sums(instruction: int, lanes: int, four: Any, weights: Any) -> Any:
    """Sums in 16 bits of pairs of products, of four bytes with each lane's weights; TVMScript calls this while it
    reads."""
    repeated = T.reinterpret(T.broadcast(T.reinterpret(four, dtype="int32"), lanes), dtype=f"uint8x{GROUP * lanes}")
    return T.call_llvm_pure_intrin(instruction, repeated, weights, dtype=f"int16x{2 * lanes}")


def _fours(dot: str, lanes: int) -> Any:
    pairs = 2 * lanes
    first, second = (T.llvm_lookup_intrinsic_id(name) for name in _PAIRS[dot])
    s8, s32 = f"int8x{GROUP * lanes}", f"int32x{lanes}"

    @T.prim_func(s_tir=True)
    def fours_of(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (8,), "uint8", offset_factor=1)
        B = T.match_buffer(b, (2, lanes, 4), "int8", offset_factor=1, strides=[T.int32(), 4, 1])
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:8], B[0:2, 0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = C.vload([0], dtype=s32) + T.call_llvm_pure_intrin(
                second,
                _sums(first, lanes, A.vload([0], "uint8x4"), B.vload([0, 0, 0], dtype=s8))
                + _sums(first, lanes, A.vload([4], "uint8x4"), B.vload([1, 0, 0], dtype=s8)),
                T.broadcast(T.int16(1), pairs),
                dtype=s32,
            )

    return fours_of


def _pairs(dot: str, lanes: int) -> Any:
    pairs = 2 * lanes
    first, second = (T.llvm_lookup_intrinsic_id(name) for name in _PAIRS[dot])
    s8, s32 = f"int8x{GROUP * lanes}", f"int32x{lanes}"

    @T.prim_func(s_tir=True)
    def pairs_of(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (4,), "uint8", offset_factor=1)
        B = T.match_buffer(b, (lanes, 4), "int8", offset_factor=1)
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = C.vload([0], dtype=s32) + T.call_llvm_pure_intrin(
                second,
                _sums(first, lanes, A.vload([0], "uint8x4"), B.vload([0, 0], dtype=s8)),
                T.broadcast(T.int16(1), pairs),
                dtype=s32,
            )

    return pairs_of


def _whole(dot: str, lanes: int) -> Any:
    bytes_ = GROUP * lanes
    instruction = T.llvm_lookup_intrinsic_id(_WHOLE[dot])
    u8, s8, s32 = f"uint8x{bytes_}", f"int8x{bytes_}", f"int32x{lanes}"

    @T.prim_func(s_tir=True)
    def whole_of(a: T.handle, b: T.handle, c: T.handle) -> None:
        A = T.match_buffer(a, (4,), "uint8", offset_factor=1)
        B = T.match_buffer(b, (lanes, 4), "int8", offset_factor=1)
        C = T.match_buffer(c, (lanes,), "int32", offset_factor=1)
        with T.sblock("root"):
            T.reads(C[0:lanes], A[0:4], B[0:lanes, 0:4])
            T.writes(C[0:lanes])
            C[T.ramp(T.int32(0), 1, lanes)] = T.call_llvm_pure_intrin(
                instruction,
                C.vload([0], dtype=s32),
                T.reinterpret(T.broadcast(T.reinterpret(A.vload([0], "uint8x4"), dtype="int32"), lanes), dtype=u8),
                B.vload([0, 0], dtype=s8),
                dtype=s32,
            )

    return whole_of

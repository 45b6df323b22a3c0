"""Which block of the output to keep in registers: ranked by the cycles that one useful multiply-add costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from compiler.schedules.machine import Machine

_LATENCY = 8
"""Independent sums that keep two multiply-add units of latency 4 busy."""


_VECTORS = 8
"""Most vectors of output channels in a tile: beyond, their weights would take the registers that sums need."""


@dataclass(frozen=True, slots=True)
class Tile:
    """`vectors` of output channels times `rows` x `columns` positions, all accumulated in registers."""

    vectors: int
    rows: int
    columns: int

    @property
    def positions(self) -> int:
        return self.rows * self.columns


def best_tile(machine: Machine, vectors: int, rows: int, columns: int, kept: int = 0) -> Tile:
    """The cheapest tile for an output of `vectors` x `rows` x `columns`; ties go to the larger tile.

    Cycles of a step of the reduction are max(multiply-adds, loads, latency); what a tile computes beyond the output's
    edge counts as cost. `kept` are vectors of weights that stay in registers from tile to tile.
    """
    fewer = replace(machine, operands=min(machine.operands + kept, machine.registers - 1))
    return min(candidates(fewer, vectors, rows, columns), key=lambda t: _cost(t, machine, vectors, rows, columns))


def ranked(machine: Machine, vectors: int, rows: int, columns: int) -> list[Tile]:
    """All tiles, the cheapest first, whatever stays in registers beside: measuring tells."""
    return sorted(candidates(machine, vectors, rows, columns), key=lambda t: _cost(t, machine, vectors, rows, columns))


def candidates(machine: Machine, vectors: int, rows: int, columns: int) -> Iterator[Tile]:
    """Every tile whose sums and operands fit the registers."""
    for v in (v for v in range(1, min(vectors, _VECTORS) + 1) if vectors % v == 0):
        for r in range(1, min(rows, 8) + 1):
            for c in range(1, min(columns, machine.accumulators) + 1):
                sums = v * r * c
                if sums <= machine.accumulators and sums + v + (0 if machine.fused_load else 1) <= machine.registers:
                    yield Tile(v, r, c)


def _cost(tile: Tile, machine: Machine, vectors: int, rows: int, columns: int) -> tuple[float, int, int]:
    sums = tile.vectors * tile.positions
    cycles = max(sums / 2, (tile.vectors + tile.positions) / 2, _LATENCY / 2)
    return round(cycles / sums / useful(tile, rows, columns), 4), -sums, tile.rows


def useful(tile: Tile, rows: int, columns: int) -> float:
    """The share of the tiles' positions that lie in the output."""
    covered = math.ceil(rows / tile.rows) * tile.rows * math.ceil(columns / tile.columns) * tile.columns
    return rows * columns / covered

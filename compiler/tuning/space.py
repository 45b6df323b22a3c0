"""Which choices to try beside the present one: the other algorithm, the other order of loops, tiles that cost alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from compiler.schedules.machine import Machine
from compiler.schedules.tiles import ranked
from compiler.schedules.workload import Space
from specs.choice import Choice

TILES: Final = 12
"""Tiles that are tried at most of a workload: the cheapest by the analytic cost."""


def neighbours(machine: Machine, space: Space, present: Choice) -> Iterator[Choice]:
    """Choices of one workload, the most promising first; `present` is not among them."""
    if space.alternative:
        yield Choice(winograd=not present.winograd)
    other = "channels" if present.order == "positions" else "positions"
    yield present.model_copy(update={"order": other})
    for tile in ranked(machine, space.vectors, space.rows, space.columns)[:TILES]:
        size = (tile.vectors, tile.rows, tile.columns)
        if size != present.tile:
            yield present.model_copy(update={"tile": size})

"""What a template can choose for an operator, where it says so, and how a tuned choice takes the analytic one's place.

A *workload* is an operator with its shapes, as text. Its block is annotated with it, with what was chosen and with the
space of choices, so that what was built says what else could be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from compiler.schedules.anchor import TEMPLATE
from compiler.schedules.machine import Machine
from compiler.schedules.tiles import Tile, best_tile, candidates
from specs.choice import Order
from specs.errors import InputError, Issue

WORKLOAD: Final = "tierplan.workload"
SPACE: Final = "tierplan.space"
ORDER: Final = "tierplan.order"


@dataclass(frozen=True, slots=True)
class Space:
    """An output of `vectors` of channels x `rows` x `columns`, from which tiles are cut; `alternative` says that
    another algorithm could compute it as well."""

    vectors: int
    rows: int
    columns: int
    alternative: bool = False


def named(operator: str, parts: Mapping[str, Sequence[int]]) -> str:
    """A workload's name."""
    return " ".join([operator, *(f"{name}[{','.join(map(str, sizes))}]" for name, sizes in parts.items())])


def choice_of(machine: Machine, workload: str, space: Space, kept: int = 0) -> tuple[Tile, Order]:
    """The tile and order of loops: tuned ones, else the analytic ones, for which `kept` vectors of weights stay in
    registers from tile to tile.

    Raises InputError where a tuned tile does not fit the operator or the registers: somebody changed it.
    """
    choice = machine.tuned.get(workload)
    if choice is None or choice.tile is None:
        tile = best_tile(machine, space.vectors, space.rows, space.columns, kept)
        return tile, "channels" if choice is None else choice.order
    tile = Tile(*choice.tile)
    if tile not in candidates(machine, space.vectors, space.rows, space.columns):
        message = f"a tuned tile of {'x'.join(map(str, choice.tile))} does not fit {workload}"
        raise InputError(Issue(message, None, "remove the folder `tuned` of the store and tune again"))
    return tile, choice.order


def block_attrs(template: str, workload: str, space: Space, tile: Tile, order: Order) -> dict[str, Any]:
    """What the block of an operator says of itself."""
    return {
        TEMPLATE: template,
        "tile": [tile.vectors, tile.rows, tile.columns],
        ORDER: order,
        SPACE: [space.vectors, space.rows, space.columns, int(space.alternative)],
        **workload_attrs(workload),
    }


def workload_attrs(workload: str) -> dict[str, Any]:
    """Of a block that is a part of it, and has nothing to choose."""
    return {WORKLOAD: workload}


def order_of(schedule: Any, block: Any) -> Order:
    """The order of loops that a block is annotated with."""
    return "positions" if str(schedule.get(block).annotations.get(ORDER, "channels")) == "positions" else "channels"

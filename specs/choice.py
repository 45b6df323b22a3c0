"""How an operator is computed where a template has choices: in place of what is chosen analytically."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specs.base import Spec

Extent = Annotated[int, Field(ge=1, le=64)]
Order = Literal["channels", "positions"]
"""Which loop over tiles is the inner one: that over positions (rows), so that a tile's weights stay in the cache while
the ``channels`` are the outer loop; or the other way round."""


class Choice(Spec):
    """How one operator is computed: its register `tile` (vectors of channels, rows, columns; the analytic one where it
    is None), the `order` of the loops over tiles, and whether by Winograd's algorithm."""

    tile: tuple[Extent, Extent, Extent] | None = None
    order: Order = "channels"
    winograd: bool = False

    def __str__(self) -> str:
        tile = "analytic tile" if self.tile is None else "x".join(map(str, self.tile))
        return f"{'Winograd, ' if self.winograd else ''}{tile}, {self.order} outside"

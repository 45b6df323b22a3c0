"""Drawn scenes of a road from above: a few cars, trucks and motorbikes on noisy asphalt."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from traffic.frames import HEIGHT, KINDS, WIDTH

CELL: Final = 16
"""At most one vehicle stands in each cell of so many pixels, so that none hides another."""
MEAN: Final = 3.0
SHARES: Final = (0.6, 0.2, 0.2)


class Scene(NamedTuple):
    """`pixels` u8[64,96]; of each vehicle its middle (row, column) and its kind."""

    pixels: NDArray[np.uint8]
    middles: list[tuple[int, int]]
    kinds: list[int]

    @property
    def counts(self) -> list[int]:
        return [self.kinds.count(kind) for kind in range(len(KINDS))]


def scene(random: np.random.Generator) -> Scene:
    """One frame; 0 to 9 vehicles, 3 on average."""
    light = random.uniform(60, 110)
    road = light + random.normal(0, 6, (HEIGHT, WIDTH)) + np.linspace(-10, 10, WIDTH)
    cells = random.permutation((HEIGHT // CELL) * (WIDTH // CELL))[: min(9, random.poisson(MEAN))]
    middles: list[tuple[int, int]] = []
    kinds: list[int] = []
    for cell in cells.tolist():
        row, column = divmod(cell, WIDTH // CELL)
        middle = (
            row * CELL + CELL // 2 + int(random.integers(-1, 1)),
            column * CELL + CELL // 2 + int(random.integers(-1, 1)),
        )
        kind = int(random.choice(len(KINDS), p=SHARES))
        _draw(road, middle, kind, light + random.uniform(80, 130))
        middles.append(middle)
        kinds.append(kind)
    return Scene(np.clip(road, 0, 255).astype(np.uint8), middles, kinds)


def _draw(road: NDArray[np.float64], middle: tuple[int, int], kind: int, paint: float) -> None:
    """A car has a dark windscreen, a truck a darker bed behind its cab, a motorbike is narrow."""
    row, column = middle
    half_height, half_width = ((3, 5), (4, 6), (1, 3))[kind]
    road[row - half_height : row + half_height + 1, column - half_width : column + half_width + 1] = paint
    if kind == 0:
        road[row - 2 : row + 3, column + 1 : column + 3] = paint - 90
    elif kind == 1:
        road[row - 3 : row + 4, column - 5 : column + 2] = paint - 40

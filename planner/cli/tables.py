"""Tables for a terminal of any width: words are never cut inside.

Where a table is too wide, columns that say the same in every row become one line below it; where that is not enough,
every row becomes a block of lines, one for each column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

GAP: Final = 2
"""Columns of the terminal between two columns of a table."""
EDGE: Final = 2
"""What the edges of a table take."""


@dataclass(frozen=True)
class FittedTable:
    """`rows` under `columns`, those named in `right` aligned right; drawn as the width allows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: frozenset[str] = frozenset()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if self.least_width <= width:
            yield self._drawn(width)
            return
        narrow, same = self._without_constants()
        if narrow.least_width <= width:
            yield narrow._drawn(width)
            if same:
                yield Text(f"in every row: {', '.join(same)}\n")
            return
        yield self._blocks()

    def fits(self, width: int) -> bool:
        """Whether it is drawn as a table, a line a row."""
        return min(self.least_width, self._without_constants()[0].least_width) <= width

    @property
    def least_width(self) -> int:
        """What it takes without cutting a word."""
        return EDGE + sum(self._least(i) for i in range(len(self.columns))) + GAP * (len(self.columns) - 1)

    def _least(self, index: int) -> int:
        if self.columns[index] in self.right:  # figures stand on one line
            texts = [row[index] for row in self.rows]
        else:
            texts = [word for row in self.rows for word in _words(row[index])]
        return max((len(text) for text in (*texts, *self.columns[index].split())), default=0)

    def _widths(self, width: int) -> list[int]:
        """What each column gets: its longest word, then what it would like beyond, those first that want least."""
        spare = width - self.least_width
        widths = [self._least(index) for index in range(len(self.columns))]
        likes = [max(map(len, (column, *(row[i] for row in self.rows)))) for i, column in enumerate(self.columns)]
        for index in sorted(range(len(widths)), key=lambda i: likes[i] - widths[i]):
            more = min(spare, likes[index] - widths[index])
            widths[index] += more
            spare -= more
        return widths

    def _drawn(self, width: int) -> Table:
        made = Table(
            title=Text(self.title) if self.title else None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, GAP - 1, 0, 0),
        )
        for column, given in zip(self.columns, self._widths(width), strict=True):
            made.add_column(Text(column), justify="right" if column in self.right else "left", width=given)
        for row in self.rows:
            made.add_row(*(Text(cell) for cell in row))
        return made

    def _without_constants(self) -> tuple[FittedTable, list[str]]:
        """The table without columns in which all rows agree, and what they say."""
        kept = [
            i
            for i, column in enumerate(self.columns)
            if i == 0 or not column or len(self.rows) < 2 or len({row[i] for row in self.rows}) > 1
        ]
        dropped = [i for i in range(len(self.columns)) if i not in kept]
        same = [f"{self.columns[i]} {self.rows[0][i]}" for i in dropped if self.rows[0][i]]
        columns = tuple(self.columns[i] for i in kept)
        return replace(self, columns=columns, rows=tuple(tuple(row[i] for i in kept) for row in self.rows)), same

    def _blocks(self) -> Text:
        """A line for each cell that says something: its column, then the cell."""
        indent = max(len(column) for column in self.columns) + GAP
        blocks = [
            "\n".join(f"{c:<{indent}}{cell}" for c, cell in zip(self.columns, row, strict=True) if cell)
            for row in self.rows
        ]
        return Text("\n\n".join([*([self.title] if self.title else []), *blocks]) + "\n")


def _words(cell: str) -> list[str]:
    """What must not be cut in `cell`; an indentation goes with its first word."""
    text = cell.lstrip()
    words = text.split()
    return [" " * (len(cell) - len(text)) + word if i == 0 else word for i, word in enumerate(words)]


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str, right: Sequence[str]) -> FittedTable:
    return FittedTable(tuple(columns), tuple(tuple(row) for row in rows), title, frozenset(right))

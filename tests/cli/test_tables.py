"""Tables are readable at any width: no word is cut, no cell is lost."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from planner.cli.output import WIDTH_OF_A_PIPE, console, table

WORD = st.text("abcdefghij_.", min_size=1, max_size=14)
CELL = st.lists(WORD, max_size=3).map(" ".join)


def drawn(columns: list[str], rows: list[list[str]], width: int, right: list[str]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, markup=False, highlight=False, emoji=False).print(table(columns, rows, "", right))
    return stream.getvalue()


@given(
    columns=st.lists(WORD, min_size=1, max_size=9, unique=True),
    data=st.data(),
    width=st.integers(40, 160),
)
def test_every_word_stands_whole_within_the_width(columns: list[str], data: st.DataObject, width: int) -> None:
    row = st.lists(CELL, min_size=len(columns), max_size=len(columns))
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    right = data.draw(st.lists(st.sampled_from(columns), unique=True))
    text = drawn(columns, rows, width, right)
    words = set(text.replace(",", " ").split())
    assert all(word in words for cells in rows for cell in cells for word in cell.split())
    if not any(len(cell) > 14 for cells in rows for cell in cells):
        assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("columns", "width"), [("100", 100), ("", WIDTH_OF_A_PIPE), ("many", WIDTH_OF_A_PIPE)])
def test_a_pipe_is_as_wide_as_columns_says(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert console().width == width


def test_columns_that_say_the_same_in_every_row_make_room() -> None:
    columns = ["component", "hardware", "threads"]
    rows = [["shrink_the_picture", "phone", "1"], ["vision", "gateway", "1"]]
    assert "in every row" not in drawn(columns, rows, 60, ["threads"])
    narrow = drawn(columns, rows, 32, ["threads"])
    assert "in every row: threads 1" in narrow
    assert "hardware" in narrow.splitlines()[1]
    blocks = drawn(columns, rows, 20, ["threads"]).splitlines()
    assert {"hardware   phone", "threads    1"} <= set(blocks)


def test_an_indented_word_stands_whole() -> None:
    text = drawn(["", "p50"], [["redact", "1"], ["  waiting", "2"]], 15, ["p50"])
    assert "  waiting" in text
    assert max(map(len, text.splitlines())) <= 16

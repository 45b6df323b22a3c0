"""Results on stdout in the format asked for; progress on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.tables import FittedTable

WIDTH_OF_A_PIPE: Final = 140
"""Columns for tables that do not go to a terminal, where COLUMNS says nothing."""
DASH: Final = "-"
TOO_FEW: Final = f"{DASH}: no p99, which takes 100 runs; a longer --budget (seconds for each measurement) allows more"
STEP_SECONDS: Final = 5.0
"""Between two steps that are told where they do not go to a terminal."""


class Format(StrEnum):
    table = "table"
    json = "json"
    yaml = "yaml"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="table for people, json or yaml for programs.")]


def emit(value: Mapping[str, Any], fmt: Format, show: Callable[[Console], None]) -> None:
    """Write `value` (with its ``schema``) to stdout as `fmt`; as a table, `show` draws it instead."""
    _emitted.append(fmt)
    if fmt is Format.json:
        print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
    elif fmt is Format.yaml:
        from specs.yamlfile import yaml_text

        print(yaml_text(value), end="")
    else:
        show(console())
    sys.stdout.flush()  # before what is said on stderr about it, and so that a reader who left is noticed here


_emitted: list[Format] = []
"""What was written to stdout by this call of the command: a program gets one answer, or one error."""


def take_emitted() -> bool:
    """Whether a result was written since this was last asked."""
    found = bool(_emitted)
    _emitted.clear()
    return found


def console() -> Console:
    """A console on stdout. Markup is off: names come from files and are shown as they are."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # `planner.cli.main` ends the command; rich would say that the answer is no

    asked = os.environ.get("COLUMNS", "")
    width = int(asked) if asked.isdecimal() and int(asked) else None if sys.stdout.isatty() else WIDTH_OF_A_PIPE
    return Plain(file=sys.stdout, markup=False, highlight=False, emoji=False, width=width, soft_wrap=False)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", right: Sequence[str] = ()
) -> FittedTable:
    """A plain table, drawn as the width allows; the columns named in `right` are aligned right."""
    from planner.cli.tables import fitted

    return fitted(columns, rows, title, right)


class Progress:
    """Lines on stderr: one that rewrites itself on a terminal, plain ones elsewhere.

    Used as a context, it leaves the terminal on a fresh line however it ends.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._open = False
        self._told = 0.0
        self._step = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._close()
        print(text, file=sys.stderr, flush=True)

    def step(self, text: str) -> None:
        """How far it is: replaces the step before on a terminal; elsewhere one is told in a while, if it is new."""
        if not self._live:
            if text != self._step and time.monotonic() - self._told >= STEP_SECONDS:
                self.say(text)
                self._told, self._step = time.monotonic(), text
            return
        print(f"\r\x1b[K{text[:118]}", end="", file=sys.stderr, flush=True)
        self._open = True

    def _close(self) -> None:
        if self._open:
            print(file=sys.stderr, flush=True)
            self._open = False


def plus_minus(low: float, high: float) -> str:
    """An interval, by multiples of what stands before it: by how much at most it is off."""
    return f"±{100 * max(high - 1, 1 - low):.0f} %" if high < 2 else f"x{low:.2g}..{high:.2g}"


def counted(n: int, what: str) -> str:
    """So many of what is named in the singular, whose plural ends in s: ``1 plan``, ``2 plans``."""
    return f"{n} {what}{'' if n == 1 else 's'}"


TINY_MS: Final = 0.01
"""Milliseconds below this are shorter than any clock here tells apart."""


def milliseconds(value: float) -> str:
    """As `number`, but what is too short to matter is only said to be so."""
    return f"< {TINY_MS}" if 0 < value < TINY_MS else number(value)


def number(value: float, digits: int = 3) -> str:
    """A figure for people: `digits` significant ones, thousands set apart, no exponent where it can be helped."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return f"{value:.{digits + 3}f}".rstrip("0") if "e-0" in text and abs(value) >= 1e-4 else text

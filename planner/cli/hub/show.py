"""The hub's tables for people: in the terminal, and as one HTML page without scripts or requests to anywhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.cli.output import DASH, TOO_FEW, number, plus_minus, table
from specs.hub import CatalogueResult, HubResult, HubRow

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.tables import FittedTable


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, those of numbers among them, rows of text, and what must be said beneath.

    `details` are columns that a narrow terminal does without, the first of them first.
    """

    title: str
    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    details: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str

    def print(self, out: Console) -> None:
        """Without columns in which nothing stands, and without details where the terminal is narrow."""
        said = [c for i, c in enumerate(self.columns) if not self.rows or any(row[i] for row in self.rows)]
        spare = [c for c in self.details if c in said]
        without = next((n for n in range(len(spare)) if self._of(said, spare[:n]).fits(out.width)), len(spare))
        out.print(self._of(said, spare[:without]))
        if without:
            out.print(f"left out, for a wider terminal or --format json: {', '.join(spare[:without])}")
        out.print(self.note)

    def _of(self, columns: Sequence[str], left_out: Collection[str]) -> FittedTable:
        kept = [i for i, column in enumerate(self.columns) if column in columns and column not in left_out]
        rows = [[row[i] for i in kept] for row in self.rows]
        return table([self.columns[i] for i in kept], rows, title=self.title, right=self.numbers)

    def page(self) -> str:
        """As HTML, every cell escaped."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        loader = PackageLoader("planner.cli.hub", "templates")
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
        return environment.get_template("hub.html.j2").render(
            title=self.title, columns=self.columns, numbers=self.numbers, rows=self.rows, note=self.note
        )


def hub_table(result: HubResult) -> Table:
    cost = f"{result.currency}/1,000"
    numbers = ("threads", "batch", "p50 ms", "p99 ms", "per second", cost, "kB", "memory MB", "accuracy")
    columns = ("model", "hardware", "target", "backend", *numbers, "known", "slow generic code")
    details = ("slow generic code", "memory MB", "kB", "per second", "target", "accuracy", "batch")
    batched = any(row.batch > 1 for row in result.rows)
    rows = tuple(
        (
            _model(row),
            row.hardware,
            "" if row.target == row.backend else row.target,
            row.backend,
            str(row.threads),
            str(row.batch) if batched else "",
            _time(row, row.p50_ms),
            DASH if row.provenance and row.p99_ms is None else _time(row, row.p99_ms),
            _text(row.per_second),
            _text(row.cost_per_1000),
            _text(row.bytes, 1e-3),
            _text(row.memory, 1e-6),
            "" if row.accuracy is None else f"{row.accuracy:.4f}",
            row.provenance or "not measured",
            ", ".join(row.fallback),
        )
        for row in result.rows
    )
    note = "per second and cost: one replica that is never idle. emulated: on another machine, slowed to stand for it."
    if any(row.provenance == "estimated" for row in result.rows):
        note += (
            "\nestimated: nobody ran it there; the interval (± so much, or x LOW..HIGH of what is stated) holds the "
            "truth with 90 % (docs/estimates.md)."
        )
    if any(DASH in row for row in rows):
        note += f"\n{TOO_FEW}"
    return Table(f"{len(rows)} ways to run", columns, numbers, details, rows, note)


def show_hub(result: HubResult, out: Console) -> None:
    """What was measured, and below what was only compiled."""
    measured = tuple(row for row in result.rows if row.provenance)
    waiting = tuple(row for row in result.rows if not row.provenance)
    if measured:
        hub_table(result.model_copy(update={"rows": measured})).print(out)
    if waiting:
        columns = ["model", "target", "backend", "threads", "kB"]
        rows = [[_model(r), r.target, r.backend, str(r.threads), _text(r.bytes, 1e-3)] for r in waiting]
        out.print(table(columns, rows, title=f"{len(rows)} compiled, not measured", right=["threads", "kB"]))
    if not result.rows:
        out.print(f"nothing is known of that in {result.profiles} and {result.store}; planner profile measures")


def catalogue_table(result: CatalogueResult) -> Table:
    numbers = ("cores", "memory GB", f"{result.currency}/h", f"{result.currency} to buy")
    columns = ("catalog/", "kind", *numbers, "target", "gpu", "as of", "source", "what")
    details = ("source", "what", "gpu", "target", f"{result.currency} to buy", "kind")
    rows = tuple(
        (
            row.name,
            row.kind,
            str(row.cores),
            number(row.memory / 1e9),
            _text(row.hourly),
            _text(row.buy),
            row.target,
            f"{row.gpu} {row.gpu_title}" if row.gpu else "",
            row.as_of,
            row.source,
            row.title,
        )
        for row in result.rows
    )
    note = "As of the months given: check prices before money is spent. What is bought is paid over three years."
    return Table(f"{len(rows)} classes and instances", columns, numbers, details, rows, note)


def _model(row: HubRow) -> str:
    return row.model.removesuffix("/default") + ("" if row.segment == ".." else f" [{row.segment}]")


def _time(row: HubRow, value: float | None) -> str:
    """Of an estimate, with its interval."""
    return f"{_text(value)} {plus_minus(*row.interval)}" if row.interval is not None else _text(value)


def _text(value: float | None, factor: float = 1.0) -> str:
    return "" if value is None else number(value * factor)

"""The hub's tables for people: in the terminal, and as one HTML page without scripts or requests to anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.cli.output import number, table
from specs.hub import CatalogueResult, HubResult

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, those of numbers among them, rows of text, and what must be said beneath."""

    title: str
    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str

    def print(self, out: Console) -> None:
        """Without columns in which nothing stands."""
        used = [i for i, _ in enumerate(self.columns) if not self.rows or any(row[i] for row in self.rows)]
        rows = [[row[i] for i in used] for row in self.rows]
        out.print(table([self.columns[i] for i in used], rows, title=self.title, right=self.numbers))
        out.print(self.note)

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
    numbers = ("threads", "p50 ms", "p99 ms", "per second", cost, "kB", "memory MB", "accuracy")
    columns = ("model", "part", "hardware", "target", "backend", *numbers, "known", "slow generic code")
    rows = tuple(
        (
            row.model,
            "" if row.segment == ".." else row.segment,
            row.hardware,
            "" if row.target == row.backend else row.target,
            row.backend,
            str(row.threads),
            _text(row.p50_ms),
            _text(row.p99_ms),
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
    return Table(f"{len(rows)} ways to run", columns, numbers, rows, note)


def catalogue_table(result: CatalogueResult) -> Table:
    numbers = ("cores", "memory GB", f"{result.currency}/h", f"{result.currency} to buy")
    columns = ("catalog/", "kind", *numbers, "target", "gpu", "as of", "source", "what")
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
    return Table(f"{len(rows)} classes and instances", columns, numbers, rows, note)


def _text(value: float | None, factor: float = 1.0) -> str:
    return "" if value is None else number(value * factor)

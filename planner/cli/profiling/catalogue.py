"""One model on every entry of the catalogue, by estimate: the fastest way on each, its cost, and whether it fits."""

from __future__ import annotations

from itertools import product

from compiler.estimate.estimate import Place, backends_for, estimate, family_of
from compiler.estimate.operators import work_of
from compiler.given import Given
from compiler.model import load_model, prepare
from planner.cli.profiling.estimates import THREADS
from planner.cli.results import EstimateRow
from specs.catalogue import Entry, catalogue


def on_catalogue(given: Given) -> tuple[EstimateRow, ...]:
    """The fastest first. GPUs are left out of account: what stands here is the CPU beside them.

    Raises InputError for a model that is wrong.
    """
    work = work_of(prepare(load_model(given.file), {}, given.name))
    rows: list[EstimateRow] = []
    for name, entry in catalogue().entries.items():
        place = Place(name, entry.speed, family_of(entry.target), int(entry.cores))
        ways = product(backends_for(entry.target), (n for n in THREADS if n <= place.cores))
        found = [(estimate(work, backend, threads, place), backend, threads) for backend, threads in ways]
        best, backend, threads = min(found, key=lambda way: way[0].seconds)
        rows.append(
            EstimateRow(
                name=name,
                kind=entry.kind,
                backend=backend,
                threads=threads,
                p50_ms=1000 * best.seconds,
                low_ms=1000 * best.low,
                high_ms=1000 * best.high,
                cost_per_1000=_cost(entry, threads, best.seconds),
                memory=best.memory,
                fits=best.memory <= entry.memory,
            )
        )
    return tuple(sorted(rows, key=lambda row: row.p50_ms))


def _cost(entry: Entry, threads: int, seconds: float) -> float | None:
    """Of 1,000 inferences on the cores that one reserves."""
    return None if entry.per_hour is None else 1000 * entry.per_hour / 3600 * threads / entry.cores * seconds

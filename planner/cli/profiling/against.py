"""A model beside its previous version: what the interface lost or gained, times, size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from planner.cli.results import InterfaceChange, ModelComparison, ModelProfile, TimeChange
from specs.external_data import external_files


def compare_profiles(new: ModelProfile, old: ModelProfile) -> ModelComparison:
    """`new` against `old`, both measured in one go on one machine.

    A time counts as changed where the medians differ by more than both drifted while they were measured.
    """
    before = {(row.backend, row.threads): row for row in old.rows}
    times = [
        TimeChange(
            backend=row.backend,
            threads=row.threads,
            old_ms=other.p50_ms,
            new_ms=row.p50_ms,
            ratio=row.p50_ms / other.p50_ms,
            beyond_spread=abs(row.p50_ms - other.p50_ms) > row.spread_ms + other.spread_ms,
        )
        for row in new.rows
        if (other := before.get((row.backend, row.threads))) is not None
    ]
    changes = [
        *_changes("input", old.inputs, new.inputs),
        *_changes("output", old.outputs, new.outputs),
    ]
    return ModelComparison(
        model=old.model,
        old_bytes=old.bytes,
        new_bytes=new.bytes,
        interface=tuple(changes),
        compatible=not changes or all(c.kind == "output" and c.old is None for c in changes),
        times=tuple(times),
    )


def _changes(kind: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[InterfaceChange]:
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield InterfaceChange.model_validate(
                {"kind": kind, "name": name, "old": old.get(name), "new": new.get(name)}
            )


def size_of(file: Path) -> int:
    """Bytes of a model and of its external data, each file once."""
    return file.stat().st_size + sum((file.parent / name).stat().st_size for name in external_files(file))

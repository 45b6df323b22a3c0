"""Real inputs for each bucket of a model: those that it would take, and others made as long where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.executors.buckets import Lengths
from specs.artefact import Artefact, Buckets

Sample = dict[str, Any]


def by_bucket(samples: Sequence[Sample], artefact: Artefact, buckets: Buckets) -> dict[int, list[Sample]]:
    """At least one sample for each bucket, by its size: how long a run takes is measured in all of them.

    For a bucket into which no sample falls, all are brought to its very size: cut, or filled up.
    """
    lengths = Lengths(artefact, buckets)
    found: dict[int, list[Sample]] = {size: [] for size in buckets.sizes}
    for sample in samples:
        found[lengths.holding(lengths.of(sample))].append(sample)
    return {size: kept or [lengths.brought_to(size, s) for s in samples] for size, kept in found.items()}

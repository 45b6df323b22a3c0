"""Profiles as a quiet machine would have measured them: what is decided in a test hangs on no noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from specs.mixture import mixture
from specs.profile import (
    HOPS_FILE,
    BucketTimes,
    Distribution,
    HopOverhead,
    Record,
    json_line,
    read_jsonl,
    read_records,
)

SECONDS: Final = {"phone": 2e-4, "server": 1e-4}
"""On average, by hardware; in the largest bucket, where there are any."""
HOP: Final = 1e-3
WIDTH: Final = 0.2
"""From the shortest to the longest time, as a share of the mean; all between are equally likely."""


def quieten(folder: Path, slow: Mapping[str, float] | None = None) -> None:
    """Give what was profiled in `folder` constants for times: `slow` by source, `SECONDS` where it does not name one.

    How often, where and what was measured stays as it is.
    """
    profiles = folder / "profiles"
    records = [_quiet(r, (slow or {}).get(r.source, SECONDS[r.hardware])) for r in read_records(profiles)]
    (profiles / "profiles.jsonl").write_text("".join(map(json_line, records)), "utf-8")
    file = profiles / HOPS_FILE
    if file.exists():  # there is more than one site
        hops = (h.model_copy(update={"latency": _around(h.latency, HOP)}) for h in read_jsonl(file, HopOverhead))
        file.write_text("".join(map(json_line, list(hops))), "utf-8")


def _quiet(record: Record, seconds: float) -> Record:
    if record.buckets is None:
        return record.model_copy(update={"latency": _around(record.latency, seconds)})
    largest = record.buckets[-1].size
    buckets = tuple(_bucket(b, seconds * b.size / largest) for b in record.buckets)
    return record.model_copy(update={"buckets": buckets, "latency": mixture(buckets)})


def _bucket(bucket: BucketTimes, seconds: float) -> BucketTimes:
    return bucket.model_copy(update={"latency": _around(bucket.latency, seconds)})


def _around(measured: Distribution, seconds: float) -> Distribution:
    """Uniform, with the quantiles that `measured` has."""
    quantiles = {p: seconds * (1 + WIDTH * (float(p) - 0.5)) for p in measured.quantiles}
    second, third = 1 + WIDTH**2 / 12, 1 + WIDTH**2 / 4
    return Distribution(
        mean=seconds,
        second=second * seconds**2,
        third=third * seconds**3,
        quantiles=quantiles,
        n=measured.n,
        spread=0.0,
    )

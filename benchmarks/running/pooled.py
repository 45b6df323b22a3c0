"""Runs of one plan pooled: percentiles with their intervals, and how far each term is from its prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.running.once import RunRecord, Times

TARGETS: Final = {"p50": 0.05, "p95": 0.10, "p99": 0.10}
QUANTILES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
RESAMPLES: Final = 1000
BLOCK: Final = 20
"""Requests that follow one another are alike: they are drawn together."""
WORST: Final = 3

Reals = np.ndarray[Any, np.dtype[np.float64]]
Row = dict[str, Any]


def interval(runs: Sequence[Reals], quantile: float, seed: int = 0) -> tuple[float, float]:
    """95 % of a quantile of all `runs` together, by bootstrap over blocks of each run (H. Künsch, 1989)."""
    rng = np.random.default_rng(seed)
    drawn: list[Reals] = []
    for run in runs:
        block = min(BLOCK, len(run))
        begins = rng.integers(0, len(run) - block + 1, (RESAMPLES, -(-len(run) // block), 1))
        drawn.append(run[(begins + np.arange(block)).reshape(RESAMPLES, -1)[:, : len(run)]])
    low, high = np.quantile(np.quantile(np.concatenate(drawn, axis=1), quantile, axis=1), (0.025, 0.975))
    return float(low), float(high)


def rows(case: str, records: Sequence[RunRecord]) -> Iterator[Row]:
    """A row for each percentile of each path, for each term, and for the stages that differ most."""
    first = records[0]
    for index, path in enumerate(first.paths):
        runs = [np.array(r.paths[index].services) * 1e3 for r in records]
        if all(len(run) for run in runs):
            yield from _path_rows(f"{case}: {_path_name(path)}", path.predicted["predicted"], runs, first)
    yield from _term_rows(case, records)


def _path_name(path: Times) -> str:
    p = path.predicted
    return f"{p['from']} -> {p['to']} ({p['over']})"


def _path_rows(case: str, predicted: dict[str, float], runs: Sequence[Reals], first: RunRecord) -> Iterator[Row]:
    every = np.concatenate(runs)
    for name, quantile in QUANTILES.items():
        measured, ours = float(np.quantile(every, quantile)), predicted[f"{name}_ms"]
        each = [float(np.quantile(run, quantile)) for run in runs]
        spread = (max(each) - min(each)) / 2
        error = ours / measured - 1
        yield _row(case, f"{name}, ms", ours, measured, len(runs)) | {
            "error": round(error, 4),
            "target": TARGETS[name],
            "within": _verdict(abs(error), TARGETS[name], spread / measured),
            "spread": round(spread, 3),
            "interval": [round(bound, 3) for bound in interval(runs, quantile)],
            "requests": len(every),
            "load": round(first.busiest["load"], 3),
            "busiest": first.busiest["queue"],
            "busiest_per_second": round(first.busiest["rate"], 2),
            "network": first.network,
        }


def _verdict(error: float, target: float, spread: float) -> str:
    """Whether the prediction is as near as asked, or as near as identical repeats are to one another."""
    if error <= target:
        return "target"
    return "spread" if error <= spread else "no"


def _row(case: str, metric: str, predicted: float, measured: float, runs: int) -> Row:
    return {
        "case": case,
        "metric": metric,
        "ours": round(predicted, 3),
        "peer_name": "measured",
        "peer": round(measured, 3),
        "ratio": round(predicted / measured, 3) if measured else None,
        "runs": runs,
    }


def _term_rows(case: str, records: Sequence[RunRecord]) -> Iterator[Row]:
    """Mean milliseconds a request in each term: branches that run side by side count both."""
    requests = sum(r.counts["of"] for r in records)
    found: dict[str, list[tuple[str, float, float]]] = {"service": [], "wait": [], "transfer": [], "hop": []}
    for index, stage in enumerate(records[0].stages):
        p = stage.predicted
        services = [s for r in records for s in r.stages[index].services]
        waits = [w for r in records for w in r.stages[index].waits]
        if not services:
            continue
        name = f"{p['name']} at {p['site']}"
        service, wait = p["service"]["mean_ms"], p["wait"]["mean_ms"]
        took, waited = sum(services) * 1e3 / requests, sum(waits) * 1e3 / requests
        passed = len(waits) / requests
        if p["kind"] == "stage":
            found["service"].append((name, service * p["share"], took))
            found["wait"].append((name, wait * passed, waited))
        else:
            found["transfer"].append((name, (service + wait) * passed, took + waited))
    handed = sum(sum(r.handing) for r in records) * 1e3 / requests
    found["hop"].append(("between stages of one process", 0.0, handed))
    for term, parts in found.items():
        row = _row(
            case, f"{term}, mean ms a request", sum(p for _, p, _ in parts), sum(m for *_, m in parts), len(records)
        )
        worst = sorted(parts, key=lambda part: -abs(part[1] - part[2]))[:WORST]
        yield row | {
            "worst": [{"of": of, "predicted": round(p, 3), "measured": round(m, 3)} for of, p, m in worst],
            "load_average": [round(r.load_average, 2) for r in records],
        }
    fates = ("sent", "answered", "refused", "failed", "lost", "wrong")
    counts = {fate: sum(r.counts[fate] for r in records) for fate in fates}
    row = _row(case, "requests sent, and answered", counts["sent"], counts["answered"], len(records))
    yield row | {"peer_name": "answered", "fates": counts}

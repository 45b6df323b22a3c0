"""What a hop inside a process costs: from the end of a stage to the beginning of the next on the same executor."""

from __future__ import annotations

import statistics
import threading
from pathlib import Path
from typing import Final

from benchmarks.running.in_process import Opened, opened
from benchmarks.running.pooled import Row
from runtime.hosting.request import Entry

COUNT: Final = 200
RUNS: Final = 3
TARGET_MS: Final = 0.02
PATIENCE: Final = 30.0


def pipe_rows(bundle: Path, app: Path) -> list[Row]:
    """One row: runs of requests one after another, unslowed; the peer is the target."""
    with opened(bundle, app, shape=False) as of:
        _, *runs = (_hops(of, run) for run in range(RUNS + 1))
    medians = [statistics.median(run) * 1e3 for run in runs]
    ours = statistics.median(medians)
    return [
        {
            "case": "decode to find, one process",
            "metric": "from end to beginning, median, ms",
            "ours": round(ours, 4),
            "peer_name": "target",
            "peer": TARGET_MS,
            "ratio": round(ours / TARGET_MS, 2),
            "runs": RUNS,
            "spread": round((max(medians) - min(medians)) / 2, 4),
        }
    ]


def _hops(of: Opened, run: int) -> list[float]:
    flow = of.top.flows[0]
    host = of.hosts.host(str(flow.members[0]))
    found: list[float] = []
    for number in range(COUNT):
        item, done = of.items[number % len(of.items)], threading.Event()
        ended: list[Entry] = []

        def on_end(entry: Entry, ended: list[Entry] = ended, done: threading.Event = done) -> None:
            ended.append(entry)
            done.set()

        host.submit(f"hop/{run}/{number}", flow.name, item.values, PATIENCE, on_end)
        assert done.wait(PATIENCE)
        first, second, *_ = sorted(ended[0].trace.stages, key=lambda t: t.ended)
        found.append(second.ended - second.service - first.ended)
    return found

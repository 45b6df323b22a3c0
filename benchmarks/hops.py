"""What a hop costs: our channel between two hosts beside a bare Ray actor call, by size, on one node and on two.

``python -m benchmarks.hops`` writes benchmarks/results/hops.json. Ours is from the hand-over to the shaper's thread to
the decoded message at the other host; the peer's is from the call with the same bytes to the start of the method. Both
alternate in one run, on the same actors and with the same settings of Ray.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

from runtime.cluster.connection import Connection
from runtime.cluster.local import local_cluster
from runtime.hops import GAP, HopProbe
from runtime.machine import host_name

SIZES: Final = (1_000, 100_000, 1_000_000)
COUNT: Final = 60
RUNS: Final = 3
RESULT: Final = Path(__file__).parent / "results" / "hops.json"


class Probe(HopProbe):
    """Takes bare calls as well."""

    async def bare(self, sent: float, data: bytes) -> None:
        self._took.append(time.monotonic() - sent)

    async def call(self, peer: Any, payload: int, count: int, gap: float) -> None:
        """Call `bare` of `peer` with `payload` bytes, `count` times."""
        data = os.urandom(payload)

        def calls() -> None:
            for _ in range(count):
                peer.bare.remote(time.monotonic(), data)
                time.sleep(gap)
            time.sleep(0.1)

        await asyncio.to_thread(calls)


def main() -> int:
    """Measure, write the result, print a line a row."""
    rows: list[dict[str, object]] = []
    with local_cluster([{"site": "a", "tier": "probe"}, {"site": "b", "tier": "probe"}]) as cluster:
        connection = Connection(cluster.wait(), local=True)
        try:
            sender, near, far = (connection.place(site, Probe) for site in ("a", "a", "b"))
            for where, peer in (("same node", near), ("another node", far)):
                medians(connection, sender, peer, SIZES[0])  # connections and caches
                for payload in SIZES:
                    samples = [medians(connection, sender, peer, payload) for _ in range(RUNS)]
                    ours, bare = (statistics.median(column) for column in zip(*samples, strict=True))
                    rows.append(
                        {
                            "case": f"{payload} bytes, {where}",
                            "metric": "one-way time, median, ms",
                            "ours": round(ours * 1e3, 4),
                            "peer_name": "bare Ray actor call",
                            "peer": round(bare * 1e3, 4),
                            "ratio": round(ours / bare, 3),
                            "runs": RUNS,
                            "spread": round((max(s[0] for s in samples) - min(s[0] for s in samples)) * 5e2, 4),
                        }
                    )
                    print(rows[-1], file=sys.stderr)
        finally:
            connection.close()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({**about(), "rows": rows}, indent=1) + "\n", "utf-8")
    return 0


def medians(connection: Connection, sender: Any, peer: Any, payload: int) -> tuple[float, float]:
    """Of one-way seconds: through our channel, and by a bare call."""
    gap = GAP + payload * 1e-8
    connection.gather({"ours": sender.send.remote(peer, payload, COUNT, gap)})
    ours = connection.gather({"ours": peer.take.remote()})["ours"]
    connection.gather({"bare": sender.call.remote(peer, payload, COUNT, gap)})
    bare = connection.gather({"bare": peer.take.remote()})["bare"]
    return statistics.median(ours), statistics.median(bare)


def about() -> dict[str, object]:
    """Schema, versions and machine."""
    import ray

    return {
        "schema": "tierplan.benchmark/v1",
        "versions": {"python": platform.python_version(), "ray": ray.__version__},
        "machine": {"cpu": host_name(), "cores": os.cpu_count()},
    }


if __name__ == "__main__":
    sys.exit(main())

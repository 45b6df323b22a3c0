"""What Ray must be told by environment variables, before it is imported."""

from __future__ import annotations

import os
from typing import Final

INLINE_BYTES: Final = 12_000_000
"""Arguments up to this size travel inside the call: one trip instead of two, and half the time from 100 kB to 1 MB."""

SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_max_direct_call_object_size": str(INLINE_BYTES),
    "RAY_task_rpc_inlined_bytes_limit": str(5 * INLINE_BYTES),
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    # A call to a process that died fails within 0.2 s, not two: it waits for the first, and is looked at every second.
    "RAY_timeout_ms_task_wait_for_death_info": "100",
    "RAY_core_worker_internal_heartbeat_ms": "100",
}


def apply_settings(*, local: bool) -> None:
    """Set them where the user did not. Clusters of our own stay on the loopback interface and need no token."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if local:
        # Left alone, a bare ray.init() writes a token into the home folder, and later clusters then demand it.
        os.environ["RAY_AUTH_MODE"] = "disabled"
    else:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")

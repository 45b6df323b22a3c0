"""A cluster of our own whose keeper dies: told at once, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from runtime.cluster.local import LocalCluster
from specs.errors import EnvironmentFailed
from tests.runtime.processes import in_folder, until


def test_a_keeper_that_was_killed_is_told_at_once_and_leaves_no_folder() -> None:
    cluster = LocalCluster([{"site": "here-0", "tier": "edge"}])
    began = time.monotonic()
    try:
        os.kill(cluster._keeper.pid, signal.SIGKILL)
        with pytest.raises(EnvironmentFailed, match="the process that starts them ended"):
            cluster.wait()
        assert time.monotonic() - began < 30  # not the 90 s that a start may take
    finally:
        cluster.close()
    assert not Path(cluster.folder).exists()
    assert until(lambda: not in_folder(cluster.folder), 60)

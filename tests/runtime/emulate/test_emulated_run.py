"""A run in an emulated network: a Ray node in each site's namespace, messages over the links, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.runtime.processes import alive, children, folders, in_folder, until

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, sys
from pathlib import Path
from runtime.emulate.process import NotAllowed
from runtime.running.run import execute
from tests.runtime.sample import make_bundle, make_items, make_prediction, make_slice

if __name__ == "__main__":
    bundle = make_bundle(Path(sys.argv[1]))
    part = make_slice(requests=100_000, multiplier=4, members={"phones": 1, "bases": 1, "cloud": 1})
    prediction = make_prediction(bundle, part)
    tell = lambda p: print(p.phase, p.counts.get("answered", 0), flush=True)
    try:
        done = execute(bundle, part, make_items(10), prediction, network="emulated", on_progress=tell)
    except NotAllowed as error:
        print("not allowed", error, flush=True)
        sys.exit(3)
    print(json.dumps(done.result.dump()), flush=True)
    sys.exit(130 if done.interrupted else 1)
"""


def networks(pids: set[int], name: str) -> set[str]:
    """The network namespaces of those processes whose program is called `name`."""
    found = set()
    for pid in pids:
        try:
            if psutil.Process(pid).name() == name:
                found.add(os.readlink(f"/proc/{pid}/ns/net"))
        except (psutil.NoSuchProcess, FileNotFoundError):
            continue
    return found


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_each_site_is_a_node_in_a_network_of_its_own_and_nothing_is_left(tmp_path: Path, end: signal.Signals) -> None:
    files = folders()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that puts a test into the background has it ignore Ctrl-C, and its children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    line = ""
    while not line.startswith("running") or int(line.split()[1]) < 30:
        line = process.stdout.readline()
        if line.startswith("not allowed"):
            process.communicate()
            pytest.skip(line.strip())
        assert line, process.communicate()[1]
    mine, started = folders() - files, children(process.pid)
    assert len(networks(started, "raylet")) == 3
    assert os.readlink("/proc/self/ns/net") not in networks(started, "raylet")
    process.send_signal(end)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    if end == signal.SIGINT:
        check(json.loads(said.splitlines()[-1]))
    assert until(lambda: not any(map(in_folder, mine)), 60), [in_folder(f) for f in mine]
    assert until(lambda: not mine & folders(), 60), mine & folders()
    assert until(lambda: not alive(started), 60), alive(started)


def check(result: dict[str, Any]) -> None:
    """Answers are right, and messages took the time of the links that they passed: no less, and no retry more."""
    assert (result["network"], result["requests"]["wrong"], result["requests"]["failed"]) == ("emulated", 0, 0)
    assert result["requests"]["answered"] >= 30
    delay = {"phones": {"bases": 5, "cloud": 8}, "bases": {"phones": 5, "cloud": 3}, "cloud": {"phones": 8, "bases": 3}}
    passed = [s for s in result["stages"] if s["kind"] == "transfer" and s["n"]]
    assert len(passed) > 1
    for transfer in passed:
        start, _, end = transfer["site"].partition(" -> ")
        assert 0.8 * delay[start][end] < transfer["service_measured"]["p50_ms"] < 200.0

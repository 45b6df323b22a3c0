"""What becomes of requests, and how soon all is well again, when parts of a deployment die, hang or become slow.

``python -m benchmarks.faults [RUNS]`` writes benchmarks/results/faults.json. Requests flow at `RATE` a second from a
client outside, whose own log says what became of each. Ours is the time from the fault until the last request had ended
that it failed or slowed; the slowest answer and the fates stand beside it. Of a kill for memory it begins with the
request that takes the memory, whose own answer counts, too. The peer of each row is its target. The
application is the one of the runtime's tests (Python functions): a compiled model has its library to load besides. The
row of the head has the time until it answers again, with all that it knew, too; the row of a move its longest time
without an answer, beside that of ten seconds without a move.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import psutil
import pytest

from benchmarks.about import about
from runtime.client import Client
from runtime.deployment.deploy import deploy
from specs.errors import EnvironmentFailed
from tests.runtime.fates import Load, Log
from tests.runtime.faulty import (
    CLOUD,
    GREEDY,
    GREEDY_LIMIT,
    Deployed,
    another,
    deployment,
    kill_head,
    kill_node,
    stolen,
)
from tests.runtime.memory_limit import memory_limit
from tests.runtime.processes import until

RESULT: Final = Path(__file__).parent / "results" / "faults.json"
RATE: Final = 20.0
HEAVY_RATE: Final = 3.0
"""Of requests that take processor time, for which a process can be slow."""
BEFORE: Final = 2.0
AFTER: Final = 10.0
RUNS: Final = 3
WHOLE: Final = 180.0
"""Seconds in which all must be as before, on the slowest machine."""
MOVING_RATE: Final = 50.0
MOVING_TARGET: Final = 0.1
HEAD_TARGET: Final = 6.0


@dataclass(frozen=True)
class Fault:
    """`target` in seconds. Inside `around` all is ready, and what it gives makes the fault; its end makes things as
    before. `rate` is of requests that take processor time where it is `heavy`.
    """

    case: str
    target: float
    around: Callable[[Deployed], AbstractContextManager[Callable[[], object]]]
    heavy: bool = False

    def load(self, deployed: Deployed) -> Load:
        return deployed.heavy_load(HEAVY_RATE) if self.heavy else deployed.load(RATE)


def main() -> int:
    """Measure, write the result, print a line a row."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as folder:
        os.environ["TIERPLAN_STATE"] = f"{folder}/state"
        with deployment(Path(folder)) as deployed:
            for fault in FAULTS:
                try:
                    rows.append(measured(fault, deployed, runs))
                except pytest.skip.Exception as why:  # this machine does not permit it
                    print(f"{fault.case}: left out: {why}", file=sys.stderr)
                    continue
                print(rows[-1], file=sys.stderr)
            for measure in (restarted, partial(moved, Path(folder))):
                rows.append(measure(deployed, runs))
                print(rows[-1], file=sys.stderr)
    RESULT.write_text(json.dumps({**about("ray", "pyzmq"), "rows": rows}, indent=1) + "\n", "utf-8")
    return 0


def row(
    case: str, metric: str, seconds: Sequence[float], target: float, logs: Sequence[Log], **beside: float
) -> dict[str, object]:
    """Of the `seconds` that each run took, and the clients' `logs`."""
    ours = statistics.median(seconds)
    return {
        "case": case,
        "metric": metric,
        "ours": round(ours, 3),
        "peer_name": "target",
        "peer": target,
        "ratio": round(ours / target, 3),
        "runs": len(seconds),
        "load_average": round(os.getloadavg()[0], 1),
        "spread": round((max(seconds) - min(seconds)) / 2, 3),
        **{name: round(value, 3) for name, value in beside.items()},
        "fates": dict(sum((Counter(log.counts()) for log in logs), Counter[str]())),
    }


def measured(fault: Fault, deployed: Deployed, runs: int) -> dict[str, object]:
    """One row, over `runs` of the same fault."""
    logs, gaps = [], []
    for _ in range(runs):
        log, took = once(fault, deployed)
        logs.append(log)
        gaps.append(max(log.recovery(), took))
    metric = "until the last request that it failed or slowed had ended, median, s"
    slowest = max(log.slowest() for log in logs)
    return row(fault.case, metric, gaps, fault.target, logs, slowest_answer_s=slowest)


def once(fault: Fault, deployed: Deployed) -> tuple[Log, float]:
    """The client's log, and for how many seconds the fault kept who made it waiting."""
    with fault.around(deployed) as make:
        load = fault.load(deployed)
        time.sleep(BEFORE)
        began = time.monotonic()
        load.breaks(make)
        took = time.monotonic() - began
        time.sleep(AFTER)
        log = load.end()
    mended(fault.case, deployed)
    return log, took


def mended(case: str, deployed: Deployed) -> None:
    def whole() -> bool:
        try:
            return deployed.whole()
        except EnvironmentFailed:  # the head is not there yet
            return False

    if not until(whole, WHOLE):
        raise SystemExit(f"{case}: the deployment is not whole again")


def restarted(deployed: Deployed, runs: int) -> dict[str, object]:
    """The row of a head that is lost: until it tells of the deployment again, and what requests notice."""
    case = "the head is killed and started again"
    seconds, logs = [], []
    for _ in range(runs):
        pids = [m.pid for m in deployed.status().members]
        load = deployed.load(RATE)
        time.sleep(BEFORE)
        began = time.monotonic()
        load.breaks(kill_head)
        mended(case, deployed)
        seconds.append(time.monotonic() - began)
        time.sleep(BEFORE)
        logs.append(load.end())
        if [m.pid for m in deployed.status().members] != pids:
            raise SystemExit(f"{case}: processes were started anew")
    touched = max(log.recovery() for log in logs)
    metric = "until planner status is answered again, median, s"
    return row(case, metric, seconds, HEAD_TARGET, logs, requests_touched_s=touched)


def moved(folder: Path, deployed: Deployed, runs: int) -> dict[str, object]:
    """The row of a deployment that moves to another plan and, in the next run, back."""
    plans = (another(folder, {"vision": CLOUD, "decide": CLOUD}), deployed.wanted)
    silences, usual, logs = [], [], []
    for run in range(2 * runs):
        load = deployed.load(MOVING_RATE)
        time.sleep(AFTER)
        load.breaks(lambda: None)
        undisturbed = load.silence(AFTER)
        load.breaks(partial(deploy, replace(plans[run % 2], move=True), lambda _: None))
        time.sleep(BEFORE)
        logs.append(load.end())
        silences.append(logs[-1].silence())
        usual.append(undisturbed)
    metric = f"longest time without an answer at {MOVING_RATE:g} requests/s, median, s"
    without = statistics.median(usual)
    return row("a deployment moves to another plan", metric, silences, MOVING_TARGET, logs, without_a_move_s=without)


# --- the faults


def process_of(deployed: Deployed, member: str) -> psutil.Process:
    return psutil.Process(deployed.member(member).pid)


@contextmanager
def killed(member: str, deployed: Deployed) -> Iterator[Callable[[], object]]:
    yield process_of(deployed, member).kill


@contextmanager
def hung(member: str, deployed: Deployed) -> Iterator[Callable[[], object]]:
    process = process_of(deployed, member)
    try:
        yield process.suspend
    finally:
        process.resume()


@contextmanager
def out_of_memory(member: str, deployed: Deployed) -> Iterator[Callable[[], object]]:
    """The kernel kills the process for its memory; the request that took it is answered elsewhere or later."""
    client = Client(deployed.member("phones-0").http, "sample", timeout=30)
    with memory_limit([process_of(deployed, member).pid], GREEDY_LIMIT):
        yield lambda: client.infer(GREEDY[member])


@contextmanager
def node_killed(member: str, deployed: Deployed) -> Iterator[Callable[[], object]]:
    yield lambda: kill_node(member)
    deploy(deployed.wanted, lambda _: None)


@contextmanager
def head_killed(deployed: Deployed) -> Iterator[Callable[[], object]]:
    yield kill_head


@contextmanager
def slowed(member: str, deployed: Deployed) -> Iterator[Callable[[], object]]:
    """Others have the processor; after that requests flow until the process is taken for well, as none tell before."""
    with ExitStack() as stack:
        pid = process_of(deployed, member).pid
        yield lambda: stack.enter_context(stolen(pid))
    load = deployed.heavy_load(HEAVY_RATE)
    well = until(lambda: deployed.member(member).slow == "", WHOLE)
    load.end()
    if not well:
        raise SystemExit(f"{member} is still taken to be slow")


FAULTS: Final = (
    Fault("a stage's process is killed, warm standby", 1.0, partial(killed, "bases-0")),
    Fault("a stage's process is killed, no standby", 6.0, partial(killed, "cloud-0")),
    Fault("a stage's process is killed for its memory, warm standby", 1.0, partial(out_of_memory, "bases-0")),
    Fault("a stage's process is killed for its memory, no standby", 6.0, partial(out_of_memory, "cloud-0")),
    Fault("a stage's process hangs, warm standby", 6.0, partial(hung, "bases-0")),
    Fault("a stage's process is slow, warm standby", 6.0, partial(slowed, "bases-0"), heavy=True),
    Fault("a stage's process is slow, no standby: its stages move", 6.0, partial(slowed, "cloud-0"), heavy=True),
    Fault("the ingress's process is killed", 6.0, partial(killed, "phones-0")),
    Fault("a node is killed, its stages move", 6.0, partial(node_killed, "cloud-0")),
    Fault("the head is killed", 1.0, head_killed),
)


if __name__ == "__main__":
    sys.exit(main())

"""What becomes of requests, and how soon all is well again, when parts of a deployment die or hang.

``python -m benchmarks.faults [RUNS]`` writes benchmarks/results/faults.json. Requests flow at `RATE` a second from a
client outside, whose own log says what became of each. Ours is the time from the fault until the last request had ended
that it failed or slowed; the slowest answer and the fates stand beside it. The peer of each row is its target. The
application is the one of the runtime's tests (Python functions): a compiled model has its library to load besides. The
row of a move has its longest time without an answer, beside that of ten seconds without a move.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from benchmarks.about import about
from runtime.deployment.deploy import deploy
from tests.runtime.fates import Log
from tests.runtime.faulty import CLOUD, Deployed, another, deployment, kill_head, kill_node
from tests.runtime.processes import until

RESULT: Final = Path(__file__).parent / "results" / "faults.json"
RATE: Final = 20.0
BEFORE: Final = 2.0
AFTER: Final = 10.0
RUNS: Final = 3
MOVING_RATE: Final = 50.0
MOVING_TARGET: Final = 0.1


@dataclass(frozen=True)
class Fault:
    """`target` in seconds. `mend` makes things as before."""

    case: str
    target: float
    make: Callable[[Deployed], object]
    mend: Callable[[Deployed], object] = lambda deployed: None


def killed(member: str) -> Callable[[Deployed], Callable[[], object]]:
    return lambda deployed: psutil.Process(deployed.member(member).pid).kill


def main() -> int:
    """Measure, write the result, print a line a row."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as folder:
        os.environ["TIERPLAN_STATE"] = f"{folder}/state"
        with deployment(Path(folder)) as deployed:
            for fault in FAULTS:
                rows.append(measured(fault, deployed, runs))
                print(rows[-1], file=sys.stderr)
            rows.append(moved(deployed, Path(folder), runs))
            print(rows[-1], file=sys.stderr)
    RESULT.write_text(json.dumps({**about("ray", "pyzmq"), "rows": rows}, indent=1) + "\n", "utf-8")
    return 0


def measured(fault: Fault, deployed: Deployed, runs: int) -> dict[str, object]:
    """One row, over `runs` of the same fault."""
    logs = [once(fault, deployed) for _ in range(runs)]
    gaps = [log.recovery() for log in logs]
    fates: dict[str, int] = {}
    for log in logs:
        for fate, count in log.counts().items():
            fates[fate] = fates.get(fate, 0) + count
    return {
        "case": fault.case,
        "metric": "until the last request that it failed or slowed had ended, median, s",
        "ours": round(statistics.median(gaps), 3),
        "peer_name": "target",
        "peer": fault.target,
        "ratio": round(statistics.median(gaps) / fault.target, 3),
        "runs": runs,
        "load_average": round(os.getloadavg()[0], 1),
        "spread": round((max(gaps) - min(gaps)) / 2, 3),
        "slowest_answer_s": round(max(log.slowest() for log in logs), 3),
        "fates": fates,
    }


def moved(deployed: Deployed, folder: Path, runs: int) -> dict[str, object]:
    """The row of a deployment that moves to another plan and, in the next run, back."""
    plans = (another(folder, {"vision": CLOUD, "decide": CLOUD}), deployed.wanted)
    silences, usual, fates = [], [], Counter[str]()
    for run in range(2 * runs):
        load = deployed.load(MOVING_RATE)
        time.sleep(AFTER)
        load.breaks(lambda: None)
        undisturbed = load.silence(AFTER)
        load.breaks(partial(deploy, replace(plans[run % 2], move=True), lambda _: None))
        time.sleep(BEFORE)
        log = load.end()
        silences.append(log.silence())
        usual.append(undisturbed)
        fates.update(log.counts())
    return {
        "case": "a deployment moves to another plan",
        "metric": f"longest time without an answer at {MOVING_RATE:g} requests/s, median, s",
        "ours": round(statistics.median(silences), 3),
        "peer_name": "target",
        "peer": MOVING_TARGET,
        "ratio": round(statistics.median(silences) / MOVING_TARGET, 3),
        "runs": len(silences),
        "load_average": round(os.getloadavg()[0], 1),
        "spread": round((max(silences) - min(silences)) / 2, 3),
        "without_a_move_s": round(statistics.median(usual), 3),
        "fates": dict(fates),
    }


def once(fault: Fault, deployed: Deployed) -> Log:
    make = fault.make(deployed)
    assert callable(make)
    load = deployed.load(RATE)
    time.sleep(BEFORE)
    load.breaks(make)
    time.sleep(AFTER)
    log = load.end()
    fault.mend(deployed)
    if not until(deployed.whole, 60):
        raise SystemExit(f"{fault.case}: the deployment is not whole again")
    return log


def hang(deployed: Deployed) -> Callable[[], object]:
    return psutil.Process(deployed.member("bases-0").pid).suspend


def wake(_: Deployed) -> None:
    for process in psutil.process_iter(["status"]):
        if process.info["status"] == psutil.STATUS_STOPPED and "DeployedHost" in " ".join(process.cmdline()):
            process.resume()


def mend(deployed: Deployed) -> None:
    deploy(deployed.wanted, lambda _: None)


FAULTS: Final = (
    Fault("a stage's process is killed, warm standby", 1.0, killed("bases-0")),
    Fault("a stage's process is killed, no standby", 6.0, killed("cloud-0")),
    Fault("a stage's process hangs, warm standby", 6.0, hang, wake),
    Fault("the ingress's process is killed", 6.0, killed("phones-0")),
    Fault("a node is killed, its stages move", 6.0, lambda _: lambda: kill_node("cloud-0"), mend),
    Fault("the head is killed", 1.0, lambda _: kill_head, mend),
)


if __name__ == "__main__":
    sys.exit(main())

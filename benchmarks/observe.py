"""What seeing costs: processor seconds of a request with metrics, percentiles, log and traces, beside the same without.

``python -m benchmarks.observe`` writes benchmarks/results/observe.json. All hosts of a bundle run in this process, with
a door for each way of watching; the client and the receiver of traces are processes of their own, so that this one's
processor time is that of requests alone. The ways take turns, and each turn is compared with the one without that it
stands beside.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.about import about
from planner.cli.run import some_items
from runtime.bundle import Bundle, open_bundle
from runtime.hosting.host import HostOptions
from runtime.hosting.in_process import InProcessHosts
from runtime.ingress.door import DoorOptions
from runtime.ingress.member import MemberDoor
from runtime.observe.requests import Listeners
from runtime.observe.tracing import TraceOptions
from runtime.reference.items import Item
from runtime.topology import Topology, topology
from specs.load import load_application
from specs.run_result import Slice
from tests.runtime.observe.receiver import receiving
from tests.runtime.sample import make_bundle, make_items

RESULT: Final = Path(__file__).parent / "results" / "observe.json"
EXAMPLE: Final = Path(__file__).parents[1] / "examples" / "blog_upload"
TARGET: Final = 0.02
ROUNDS: Final = 15
OFF, USUAL, ALL = "nothing", "metrics, log, 1 % traced", "metrics, log, all traced"
WAYS: Final = {OFF: None, USUAL: 0.01, ALL: 1.0}


@dataclass(frozen=True, slots=True)
class Case:
    """An application that answers, and how many requests make a turn."""

    name: str
    bundle: Bundle
    items: list[Item]
    turn: int


class Child:
    """A process of this file with a role, which answers a line with a line."""

    def __init__(self, role: str) -> None:
        command = [sys.executable, "-m", "benchmarks.observe", "--role", role]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, value: object) -> Any:
        """Raises EOFError where the child has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(value), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise EOFError("the child process has ended")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


def receive() -> None:
    """The role of the receiver: says where it listens, and then how many spans it has."""
    with receiving() as receiver:
        for _ in sys.stdin:
            print(json.dumps({"endpoint": receiver.endpoint, "spans": len(receiver.spans)}), flush=True)


def send() -> None:
    """The role of the client: a line has the port, the path and the requests' bodies; one connection, one by one."""
    bodies: list[bytes] = []
    for line in sys.stdin:
        order = json.loads(line)
        bodies = [body.encode() for body in order.get("bodies", ())] or bodies
        connection = http.client.HTTPConnection("127.0.0.1", order["port"])
        for number in range(order["n"]):
            connection.request("POST", order["path"], bodies[number % len(bodies)])
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{answer.status}: {said[:200]!r}")
        connection.close()
        print(json.dumps("sent"), flush=True)


def body_of(item: Item) -> str:
    """As JSON; bytes in base64."""
    inputs = []
    for name, value in item.values.items():
        tensor: dict[str, Any] = {"name": name, "datatype": "BYTES", "shape": [1]}
        if isinstance(value, bytes):
            tensor |= {"data": [base64.b64encode(value).decode()], "parameters": {"content_type": "base64"}}
        else:
            tensor["data"] = [value]
        inputs.append(tensor)
    return json.dumps({"inputs": inputs})


@contextmanager
def doors(case: Case, endpoint: str, folder: Path) -> Iterator[dict[str, MemberDoor]]:
    """A door for each way of watching, in front of the same hosts."""
    part = Slice(members={s: 1 for s in case.bundle.infra.value.sites}, multiplier=1.0, requests=1, seed=1)
    top = topology(case.bundle.plan, case.bundle.app.value, case.bundle.infra.value, part)
    with ExitStack() as stack:
        hosts = InProcessHosts(case.bundle, top, HostOptions(256, 4096, 1, "here", shape=False))
        stack.callback(hosts.close)
        hosts.open()
        opened = {}
        for number, (way, sample) in enumerate(WAYS.items()):
            opened[way] = _door(case.bundle, top, hosts, sample, endpoint, str(folder / f"{number}.jsonl"))
            stack.callback(opened[way].close)
        yield opened


def _door(
    bundle: Bundle, top: Topology, hosts: InProcessHosts, sample: float | None, endpoint: str, log: str
) -> MemberDoor:
    host = hosts.host(str(top.flows[0].members[0]))
    if sample is None:
        return MemberDoor(bundle, top, host, host, DoorOptions(), Listeners())
    return MemberDoor(bundle, top, host, host, DoorOptions(log_file=log, trace=TraceOptions(endpoint, sample)))


def measure(case: Case, folder: Path) -> Iterator[dict[str, object]]:
    """The rows of a case."""
    receiver, client = Child("receiver"), Child("client")
    try:
        with doors(case, receiver.ask("?")["endpoint"], folder) as opened:
            order = {"path": f"/v2/models/{case.bundle.app.value.name}/infer", "n": case.turn}
            ports = {way: int(door.endpoints.http.rpartition(":")[2]) for way, door in opened.items()}
            for port in ports.values():  # first requests pay for what happens once
                client.ask({**order, "port": port, "bodies": [body_of(item) for item in case.items]})
            taken: dict[str, list[float]] = {way: [] for way in WAYS}
            for turn in range(ROUNDS):
                for way in list(WAYS) if turn % 2 else reversed(WAYS):
                    taken[way].append(_turn(client, {**order, "port": ports[way]}))
                print(f"{case.name}: {turn + 1} of {ROUNDS}", file=sys.stderr)
        if not receiver.ask("?")["spans"]:
            raise SystemExit("no traces came")
        for way in (USUAL, ALL):
            yield _row(case, way, taken[way], taken[OFF])
    finally:
        client.close()
        receiver.close()


def _turn(client: Child, order: Mapping[str, object]) -> float:
    """Processor seconds of this process for a request."""
    started = time.process_time()
    client.ask(order)
    return (time.process_time() - started) / float(str(order["n"]))


def _row(case: Case, way: str, ours: list[float], off: list[float]) -> dict[str, object]:
    more = sorted(a - b for a, b in zip(ours, off, strict=True))
    base = statistics.median(off)
    share = statistics.median(more) / base
    quarter = len(more) // 4
    return {
        "case": f"{case.name}: {way}",
        "metric": "processor time above that without, share of a request's",
        "ours": round(share, 5),
        "low": round(more[quarter] / base, 5),
        "high": round(more[-1 - quarter] / base, 5),
        "peer_name": "target",
        "peer": TARGET,
        "ratio": round(share / TARGET, 3),
        "runs": len(more),
        "request_ms": round(base * 1e3, 4),
        "more_us": round(statistics.median(more) * 1e6, 1),
    }


def example(folder: Path) -> Bundle:
    """The example's bundle, made as its readme says but with short measurements."""
    app, infra = str(EXAMPLE / "app.yaml"), str(EXAMPLE / "infra.yaml")
    profiles, store, plan = str(folder / "profiles"), str(folder / "store"), str(folder / "plan.yaml")
    for arguments in (
        ("profile", app, "--infra", infra, "-o", profiles, "--store", store, "--budget", "0.05"),
        ("solve", app, "--infra", infra, "--profiles", profiles, "-o", plan),
        ("compile", plan, app, "--infra", infra, "--store", store, "-o", str(folder / "bundle")),
    ):
        subprocess.run([sys.executable, "-m", "planner.cli.entry", *arguments], check=True, stdout=subprocess.DEVNULL)
    return open_bundle(folder / "bundle")


def main() -> int:
    """Measure, write the result, print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=("client", "receiver"))
    parser.add_argument("--bundle", type=Path, help="the example's, where it is there already")
    given = parser.parse_args()
    if given.role:
        {"client": send, "receiver": receive}[given.role]()
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = open_bundle(given.bundle) if given.bundle else example(folder)
        items = some_items(load_application(EXAMPLE / "app.yaml"), 40, 1)
        cases = (
            Case("blog_upload", bundle, items, 60),
            Case("five small functions", make_bundle(folder / "small"), make_items(40), 300),
        )
        rows = [row for case in cases for row in measure(case, folder)]
    for row in rows:
        print(row, file=sys.stderr)
    RESULT.parent.mkdir(exist_ok=True)
    result = about("prometheus-client", "opentelemetry-sdk", "aiohttp") | {"rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

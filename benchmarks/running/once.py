"""One run of one plan, in a process of its own: ``python -m benchmarks.running.once ORDER`` (a JSON file).

Its record is a JSON file with the prediction, which was made before the first request, and each time that was measured.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.running.load import busy_slice
from planner import load_situation, predict
from planner.cli.run import some_items, this_host
from runtime.bundle import open_bundle
from runtime.hosting.request import Entry
from runtime.running.measured import stage_seconds
from runtime.running.run import execute
from runtime.topology import Topology, topology
from specs.application import Application
from specs.load import load_application
from specs.output_file import write_whole
from specs.plan import PathPrediction


@dataclass(frozen=True)
class Order:
    """What to run: files, the slice's members, the load of what is busiest, and where the record goes."""

    app: str
    profiles: str
    bundle: str
    record: str
    members: dict[str, int]
    load: float
    requests: int
    seed: int


@dataclass(frozen=True)
class Times:
    """Seconds in the order in which requests came, of a path, a stage or a transfer, and its prediction."""

    predicted: dict[str, Any]
    services: list[float]
    waits: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class RunRecord:
    """A run: times of paths are in `services`; `handing` is what each request spent between its stages in processes."""

    plan: str
    requests: int
    seed: int
    network: str
    busiest: dict[str, Any]
    counts: dict[str, int]
    paths: list[Times]
    stages: list[Times]
    handing: list[float]
    load_average: float


def run(order: Order) -> RunRecord:
    """Run it. Raises what `execute` raises."""
    bundle = open_bundle(order.bundle)
    app = load_application(order.app)
    situation = load_situation(order.app, bundle.infra.file, order.profiles, this_host())
    busy = busy_slice(situation, bundle.plan, order.members, order.load, order.requests, order.seed)
    prediction = predict(situation, bundle.plan, busy.part)
    items = some_items(app, order.requests, order.seed)
    done = execute(bundle, busy.part, items, prediction, network="auto", recordings=situation.recordings)
    top = topology(bundle.plan, bundle.app.value, bundle.infra.value, busy.part)
    log = sorted((e for e in done.log if e.status == "answered"), key=lambda e: e.started)
    stages = [Times(s.dump(), services, waits) for s in prediction.stages
              for waits, services in [stage_seconds(s, log, top)]]  # fmt: skip
    return RunRecord(
        plan=bundle.plan.digest,
        requests=order.requests,
        seed=order.seed,
        network=done.result.network,
        busiest={k: v for k, v in asdict(busy).items() if k != "part"} | {"multiplier": busy.part.multiplier},
        counts={k: v for k, v in done.result.requests.dump().items() if isinstance(v, int)} | {"of": len(log)},
        paths=[Times(p.dump(), list(path_seconds(p, log, app.value))) for p in prediction.paths],
        stages=stages,
        handing=[handing(entry, top) for entry in log],
        load_average=os.getloadavg()[0],
    )


def path_seconds(predicted: PathPrediction, log: list[Entry], app: Application) -> Iterator[float]:
    """Of the requests of its flow, and of its branch where it names a component."""
    branch = next((w for w in predicted.over.replace(":", " ").split() if w in app.components), None)
    for entry in log:
        ran = {t.stage.partition("[")[0] for t in entry.trace.stages}
        if entry.flow == predicted.flow and (branch is None or branch in ran) and predicted.to in entry.ends:
            yield entry.ends[predicted.to]


def handing(entry: Entry, top: Topology) -> float:
    """Seconds from when all that a stage takes was there to when it stood in its queue, of all stages of a request."""
    ready: dict[str, float] = {}
    ended: dict[str, float] = {}
    for stage in entry.trace.stages:
        at = stage.ended - stage.service - stage.wait
        ready[stage.stage] = min(at, ready.get(stage.stage, at))
        ended[stage.stage] = max(stage.ended, ended.get(stage.stage, stage.ended))
    passed = {t.edge: t.seconds for t in entry.trace.transfers}
    source = top.flow_by_name[entry.flow].source
    came: dict[str, float] = {}
    for edge in top.edges:
        before, _, after = edge.name.partition(" -> ")
        sent = entry.started if before == source else ended.get(before)
        if edge.flow == entry.flow and after in ready and sent is not None and (edge.name in passed or not edge.hops):
            there = sent + passed.get(edge.name, 0.0)
            came[after] = max(there, came.get(after, there))
    return sum(max(0.0, ready[stage] - at) for stage, at in came.items())


def read_record(file: Path) -> RunRecord:
    """As `main` wrote it."""
    value: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
    lists = {key: [Times(**t) for t in value[key]] for key in ("paths", "stages")}
    return RunRecord(**{**value, **lists})


def main() -> int:
    order = Order(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    write_whole(Path(order.record), json.dumps(asdict(run(order))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

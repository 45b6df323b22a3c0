"""Several requests at once: what an item takes of a core alone and in a batch, and what plans cost that may batch.

`python -m benchmarks.batch` writes benchmarks/results/batch.json. Times are processor seconds on one thread, batch
sizes taken in turns, the better of TVM and ONNX Runtime at each. The plans put the example's language model on rented
machines of this kind, with the times that were just measured, at rising rates.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from compiler.build import build
from compiler.host import host
from compiler.indices import index_bounds
from compiler.job import job, versions
from compiler.model import load_model
from compiler.store import Store
from planner import solve
from planner.cli.profiling.model import some_inputs
from planner.situation import Situation, situation_of
from runtime.executors import open_executor
from specs.application import Application
from specs.artefact import Executor, ModelBackend, ModelSignature
from specs.artefact_folder import read_artefact
from specs.behaviour import Behaviour, BranchPattern, PayloadSize
from specs.infrastructure import Infrastructure
from specs.profile import Distribution, HopOverhead, Record
from specs.statistics import summarise
from tests.compiler.forests import ensemble
from tests.planner.worlds import document

RESULT: Final = Path(__file__).parent / "results" / "batch.json"
MODELS: Final = Path(__file__).parents[1] / "examples" / "blog_upload" / "models"
NAMES: Final = ("vision_small", "vision_large", "language", "decide")
BACKENDS: Final[tuple[ModelBackend, ...]] = ("tvm", "onnxruntime")
SIZES: Final = (1, 4, 16)
ROUNDS: Final = 6
SECONDS: Final = 0.04
"""Of processor time for each size in a round, and at least one run."""
RATES: Final = (2, 20, 100, 500)
PRICE: Final = 0.05
"""USD an hour for a core."""
WHEN: Final = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Way:
    """A model with one backend, `batch` items at once: processor seconds of single runs."""

    backend: ModelBackend
    batch: int
    runs: list[float]

    @property
    def item(self) -> float:
        """Seconds of an item."""
        return float(np.median(self.runs)) / self.batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="folder that keeps the artefacts; default: a temporary one")
    store = parser.parse_args().store
    rows: list[dict[str, Any]] = []
    language: list[Way] = []
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        for name, file in _models(Path(folder)):
            ways = _measured(file, Store(store or Path(folder) / "store"))
            language = ways if name == "language" else language
            rows.append(_row(name, ways))
            _say(rows[-1])
    for rate in RATES:
        rows.append(_planned(rate, language))
        _say(rows[-1])
    machine = str(host())
    made = {name: text for backend in BACKENDS for name, text in versions(backend).items() if name != "compiler"}
    result = {"schema": "tierplan.benchmark/v1", "versions": made, "machine": machine, "rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(RESULT)
    return 0


def _models(folder: Path) -> Iterator[tuple[str, Path]]:
    yield from ((name, MODELS / f"{name}.onnx") for name in NAMES)
    file = folder / "forest.onnx"
    onnx.save(ensemble(np.random.default_rng(0), 300, 6, 20, classes=3), str(file))
    yield "forest of 300 trees, depth 6", file


def _measured(file: Path, store: Store) -> list[Way]:
    """Every backend and size, in turns, so that what else the machine does hits all alike."""
    opened: dict[tuple[ModelBackend, int], tuple[Executor, Mapping[str, Any]]] = {}
    for backend in BACKENDS:
        for size in SIZES:
            folder = build(job(file, backend, batch=size), store)
            made = read_artefact(folder)
            signature = ModelSignature(inputs=made.inputs, outputs=made.outputs)
            given = some_inputs(signature, str(file), index_bounds(load_model(file)))
            sample: Mapping[str, Any] = {
                n: np.concatenate([given[i % len(given)][n] for i in range(size)]) for n in given[0]
            }
            opened[backend, size] = open_executor(folder, 1), sample
    runs: dict[tuple[ModelBackend, int], list[float]] = {key: [] for key in opened}
    for _ in range(ROUNDS):
        for key, (executor, sample) in opened.items():
            executor.run(sample)
            runs[key] += _timed(executor, sample)
    return [Way(backend, size, seconds) for (backend, size), seconds in runs.items()]


def _timed(executor: Executor, sample: Mapping[str, Any]) -> list[float]:
    found: list[float] = []
    ends = time.process_time() + SECONDS
    while not found or time.process_time() < ends:
        started = time.process_time()
        executor.run(sample)
        found.append(time.process_time() - started)
    return found


def _row(name: str, ways: list[Way]) -> dict[str, Any]:
    alone, together = (min((w for w in ways if w.batch == n), key=lambda w: w.item) for n in (1, SIZES[-1]))
    return {
        "case": f"{name}, {SIZES[-1]} at once ({together.backend})",
        "metric": "items per core-second",
        "ours": round(1 / together.item, 1),
        "peer_name": f"one at a time ({alone.backend})",
        "peer": round(1 / alone.item, 1),
        "ratio": round(together.item / alone.item, 3),
        "runs": len(alone.runs) + len(together.runs),
    }


def _planned(rate: int, ways: list[Way]) -> dict[str, Any]:
    """Money a month, with batches and without."""
    costs: list[float] = []
    chosen = ""
    for batch in (SIZES[-1], None):
        plan = solve(_situation(rate, ways, batch))
        assert plan.cost is not None, plan.status
        costs.append(plan.cost.per_month)
        (a,) = plan.assignments
        chosen = chosen or f"{a.replicas} x {a.backend} by {a.batch}"
    return {
        "case": f"language at {rate} requests/s, p99 within 1 s: {chosen}",
        "metric": "USD/month",
        "ours": round(costs[0], 2),
        "peer_name": "a plan without batches",
        "peer": round(costs[1], 2),
        "ratio": round(costs[0] / costs[1], 3),
        "runs": 2,
    }


def _situation(rate: int, ways: list[Way], batch: int | None) -> Situation:
    """One model on machines of one core each, over a quick link."""
    language = {"model": "language.onnx", "inputs": {"ids": "asks.ids"}, "outputs": {"vector": "f32[384]"}}
    app = {
        "schema": "tierplan.app/v1",
        "name": "embedding",
        "sources": {"asks": {"at": {"tier": "edge"}, "rate": f"{rate}/s", "values": {"ids": {"type": "i64[16]"}}}},
        "components": {"language": language | ({"batch": batch} if batch else {})},
        "sinks": {"answer": {"at": "origin", "inputs": {"vector": "language.vector"}}},
        "constraints": {"quick": {"from": "asks", "to": "answer", "p99": "1 s"}},
        "objective": ["cost", {"latency": "quick"}],
    }
    infra = {
        "schema": "tierplan.infra/v1",
        "currency": "USD",
        "hardware": {"core": {"cores": 1, "memory": "4 GB", "sharing": "cores", "price": f"{PRICE} USD/h"}},
        "sites": {
            "office": {"tier": "edge", "pools": {}},
            "cloud": {"tier": "cloud", "pools": {"vm": {"hardware": "core", "devices": "0..200"}}},
        },
        "links": {"wire": {"between": ["office", "cloud"], "delay": "2 ms", "rate": "10 Gbit/s"}},
    }
    digest = "language"
    records = [
        Record(
            source=digest,
            backend=way.backend,
            threads=1,
            batch=way.batch,
            hardware="core",
            provenance="measured",
            method="processor seconds of single runs, back to back",
            host=str(host()),
            latency=summarise(way.runs),
            memory=2e8,
            artefact=f"{way.backend}{way.batch}",
            measured_at=WHEN,
        )
        for way in ways
    ]
    sizes = {"asks.ids": 128.0, "language.vector": 1536.0}
    behaviour = Behaviour(
        variants={"language": "default"},
        patterns=(BranchPattern(source="asks", runs=("language",), probability=1.0, count=1),),
        payloads={n: PayloadSize(mean=b, second=b**2, third=b**3, quantiles={"0.5": b}) for n, b in sizes.items()},
        items=1,
        inputs={"language/default": digest},
        measured_at=WHEN,
    )
    still = Distribution(mean=1e-3, second=1e-6, third=1e-9, quantiles={"0.5": 1e-3}, n=1, spread=0.0)
    hops = [HopOverhead(channel="c", bytes=1, latency=still, host=str(host()), measured_at=WHEN)]
    return situation_of(
        document(app, Application, "app.yaml"),
        document(infra, Infrastructure, "infra.yaml"),
        records,
        [behaviour],
        hops,
        {"language/default": digest},
    )


def _say(row: Mapping[str, Any]) -> None:
    print(f"{row['case']:72} {row['ours']:10} {row['peer']:10} {row['ratio']:.2f} {row['metric']}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())

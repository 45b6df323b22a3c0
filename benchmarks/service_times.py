"""Service times of many models on this machine in several settings: what the estimates of times are calibrated on.

`python -m benchmarks.service_times` writes benchmarks/results/service-times-CPU-LEVEL.jsonl, a line for each model,
backend, instruction set and number of threads; lines that are there are not measured again. As in a profile, runs are
apart and find cold caches. The machine may be busy with other things: `undisturbed` says what of a line counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing as ended
from dataclasses import dataclass, field
from itertools import product, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.compile import inputs, result_file
from benchmarks.peak import clock, peak
from benchmarks.training import KINDS, drawn
from benchmarks.zoo import zoo
from compiler.build import build_all
from compiler.child import Child, Limits, serve
from compiler.given import Given
from compiler.host import host
from compiler.job import Job, job
from compiler.measure import Budget
from compiler.model import source_digest
from compiler.samples import load_samples, save_samples
from compiler.store import Store
from specs.artefact import ModelBackend
from specs.emulation import Stopwatch
from specs.errors import TierplanError

T = TypeVar("T")

MOST_WAITING = 0.05
"""Share of a run in which its threads may have waited for a core."""
BUDGET = Budget(seconds=0.35, seconds_most=3.0)
_TOGETHER = 10
"""Models that one process compiles: starting it takes long."""
SLOW = ("inception_v2", "zfnet", "alexnet", "inception_v1", "vgg19", "densenet121")
"""Models of the zoo that take longest to compile, which come last."""
_LOWER = "x86-64-v2"
"""The instruction set below that of machines with AVX2: 128-bit vectors, no fused multiply-add."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model runs: `level` is the instruction set that it was compiled for."""

    backend: ModelBackend
    level: str
    threads: int

    def __str__(self) -> str:
        return f"{self.backend}, {self.level}, {self.threads} threads"


def settings() -> Iterator[Setting]:
    """Both backends on one thread and on all cores, and TVM's code for a lower instruction set."""
    counts = sorted({1, host().cores})
    for threads in counts:
        yield Setting("onnxruntime", host().level, threads)
    for threads in counts:
        yield Setting("tvm", host().level, threads)
    if host().level in ("x86-64-v3", "x86-64-v4"):
        yield Setting("tvm", "x86-64-v3" if host().level == "x86-64-v4" else _LOWER, 1)


@dataclass
class Children:
    """A process for each way to run, which serves all models: starting one takes longer than measuring."""

    known: dict[tuple[str, int], Child] = field(default_factory=dict)

    def measure(self, file: Path, folder: Path, setting: Setting) -> dict[str, Any]:
        """What one way to run took. Raises what running raised."""
        way = (setting.backend, setting.threads)
        if way not in self.known or not self.known[way].alive:
            self.known[way] = Child("benchmarks.service_times", Limits(seconds=180))
        with tempfile.TemporaryDirectory(prefix="tierplan-") as work:
            sample = Path(work) / "sample.npz"
            save_samples(sample, [inputs(file)])
            request = {"folder": str(folder), "samples": str(sample), **_of(setting)}
            answer = self.known[way].ask(request, f"running {file.stem}")
        return answer

    def close(self) -> None:
        for child in self.known.values():
            child.close()


def undisturbed(row: Mapping[str, Any]) -> float | None:
    """Seconds of one run on a machine that does nothing else; None where the row does not tell.

    The lower decile of *processor* seconds, which others lengthen least. TVM gives each thread an equal share of every
    loop, so that those of the calling thread count. ONNX Runtime's caller takes over what others have not begun: with
    more threads, elapsed seconds of the runs in which none waited for a core count, where there are such.
    """
    if row["threads"] == 1 or row["backend"] == "tvm":
        return float(row["busy"]["0.1"])
    return float(row["undelayed"]) if row["waiting"] < MOST_WAITING else None


def _of(setting: Setting) -> dict[str, Any]:
    return {"backend": setting.backend, "level": setting.level, "threads": setting.threads}


def _worth(name: str, setting: Setting) -> bool:
    """Compiling takes long: TVM's code for two threads, and for a lower level, is made of every third drawn model."""
    if setting.backend != "tvm" or setting == Setting("tvm", host().level, 1):
        return True
    kind, _, number = name.partition("_")
    return kind in KINDS and int(number) % 3 == (1 if setting.threads > 1 else 0)


def _job(given: Given, setting: Setting) -> Job:
    target = {"kind": "llvm", "mcpu": setting.level} if setting.backend == "tvm" else None
    return job(given, setting.backend, setting.threads, target=target)


def models(folder: Path) -> Iterator[tuple[str, Callable[[], Path]]]:
    """Those of the zoo and those drawn, mixed, so that a part of them is a fair part."""
    yield from mixed(
        [sorted(zoo(folder), key=lambda case: SLOW.index(case[0]) if case[0] in SLOW else -1), *drawn(folder)]
    )


def mixed(groups: Sequence[Sequence[T]]) -> Iterator[T]:
    """One of each group in turn."""
    for row in zip_longest(*groups):
        yield from (value for value in row if value is not None)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """The child's work."""
    from compiler.measure_worker import load_library, settle, status
    from runtime.executors import open_executor

    load_library(request["backend"])  # memory is counted without it
    (sample,) = load_samples(Path(request["samples"]))
    others = np.ones(BUDGET.evict, np.uint8)
    before = settle()
    executor = open_executor(Path(request["folder"]), int(request["threads"]))
    for _ in range(BUDGET.warmup):
        executor.run(sample)
    runs: list[tuple[float, float, float]] = []
    began = time.perf_counter()
    seconds = BUDGET.seconds * (1 if request["threads"] == 1 else 3)
    while (spent := time.perf_counter() - began) < seconds or len(runs) < BUDGET.fewest:
        if spent > BUDGET.seconds_most and len(runs) >= BUDGET.fewest:
            break
        others += 1
        time.sleep(BUDGET.pause)
        waited, watch = _waited(), Stopwatch.start()
        executor.run(sample)
        runs.append((*watch.read(), _waited() - waited))
    memory = status("VmHWM") - before
    elapsed, busy, delay = np.array(runs).T
    least = np.argsort(delay / elapsed)[: max(3, len(runs) // 10)]
    found = {
        name: {f"{q:g}": float(f"{np.quantile(values, q):.4g}") for q in (0.1, 0.5, 0.9, 0.99)}
        for name, values in (("elapsed", elapsed), ("busy", busy))
    }
    undelayed = float(np.median((elapsed - delay)[least]))
    waiting = float(np.median(delay[least] / elapsed[least]))
    return {**found, "undelayed": undelayed, "waiting": waiting, "runs": len(runs), "memory": memory}


def _waited() -> float:
    """Seconds that this process's threads were ready and had no core: all of them together."""
    files = Path("/proc/self/task").glob("*/schedstat")
    return sum(int(file.read_text("ascii").split()[1]) for file in files) / 1e9


def times_file() -> Path:
    return result_file().with_name(result_file().name.replace("compile", "service-times")).with_suffix(".jsonl")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder that keeps the models")
    parser.add_argument("--store", type=Path, required=True, help="folder that keeps what was compiled")
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "tvm"])
    parser.add_argument("--only", nargs="+", help="names of models")
    parser.add_argument("-o", "--output", type=Path, default=times_file())
    arguments = parser.parse_args()
    arguments.models.mkdir(parents=True, exist_ok=True)
    known = (
        [json.loads(line) for line in arguments.output.read_text("utf-8").splitlines()]
        if arguments.output.exists()
        else []
    )
    done = {(row["model"], row["backend"], row["level"], row["threads"]) for row in known if "model" in row}
    failed = 0
    children = Children()
    ways = list(settings())
    with arguments.output.open("a", encoding="utf-8") as out, ended(children):

        def write(row: dict[str, Any]) -> None:
            print(json.dumps(row), file=out, flush=True)

        for setting in ways:
            machine = {"machine": host().cpu, "level": setting.level, "threads": setting.threads}
            if not any(row.items() >= machine.items() for row in known):
                march = "native" if setting.level == host().level else setting.level
                flops, read = peak(setting.threads, march)
                known.append({**machine, "flops": float(f"{flops:.4g}"), "bytes": float(f"{read:.4g}")})
                known[-1]["ghz"] = float(f"{clock() / 1e9:.3g}")
                write(known[-1])
        everything = list(models(arguments.models))
        for backend, start in product(arguments.backends, range(0, len(everything), _TOGETHER)):
            wanted: list[tuple[str, Given, Setting]] = []
            for name, make in everything[start : start + _TOGETHER]:
                todo = [way for way in ways if way.backend == backend and _worth(name, way)]
                todo = [way for way in todo if (name, *_of(way).values()) not in done]
                if todo and (not arguments.only or name in arguments.only):
                    file = make()
                    given = Given(str(file), file, source_digest(file))
                    wanted += [(name, given, way) for way in todo]
            built = build_all([_job(g, way) for _, g, way in wanted], Store(arguments.store), Limits(seconds=600))
            for (name, given, way), made in zip(wanted, built, strict=True):
                try:
                    if made.folder is None:
                        assert made.error is not None
                        raise made.error
                    row = {"model": name, **_of(way), **children.measure(given.file, made.folder, way)}
                except TierplanError as problem:
                    print(f"{name}, {way}: {problem}", file=sys.stderr)
                    failed += 1
                    continue
                write(row)
                print(f"{name:16} {way!s:36} {1e3 * row['busy']['0.1']:9.3f} ms", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__" and len(sys.argv) == 3 and all(map(str.isdigit, sys.argv[1:])):
    serve(_run)  # a child of this benchmark: its arguments are the memory limit and the parent
elif __name__ == "__main__":
    sys.exit(main())

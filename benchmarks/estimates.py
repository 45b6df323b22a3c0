"""How far off estimates are: each model left out in turn, and each setting; and the calibration that ships.

`python -m benchmarks.estimates` reads what `benchmarks.service_times` measured on machines like this one, and writes
benchmarks/results/estimates-CPU-LEVEL.json, and compiler/estimate/calibration.json. Every row stays, those that are
far off too. The target: a median error of at most 15 %, and at least 90 % of truths inside 90 % intervals.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.calibrate import Array, Samples, conformal, fit, inside, left_out, median_error, memory_factors
from benchmarks.compile import RESULTS, result_file
from benchmarks.service_times import models, times_file, undisturbed
from compiler.estimate.calibration import FILE, BackendCalibration, Calibration
from compiler.estimate.estimate import ALLOWANCE, family_of
from compiler.estimate.operators import Work, work_of
from compiler.estimate.terms import TERMS, Machine, terms
from compiler.host import host
from compiler.job import versions
from compiler.model import load_model, prepare
from specs.artefact import ModelBackend
from specs.catalogue import catalogue
from specs.infrastructure import Speed

BACKENDS: Final[tuple[ModelBackend, ...]] = ("tvm", "onnxruntime")
QUOTAS: Final = (0.5, 0.25)
"""Shares of this processor that stand for slower ones, as `emulate: {cpu: ..}` has them."""


@dataclass(frozen=True)
class Times:
    """What was measured: machines by (level, threads), and rows; `ghz` is the clock."""

    machines: Mapping[tuple[str, int], Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    ghz: float

    @staticmethod
    def read(file: Path) -> Times:
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        machines = {(line["level"], line["threads"]): line for line in lines if "machine" in line}
        rows = [line for line in lines if "model" in line]
        return Times(machines, rows, next(m["ghz"] for m in machines.values()))

    def machine(self, row: Mapping[str, Any]) -> Machine:
        of = self.machines[row["level"], row["threads"]]
        return Machine(1e9 * self.ghz, of["flops"], of["bytes"], row["threads"])


def setting_of(row: Mapping[str, Any]) -> str:
    return f"{row['level']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}"


def samples(times: Times, work: Mapping[str, Work], backend: str) -> Samples:
    """Rows of one backend that a busy machine did not disturb."""
    rows = [r for r in times.rows if r["backend"] == backend and undisturbed(r) is not None]
    return Samples(
        np.array([terms(work[r["model"]].steps, times.machine(r)) for r in rows]),
        np.array([undisturbed(r) for r in rows]),
        np.array([r["model"] for r in rows]),
        np.array([setting_of(r) for r in rows]),
    )


def slowed(given: Samples, quota: float) -> Samples:
    """The rows of one thread on this machine as a class that is emulated at `quota` of its speed has them.

    The hardware's figures are those of a processor that does `quota` of the cycles, and of the memory's bandwidth.
    """
    kept = given.settings == f"{host().level}, 1 thread"
    one = given.where(kept)
    return Samples(one.terms / quota, one.seconds / quota, one.models, np.full(len(one.models), f"quota {quota:g}"))


def study(given: Samples, backend: str) -> Iterator[dict[str, Any]]:
    """Rows: each model left out, each setting left out."""
    by_model = left_out(given, given.models)
    yield from _rows(given, by_model, inside(by_model, given.models), backend, "model left out")
    for name in np.unique(given.settings):
        out = given.settings == name
        if out.all():
            continue
        rest = given.where(~out)
        low, high = np.log(conformal(left_out(rest, rest.models)))
        off = np.log(given.seconds[out] / (given.terms[out] @ fit(rest)))
        yield from _rows(given.where(out), off, (off >= low) & (off <= high), backend, "setting left out")
    for quota in QUOTAS:
        emulated = slowed(given, quota)
        alone = given.settings == f"{host().level}, 1 thread"
        off = by_model[alone]  # neither its model nor any quota was seen: emulation scales both sides alike
        yield from _rows(emulated, off, inside(by_model, given.models)[alone], backend, "setting left out")


def _rows(given: Samples, off: Array, within: Array, backend: str, how: str) -> Iterator[dict[str, Any]]:
    for seconds, model, setting, error, held in zip(
        given.seconds, given.models, given.settings, off, within, strict=True
    ):
        estimated = float(seconds * np.exp(-error))
        yield {
            "case": f"{model}, {backend}, {setting}",
            "left_out": how.split()[0],
            "metric": "ms",
            "ours": float(f"{1e3 * estimated:.4g}"),
            "peer_name": "measured",
            "peer": float(f"{1e3 * seconds:.4g}"),
            "ratio": float(f"{np.exp(-error):.3f}"),
            "inside": bool(held),
        }


def elsewhere(work: Mapping[str, Work], backends: Mapping[str, BackendCalibration]) -> Iterator[dict[str, Any]]:
    """Rows of other machines that `benchmarks.compile` measured on one thread, as a data sheet would estimate them.

    The figures are those of the catalogue's generic class of that instruction set: nobody measured that machine's own.
    Those runs followed each other at once, in warm caches.
    """
    for file in sorted(RESULTS.glob("compile-*.json")):
        other = json.loads(file.read_text("utf-8"))
        level = other["machine"]["level"]
        entry = catalogue().entries.get(f"{level}x2")
        if level == host().level or entry is None:
            continue
        machine, wider = Machine.of(entry.speed, 1), ALLOWANCE[family_of(entry.target)]
        for row in other["rows"]:
            model, threads = row["case"].split(", ")
            if threads != "1 thread" or model not in work:
                continue
            measured = {"tvm": row["ours"], "onnxruntime": row.get("peers", {}).get("onnxruntime", row["peer"])}
            for backend, ms in measured.items():
                of = backends[backend]
                seconds = np.array([ms / 1e3])
                estimated = np.array([of.factors[n] for n in TERMS]) @ terms(work[model].steps, machine)
                off = np.log(seconds / estimated)
                low, high = np.log(of.interval[0] / wider), np.log(of.interval[1] * wider)
                given = Samples(np.zeros((1, 1)), seconds, np.array([model]), np.array([f"{level}, 1 thread"]))
                yield from _rows(given, off, (off >= low) & (off <= high), backend, "machine left out")


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Median error and share inside the interval, by backend, what was left out, and setting."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        _, backend, setting = row["case"].split(", ", 2)
        groups.setdefault((backend, row["left_out"], "all"), []).append(row)
        groups.setdefault((backend, row["left_out"], setting), []).append(row)
    return [
        {
            "backend": backend,
            "left_out": left,
            "setting": setting,
            "rows": len(found),
            "median_error": round(float(np.median([abs(r["ratio"] - 1) for r in found])), 3),
            "inside": round(float(np.mean([r["inside"] for r in found])), 3),
        }
        for (backend, left, setting), found in groups.items()
    ]


def calibrated(times: Times, work: Mapping[str, Work], given: Samples, backend: str) -> BackendCalibration:
    off = left_out(given, given.models)
    rows = [r for r in times.rows if r["backend"] == backend and r["threads"] == 1 and r["memory"] is not None]
    stored = [work[r["model"]].stored for r in rows]
    largest = [max((o.activations for o in work[r["model"]].steps), default=0.0) for r in rows]
    low, high = conformal(off)
    memory = memory_factors(stored, largest, [r["memory"] for r in rows])
    return BackendCalibration(
        factors={name: float(f"{x:.4g}") for name, x in zip(TERMS, fit(given), strict=True)},
        interval=(float(f"{low:.3g}"), float(f"{high:.3g}")),
        memory=(float(f"{memory[0]:.4g}"), float(f"{memory[1]:.4g}"), float(f"{memory[2]:.4g}")),
        rows=len(off),
        median_error=float(f"{median_error(off):.3g}"),
    )


def tail(times: Times) -> dict[str, float]:
    """Typical quantiles of processor seconds on one thread, as multiples of the median."""
    rows = [r for r in times.rows if r["threads"] == 1]
    found = {
        q: float(np.median([r["busy"][q] / r["busy"]["0.5"] for r in rows])) for q in ("0.1", "0.5", "0.9", "0.99")
    }
    return {q: float(f"{x:.3g}") for q, x in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, help="folder that keeps the models; default: a temporary one")
    parser.add_argument("--times", type=Path, default=times_file())
    parser.add_argument("-o", "--output", type=Path, default=_output())
    parser.add_argument("--calibration", type=Path, default=FILE)
    arguments = parser.parse_args()
    if not arguments.times.is_file():
        how = "python -m benchmarks.service_times --models DIR --store DIR (an hour)"
        print(
            f"error: no machine like this one was measured ({arguments.times.name}); measure it: {how}", file=sys.stderr
        )
        return 3
    times = Times.read(arguments.times)
    with tempfile.TemporaryDirectory(prefix="tierplan-") as folder:
        kept = arguments.models or Path(folder)
        wanted = {row["model"] for row in times.rows}
        work = {name: _work(make()) for name, make in models(kept) if name in wanted}
    given = {backend: samples(times, work, backend) for backend in BACKENDS}
    rows = [row for backend in BACKENDS for row in study(given[backend], backend)]
    found = summary(rows)
    alone = times.machines[host().level, 1]
    speed = Speed(ghz=times.ghz, flops=float(f"{alone['flops'] / times.ghz / 1e9:.3g}"), gb_per_s=alone["bytes"] / 1e9)
    used = versions("tvm") | versions("onnxruntime") | {"compiler": versions("tvm")["compiler"]}
    known = Calibration(
        machine=str(host()),
        speed=speed,
        models=len(work),
        tail=tail(times),
        versions=used,
        backends={backend: calibrated(times, work, given[backend], backend) for backend in BACKENDS},
    )
    apart = list(elsewhere(work, known.backends))
    rows, found = rows + apart, found + summary(apart)
    arguments.calibration.write_text(json.dumps(known.dump(), indent=2) + "\n", "utf-8")
    machine = {"cpu": host().cpu, "level": host().level, "cores": host().cores}
    left = sum(undisturbed(row) is None for row in times.rows)
    result = {"schema": "tierplan.benchmark/v1", "versions": used, "machine": machine, "models": len(work),
              "left_aside_as_disturbed": left, "summary": found, "rows": rows}  # fmt: skip
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    for line in found:
        what = f"{line['backend']:12} {line['left_out']:8} {line['setting']:24} {line['rows']:4} rows"
        print(f"{what}  median error {line['median_error']:6.1%}  inside {line['inside']:6.1%}")
    print(f"{left} rows of a busy machine left aside; {arguments.output}")
    return 0


def _output() -> Path:
    return result_file().with_name(result_file().name.replace("compile", "estimates"))


def _work(file: Path) -> Work:
    return work_of(prepare(load_model(file), {}, str(file)))


if __name__ == "__main__":
    sys.exit(main())

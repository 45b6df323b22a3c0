"""What is predicted of a run beside what it measures: three applications, three plans each, on the emulated network.

``python -m benchmarks.run`` writes benchmarks/results/run.json. Each plan is made by the planner from the example's
files with the edits of `benchmarks.running.cases`, from profiles that are measured here first, and runs five times with
other arrivals, the busiest queue at `--load`. Ours is the prediction, the peer what was measured; `within` says whether
the error is below its target (5 % of the p50, 10 % of p95 and p99), or only below the spread of the repeats.

What is done is kept in `--work`: a second call goes on where the first ended. Remove that folder to measure anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.about import about
from benchmarks.running.cases import CASES, Case, merged
from benchmarks.running.once import Order, RunRecord, read_record
from benchmarks.running.overload import overload_rows
from benchmarks.running.pipes import pipe_rows
from benchmarks.running.pooled import Row, rows
from specs.yamlfile import read_yaml, yaml_text

ROOT: Final = Path(__file__).parents[1]
RESULT: Final = Path(__file__).parent / "results" / "run.json"
HOPS: Final = Path(__file__).parent / "results" / "hops.json"
LOAD: Final = 0.45
ALONE: Final = CASES[0]
"""The plan, all on one camera, whose door and hops are measured."""
BUDGET: Final = "1.5"
"""Seconds for each measurement: the machine is faster at times, and what is predicted is its usual speed."""
RUN_LIMIT: Final = 3600.0
"""Seconds of one run."""


@dataclass(frozen=True)
class Bench:
    """How much to run, and the folder in which all is kept."""

    work: Path
    requests: int
    runs: int
    load: float


def main() -> int:
    """Run what has not been run, write the result, print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench-run", help="where all is kept")
    parser.add_argument("--requests", type=int, default=1000, help="of each run")
    parser.add_argument("--runs", type=int, default=5, help="of each plan")
    parser.add_argument("--load", type=float, default=LOAD, help="of the busiest queue")
    parser.add_argument("--only", default="", help="cases whose names hold this")
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    bench = Bench(given.work.resolve(), given.requests, given.runs, given.load)
    found: list[Row] = []
    for case in (c for c in CASES if given.only in c.name):
        found += rows(case.name, measured(bench, case))
        write(found, given.result)
    if not given.only:
        bundle, app = planned(bench, ALONE)
        found += [*overload_rows(bundle, app), *pipe_rows(bundle, app), *hop_rows()]
    write(found, given.result)
    for row in found:
        print(f"{row['case']:70} {row['metric']:32} {row['ours']:>10} {row['peer']:>10} {row.get('within', '')}")
    print(given.result)
    return 0


def measured(bench: Bench, case: Case) -> list[RunRecord]:
    """The records of a case's runs, those that are not there made now."""
    folder = bench.work / case.application
    bundle, app = planned(bench, case)
    found: list[RunRecord] = []
    for seed in range(1, bench.runs + 1):
        name = f"{case.kind}-{bench.requests}-{bench.load:g}-{seed}"
        record = folder / f"run-{name}.json"
        if not record.is_file():
            order = Order(str(app), str(folder / "profiles"), str(bundle), str(record), dict(case.members), bench.load,
                          bench.requests, seed)  # fmt: skip
            file = folder / f"order-{name}.json"
            file.write_text(json.dumps(asdict(order)), "utf-8")
            said(f"{case.name}: run {seed} of {bench.runs}")
            python("benchmarks.running.once", str(file))
        found.append(read_record(record))
    return found


def planned(bench: Bench, case: Case) -> tuple[Path, Path]:
    """The bundle of a case and its app.yaml, made by the command as a user would."""
    folder = bench.work / case.application
    example = prepared(case.application, folder / "example")
    app, infra = (edited(example, f"{kind}.yaml", case) for kind in ("app", "infra"))
    plan, bundle = folder / f"plan-{case.kind}.yaml", folder / f"bundle-{case.kind}"
    profiles, store = folder / "profiles", bench.work / "store"
    if not (bundle / "manifest.json").is_file():
        said(f"{case.name}: profile, solve, compile")
        files = (str(app), "--infra", str(infra))
        planner("profile", *files, "-o", str(profiles), "--store", str(store), "--budget", BUDGET)
        planner("solve", *files, "--profiles", str(profiles), "-o", str(plan))
        planner("verify", str(plan), *files, "--profiles", str(profiles))
        shutil.rmtree(bundle, ignore_errors=True)
        planner("compile", str(plan), *files, "--store", str(store), "-o", str(bundle))
    return bundle, app


def prepared(application: str, folder: Path) -> Path:
    """A copy of the example with what it generates; files that are there already are shared with it, not copied."""
    source = ROOT / "examples" / application
    if not folder.is_dir():
        partial = folder.with_name("example.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, copy_function=linked)
        python_file(partial / "prepare.py")
        partial.rename(folder)
    return folder


def linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # on another disk
        shutil.copy2(source, target)
    return target


def edited(example: Path, name: str, case: Case) -> Path:
    """The example's file with the case's edits, beside it."""
    document = read_yaml(example / name).value
    edits = case.app if name == "app.yaml" else case.infra
    file = example / f"{Path(name).stem}-{case.kind}.yaml"
    text = yaml_text(merged(document, edits))
    if not file.is_file() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")
    return file


def planner(*arguments: str) -> None:
    python("planner.cli.entry", *arguments)


def python(module: str, *arguments: str) -> None:
    """Run a module, what it prints on stderr. Ends the benchmark where it fails."""
    _run([sys.executable, "-m", module, *arguments], ROOT)


def python_file(file: Path) -> None:
    _run([sys.executable, str(file)], file.parent)


def _run(command: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, timeout=RUN_LIMIT, check=False)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}: {' '.join(command)}")


def hop_rows() -> list[Row]:
    """What `make bench-hops` measured: hops between two hosts, on one machine and over a long link."""
    found: list[Row] = json.loads(HOPS.read_text("utf-8"))["rows"]
    return found


def write(found: list[Row], file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({**about("ray", "pyzmq"), "rows": found}, indent=1, ensure_ascii=False) + "\n", "utf-8")


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

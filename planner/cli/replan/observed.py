"""The runs that are given as observed: files of results, or folders that hold some."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from planner.cli.files import MAX_JSON, read_run
from specs.digest import digest_value
from specs.errors import InputError, Issue, Place
from specs.input_file import read_input
from specs.plan import Plan
from specs.run_result import RunResult

SILENT = ("tierplan.prediction/v1",)
"""What stands beside runs and never says more than they do."""
WHY = {
    "tierplan.status/v1": "the status of a deployment: percentiles alone, without what a profile keeps",
    "tierplan.plan/v1": "a plan",
}


def read_observed(subjects: Sequence[Path], plan: Plan) -> tuple[list[RunResult], dict[str, str]]:
    """The runs of `plan` in `subjects`, and of files in folders that say nothing of it, why.

    Raises InputError where a file is no result of a run, or is of another plan, and where a folder holds none of this.
    """
    runs: list[RunResult] = []
    left_out: dict[str, str] = {}
    for subject in subjects:
        if subject.is_dir():
            found = list(_in_folder(subject, plan, left_out))
            if not found:
                told = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3]) or "no *.json in it"
                raise InputError(Issue(f"no run of the plan in this folder: {told}", Place(str(subject))))
            runs += found
        else:
            run = read_run(subject)
            if (other := _of_another(run, plan)) is not None:
                raise InputError(Issue(other, Place(str(subject)), "give the plan that it ran"))
            runs.append(run)
    known = {digest_value(run.dump()): run for run in runs}  # one that is given twice was still one run
    return list(known.values()), left_out


def _in_folder(folder: Path, plan: Plan, left_out: dict[str, str]) -> Iterator[RunResult]:
    for file in sorted(folder.glob("*.json")):
        try:
            value: Any = json.loads(read_input(file, MAX_JSON))
        except (ValueError, RecursionError):
            left_out[str(file)] = "not JSON"
            continue
        schema = value.get("schema") if isinstance(value, dict) else None
        if schema in SILENT:
            continue
        if schema != "tierplan.run/v1":
            left_out[str(file)] = WHY.get(str(schema), "not the result of a run")
            continue
        run = read_run(file)
        if (other := _of_another(run, plan)) is not None:
            left_out[str(file)] = other
        else:
            yield run


def _of_another(run: RunResult, plan: Plan) -> str | None:
    return None if run.plan == plan.digest else f"a run of plan {run.plan[:16]}, not of {plan.digest[:16]}"

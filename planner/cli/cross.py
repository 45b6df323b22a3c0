"""`planner compile MODEL --target ...`: one model for many devices, each artefact checked to be what it says."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.output import Format, Progress, emit, number, table
from specs.errors import AnswerIsNo, EnvironmentFailed, InputError, Issue, Place, TierplanError

if TYPE_CHECKING:
    from rich.console import Console

    from compiler.job import Job
    from compiler.targets import Target
    from planner.cli.results import CrossResult, CrossRow

ALL = "all"


def compile_model(
    model: str,
    names: Sequence[str],
    threads: int,
    store: Path,
    output: Path | None,
    fmt: Format,
    seconds: float | None = None,
) -> int:
    """Compile `model` for each target, and copy what was made to OUTPUT/TARGET where an output is given.

    With `seconds`, search that long for better schedules first; every target must be this machine's.

    A target that fails does not stop the others. The exit code is that of the worst: 3 where a tool is missing or
    failed, 2 where the model cannot be compiled for a target, 0 where all were made.
    """
    from compiler.job import job
    from compiler.store import Store
    from compiler.targets import TARGETS, find_target
    from compiler.tuning.tune import refuse_tuning
    from planner.cli.models import hand_in_alone
    from planner.cli.results import CrossResult
    from planner.cli.tuning import this_machine, tune_one

    wanted = list(TARGETS) if ALL in names else list(dict.fromkeys(names))
    if seconds is not None and not wanted:
        wanted = [this_machine().name]
    if not wanted:
        hint = f"such as --target cortex-a72; known: {', '.join(TARGETS)}, {ALL}"
        raise InputError(Issue("--target is missing", Place(model), hint))
    targets = [find_target(name) for name in wanted]
    rows: list[CrossRow] = []
    worst = 0
    with Progress() as progress:
        given = hand_in_alone(model, store, progress)
        jobs = [job(given, "tvm", threads, target=target.tvm) for target in targets]
        for asked in jobs if seconds is not None else ():
            refuse_tuning(asked)
        for target, asked in zip(targets, jobs, strict=True):
            tuning = None
            if seconds is not None:
                tuning = tune_one(asked, target.name, Store(store), seconds, progress)
            progress.step(f"compiling for {target.name}")
            row, code = _one(asked, target, store, output)
            row = row.model_copy(update={"tuning": tuning})
            worst = max(worst, code)
            rows.append(row)
    result = CrossResult(model=model, threads=threads, rows=tuple(rows))
    emit(result.dump(), fmt, lambda out: _show(result, out, f"{output}/TARGET" if output else str(store)))
    return worst


def _one(job: Job, target: Target, store: Path, output: Path | None) -> tuple[CrossRow, int]:
    from compiler.build import build
    from compiler.check_target import check_target
    from compiler.store import Store
    from compiler.tuning.records import as_tuned
    from planner.cli.results import CrossRow
    from specs.artefact_folder import read_artefact

    try:
        described = as_tuned(job, Store(store))
        folder = build(described, Store(store))
        artefact = read_artefact(folder)
        found = [text for name in artefact.files for text in check_target(folder / name, target)]
    except TierplanError as error:
        return CrossRow(target=target.name, problem=str(error)), _code(error)
    size = sum((folder / name).stat().st_size for name in artefact.files)
    if output is not None:
        shutil.copytree(folder, output / target.name, dirs_exist_ok=True)
    made = CrossRow(
        target=target.name,
        artefact=artefact.key,
        files=tuple(artefact.files),
        bytes=size,
        found=tuple(found),
        fallback=artefact.fallback,
        winograd=artefact.winograd,
        tuned=len(artefact.tuned or ()),
    )
    return made, 0


def _code(error: TierplanError) -> int:
    """What is not what it says is a failure of the tools, not an answer."""
    return EnvironmentFailed.exit_code if isinstance(error, AnswerIsNo) else error.exit_code


def _show(result: CrossResult, out: Console, where: str) -> None:
    from planner.cli.tuning import show_tuning

    columns = ["target", "kB", "what it holds"]
    rows = [
        [
            row.target,
            number(row.bytes / 1e3) if row.bytes else "",
            f"not made: {row.problem}" if row.problem else "; ".join(row.found),
        ]
        for row in result.rows
    ]
    if any(row.fallback for row in result.rows):
        columns = [*columns, "slow generic code"]
        rows = [[*cells, ", ".join(row.fallback)] for cells, row in zip(rows, result.rows, strict=True)]
    out.print(table(columns, rows, title=result.model, right=["kB"]))
    for names in dict.fromkeys(row.winograd for row in result.rows if row.winograd):
        targets = ", ".join(row.target for row in result.rows if row.winograd == names)
        out.print(f"{targets}: Winograd's algorithm for {len(names)} convolutions ({', '.join(names)})")
    for row in result.rows:
        if row.tuning is not None:
            show_tuning(row.tuning, out)
        if row.tuned:
            out.print(f"{row.target}: schedules of {row.tuned} operators are tuned")
    made = sum(not row.problem for row in result.rows)
    if made:
        out.print(f"{made} of {len(result.rows)} made; in {where}")

"""Garbage collection of the store: what no profile and no plan names any more can be made again, and is removed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from planner.cli.hub.contents import read_store
from specs.errors import InputError, Issue, Place
from specs.hub import GcResult
from specs.plan import read_plan
from specs.profile import read_records, winners

STALE_SECONDS: Final = 3600.0
"""After which a folder in the making was left by a process that ended."""


def collect(store: Path, profiles: Sequence[Path], plans: Sequence[Path], dry_run: bool) -> GcResult:
    """Remove artefacts that neither a winning record of `profiles` nor one of `plans` names.

    Raises InputError where a folder of profiles or a plan is missing: a misspelt name must not empty the store.
    """
    named: set[str] = set()
    for folder in profiles:
        if not folder.is_dir():
            hint = "name the profiles in use with --profiles"
            raise InputError(Issue("no profiles: expected a folder", Place(str(folder)), hint))
        named |= {record.artefact for record in winners(read_records(folder)).values()}
    for plan in plans:
        named |= {assignment.artefact for assignment in read_plan(plan).assignments}
    artefacts, broken = read_store(store)
    gone = [*(key for key in artefacts if key not in named), *broken, *_stale(store)]
    size = sum(_bytes(store / name) for name in gone)
    if not dry_run:
        for name in gone:
            _remove(store / name)
    kept = len(artefacts) - sum(key in artefacts for key in gone)
    return GcResult(store=str(store), kept=kept, removed=tuple(sorted(gone)), bytes=size, dry_run=dry_run)


def _stale(store: Path) -> Iterator[str]:
    for folder in sorted(store.glob(".making-*")) if store.is_dir() else ():
        if time.time() - folder.stat().st_mtime > STALE_SECONDS:
            yield folder.name


def _bytes(folder: Path) -> int:
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file())


def _remove(folder: Path) -> None:
    """Out of sight in one step, so that nobody finds half an artefact."""
    hidden = folder if folder.name.startswith(".") else folder.with_name(f".making-gone-{folder.name}")
    if hidden != folder:
        folder.rename(hidden)
    shutil.rmtree(hidden)

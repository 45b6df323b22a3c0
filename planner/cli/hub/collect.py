"""Garbage collection of the store: what no profile and no plan speaks of any more can be made again, and is removed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from planner.cli.hub.contents import made_models, read_store
from specs.errors import InputError, Issue, Place
from specs.hub import GcResult
from specs.plan import read_plan
from specs.profile import read_records, winners

STALE_SECONDS: Final = 3600.0
"""After which a folder in the making was left by a process that ended."""


def collect(store: Path, profiles: Sequence[Path], plans: Sequence[Path], dry_run: bool) -> GcResult:
    """Remove artefacts that neither a winning record of `profiles` nor one of `plans` names, and models that were
    converted or quantized for none of them.

    Raises InputError where a folder of profiles or a plan is missing: a misspelt name must not empty the store.
    """
    named: set[str] = set()
    sources: set[str] = set()
    for folder in profiles:
        if not folder.is_dir():
            hint = "name the profiles in use with --profiles"
            raise InputError(Issue("no profiles: expected a folder", Place(str(folder)), hint))
        records = winners(read_records(folder)).values()
        named |= {record.artefact for record in records}
        sources |= {record.source for record in records}
    for plan in plans:
        read = read_plan(plan)
        named |= {assignment.artefact for assignment in read.assignments}
        sources |= set(read.inputs.sources.values())
    artefacts, broken = read_store(store)
    made = list(made_models(store))
    used = _used(store, sources)
    unused = [name for name in made if name not in used]
    gone = [*(key for key in artefacts if key not in named), *broken, *unused, *_stale(store)]
    size = sum(_bytes(store / name) for name in gone)
    if not dry_run:
        for name in gone:
            _remove(store / name, store)
    kept = len(artefacts) - sum(key in artefacts for key in gone) + len(made) - len(unused)
    return GcResult(store=str(store), kept=kept, removed=tuple(sorted(gone)), bytes=size, dry_run=dry_run)


def _used(store: Path, sources: Iterable[str]) -> set[str]:
    """Where, in the store, what was converted or quantized of `sources` is."""
    from compiler.convert import conversion_folder
    from compiler.quantize import quantization_folder
    from compiler.store import Store

    found = (of(source, Store(store)) for source in sources for of in (conversion_folder, quantization_folder))
    return {str(folder.relative_to(store)) for folder in found}


def _stale(store: Path) -> Iterator[str]:
    for folder in sorted(store.glob(".making-*")) if store.is_dir() else ():
        if time.time() - folder.stat().st_mtime > STALE_SECONDS:
            yield folder.name


def _bytes(folder: Path) -> int:
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file())


def _remove(folder: Path, store: Path) -> None:
    """Out of sight in one step, so that nobody finds half an artefact."""
    hidden = folder if folder.name.startswith(".") else store / f".making-gone-{folder.name}"
    if hidden != folder:
        folder.rename(hidden)
    shutil.rmtree(hidden)

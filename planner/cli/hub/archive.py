"""The hub as one archive: artefacts, profiles and what tuning found in a tar file, equal bytes for equal contents.

An archive is data from elsewhere, and the artefacts in it are code: nothing is published before every name, size and
digest was found right, and links, devices and paths that leave the archive are refused. Digests show that an artefact
is whole, not who made it: compare the archive's own sha256 with what its maker says.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from compiler.tuning.records import check_record, record_files
from planner.cli.hub.contents import read_store
from planner.cli.ledger import Ledger
from specs.artefact import ARTEFACT_FILE
from specs.artefact_folder import read_artefact
from specs.base import Spec
from specs.behaviour import Behaviour
from specs.cuts import CUTS_FILE, FoundCuts
from specs.digest import digest_file
from specs.errors import EnvironmentFailed, InputError, Issue, Place
from specs.hub import ArchiveResult
from specs.profile import BEHAVIOUR_FILE, HOPS_FILE, HopOverhead, Record, read_jsonl

MAX_FILES: Final = 200_000

_NAME = re.compile(
    r"^(store/([0-9a-f]{64})/[A-Za-z0-9][\w.-]*|profiles/[A-Za-z0-9][\w.-]*\.jsonl"
    r"|tuned/(models|workloads)/[0-9a-f]{64}\.json)$"
)
_CHUNK: Final = 1 << 20


def export_archive(archive: Path, profiles: Path, store: Path) -> ArchiveResult:
    """Write every artefact, profile and record of tuning to `archive`, whole or not at all. Raises InputError for an
    artefact or a record that was changed, and where there is nothing to write."""
    files = [*_store_files(store), *_profile_files(profiles), *_tuned_files(store)]
    if not files:
        hint = "name them with --store and --profiles"
        raise InputError(
            Issue(f"nothing to export: neither artefacts in {store} nor profiles in {profiles}", None, hint)
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(archive.name + ".part")
    try:
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, file in sorted(files):
                info = tarfile.TarInfo(name)  # names and bytes alone: no times, owners or modes
                info.size = file.stat().st_size
                with file.open("rb") as stream:
                    tar.addfile(info, stream)
        part.replace(archive)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return ArchiveResult(
        archive=str(archive),
        sha256=digest_file(archive),
        artefacts=len({name.split("/")[1] for name, _ in files if name.startswith("store/")}),
        records=sum(len(file.read_bytes().splitlines()) for name, file in files if name.startswith("profiles/")),
        tuned=sum(name.startswith("tuned/") for name, _ in files),
        bytes=archive.stat().st_size,
    )


def _store_files(store: Path) -> Iterator[tuple[str, Path]]:
    for key in read_store(store)[0]:
        artefact = read_artefact(store / key)
        for name in (ARTEFACT_FILE, *artefact.files):
            yield f"store/{key}/{name}", store / key / name


def _profile_files(profiles: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(profiles.glob("*.jsonl")) if profiles.is_dir() else ():
        read_jsonl(file, _model(file.name))
        yield f"profiles/{file.name}", file


def _tuned_files(store: Path) -> Iterator[tuple[str, Path]]:
    for name, file in record_files(store):
        check_record(name, file)
        yield name, file


def import_archive(archive: Path, profiles: Path, store: Path, sha256: str | None = None) -> ArchiveResult:
    """Take what `archive` holds and is not there yet. Raises InputError, and changes nothing, where any of it is
    wrong, or `sha256` is given and is not the archive's."""
    digest = digest_file(archive)
    if sha256 is not None and sha256 != digest:
        raise InputError(Issue(f"expected an archive with sha256 {sha256}, found {digest}", Place(str(archive))))
    store.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".making-import-", dir=store))
    try:
        _unpack(archive, work)
        keys = sorted(p.name for p in (work / "store").iterdir()) if (work / "store").is_dir() else []
        for key in keys:
            _check_artefact(work / "store" / key, archive)
        lines = {file.name: _values(file, archive) for file in sorted((work / "profiles").glob("*.jsonl"))}
        tuned = [name for name, file in record_files(work) if _is_record(name, file, archive)]
        fresh = [key for key in keys if _publish(work / "store" / key, store / key)]
        found = [name for name in tuned if _take(work / name, store / name)]
        added = sum(_append(profiles / name, values) for name, values in lines.items())
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ArchiveResult(
        archive=str(archive),
        sha256=digest,
        artefacts=len(keys),
        records=sum(map(len, lines.values())),
        tuned=len(tuned),
        bytes=archive.stat().st_size,
        new_artefacts=len(fresh),
        new_records=added,
        new_tuned=len(found),
    )


def _is_record(name: str, file: Path, archive: Path) -> bool:
    """Raises InputError, of the archive, where it is none."""
    try:
        check_record(name, file)
    except InputError as error:
        raise InputError(Issue(f"{name}: {error.issues[0].message}", Place(str(archive)))) from error
    return True


def _take(made: Path, file: Path) -> bool:
    """Whether it was not there yet: what was timed here goes on from itself."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(made, file)  # unlike a renaming, it takes nobody's place
    except FileExistsError:
        return False
    except OSError as error:
        raise EnvironmentFailed(f"cannot write {file}: {error.strerror}") from error
    return True


def _publish(made: Path, folder: Path) -> bool:
    """Whether it was not there yet, nor made by somebody else meanwhile."""
    if (folder / ARTEFACT_FILE).exists():
        return False
    made.chmod(0o755)
    try:
        made.rename(folder)
    except OSError as error:
        if (folder / ARTEFACT_FILE).exists():
            return False
        raise EnvironmentFailed(f"cannot write {folder}: {error.strerror}") from error
    return True


def _unpack(archive: Path, work: Path) -> None:
    """Plain files with names of ours alone, each once, within the limits."""
    place, total, count = Place(str(archive)), 0, 0
    limit = archive.stat().st_size  # files in it take no more than it does, unless they are sparse
    try:
        with tarfile.open(archive, "r:") as tar:
            for info in tar:
                count, total = count + 1, total + info.size
                if not info.isreg() or not _NAME.match(info.name):
                    raise InputError(Issue(f"{info.name!r} is no file of a hub's archive", place))
                if count > MAX_FILES or total > limit:
                    raise InputError(Issue(f"more than {MAX_FILES} files, or more bytes than it has itself", place))
                target = work / info.name
                if target.exists():
                    raise InputError(Issue(f"{info.name!r} stands in the archive twice", place))
                target.parent.mkdir(parents=True, exist_ok=True)
                stream = tar.extractfile(info)
                assert stream is not None
                with target.open("wb") as out:
                    shutil.copyfileobj(stream, out, _CHUNK)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError) as error:
        hint = "an archive is made by `planner hub export`"
        raise InputError(Issue(f"not a hub's archive: {str(error)[:200]}", place, hint)) from error


def _check_artefact(folder: Path, archive: Path) -> None:
    artefact = read_artefact(folder)
    surplus = {p.name for p in folder.iterdir()} - {ARTEFACT_FILE, *artefact.files}
    if artefact.key != folder.name or surplus:
        what = f"it says to be {artefact.key!r}" if artefact.key != folder.name else f"surplus files {sorted(surplus)}"
        raise InputError(Issue(f"artefact {folder.name[:16]}: {what}", Place(str(archive))))


def _values(file: Path, archive: Path) -> list[Spec]:
    try:
        return list(read_jsonl(file, _model(file.name)))
    except InputError as error:
        raise InputError(Issue(f"profiles/{file.name}: {error.issues[0].message}", Place(str(archive)))) from error


def _model(name: str) -> type[Spec]:
    known: dict[str, type[Spec]] = {BEHAVIOUR_FILE: Behaviour, CUTS_FILE: FoundCuts, HOPS_FILE: HopOverhead}
    return known.get(name, Record)


def _append(file: Path, values: list[Spec]) -> int:
    """Those that are not there yet; how many."""
    known = {v.model_dump_json() for v in read_jsonl(file, _model(file.name))} if file.exists() else set()
    fresh = [v for v in values if v.model_dump_json() not in known]
    ledger = Ledger(file)
    for value in fresh:
        ledger.append(value)
    return len(fresh)

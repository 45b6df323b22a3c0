"""What stands in a store and a folder of profiles, read with care."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from planner.hub.rows import best_accuracy, fresh
from specs.application import Application
from specs.artefact import Artefact
from specs.artefact_folder import read_description
from specs.behaviour import Behaviour
from specs.errors import InputError
from specs.infrastructure import Infrastructure
from specs.load import Document
from specs.profile import BEHAVIOUR_FILE, Record, read_jsonl, read_records, winners

KEY: Final = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Contents:
    """`artefacts` by key, with their bytes; `broken` are folders that no artefact can be read from."""

    records: tuple[Record, ...]
    artefacts: dict[str, tuple[Artefact, int]]
    names: dict[str, str] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    broken: tuple[str, ...] = ()


def read_contents(
    profiles: Path, store: Path, app: Document[Application] | None, infra: Infrastructure | None
) -> Contents:
    """With an application, its models' names, records and accuracy alone; with an infrastructure, records of its
    hardware as it is now. Raises InputError for a file that is wrong."""
    from planner.situation import source_digests, standing

    digests = source_digests(app) if app is not None else {}
    records = read_records(profiles) if profiles.is_dir() else []
    if app is not None:
        records = [r for r in records if r.source in digests.values()]
    records = list(winners(records).values()) if infra is None else standing(records, infra)
    file = profiles / BEHAVIOUR_FILE
    behaviours = fresh(read_jsonl(file, Behaviour), digests) if app is not None and file.exists() else []
    artefacts, broken = read_store(store)
    if app is not None:
        artefacts = {k: found for k, found in artefacts.items() if found[0].source in digests.values()}
    names: dict[str, str] = {}
    for name, digest in digests.items():
        names.setdefault(digest, name)
    return Contents(tuple(records), artefacts, names, best_accuracy(behaviours), broken)


def read_store(store: Path) -> tuple[dict[str, tuple[Artefact, int]], tuple[str, ...]]:
    """Artefacts by key, with their bytes, and the names of folders that hold none."""
    artefacts: dict[str, tuple[Artefact, int]] = {}
    broken: list[str] = []
    for folder in _folders(store):
        try:
            artefact = read_description(folder)
            size = sum((folder / name).stat().st_size for name in artefact.files)
        except (InputError, OSError):
            broken.append(folder.name)
            continue
        if artefact.key == folder.name:
            artefacts[artefact.key] = (artefact, size)
        else:
            broken.append(folder.name)
    return artefacts, tuple(broken)


def made_models(store: Path) -> Iterator[str]:
    """Models that were converted or quantized, as ``converted/DIGEST``."""
    from compiler import convert, quantize

    for kind in (convert.FOLDER, quantize.FOLDER):
        yield from (f"{kind}/{folder.name}" for folder in _folders(store / kind))


def _folders(store: Path) -> Iterator[Path]:
    """Named by a digest alone: whatever else stands there is not the store's."""
    if store.is_dir():
        yield from sorted(p for p in store.iterdir() if KEY.match(p.name) and p.is_dir() and not p.is_symlink())

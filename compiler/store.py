"""Artefacts by content: a folder named by the digest of all that decided its bytes, made once, never changed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from specs.artefact import ARTEFACT_FILE, Artefact
from specs.artefact_folder import read_artefact
from specs.errors import EnvironmentFailed


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of artefacts. Several processes may use it at once: what is not complete is not visible."""

    root: Path

    def folder(self, key: str) -> Path:
        return self.root / key

    def find(self, key: str) -> Path | None:
        """The folder of `key`, verified, or None. Raises InputError where its files were changed."""
        folder = self.folder(key)
        if not (folder / ARTEFACT_FILE).exists():
            return None
        read_artefact(folder)
        return folder

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder in the store, removed afterwards. Raises EnvironmentFailed if none can be made."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            path = Path(tempfile.mkdtemp(prefix=".making-", dir=self.root))
        except OSError as error:
            raise EnvironmentFailed(f"cannot write to {self.root}: {error.strerror}") from error
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def add(self, made: Path, artefact: Artefact) -> Path:
        """Publish `made`, which holds the artefact's files, under the artefact's key; the first of two makers wins."""
        folder = self.folder(artefact.key)
        try:
            (made / ARTEFACT_FILE).write_text(json.dumps(artefact.dump(), indent=2) + "\n", "utf-8")
            made.chmod(0o755)
        except OSError as error:
            raise EnvironmentFailed(f"cannot write {folder}: {error.strerror}") from error
        try:
            os.rename(made, folder)
        except OSError as error:
            if not (folder / ARTEFACT_FILE).exists():
                raise EnvironmentFailed(f"cannot write {folder}: {error.strerror}") from error
        read_artefact(folder)
        return folder

"""Bundles as they come to a machine that does not share the file system of the one that has them.

Files are kept by their sha256, so that only what is missing comes, and a transfer that broke off goes on where it was.
A bundle is put together of them once all are there, and is verified as any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import threading
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from runtime.bundle import open_bundle
from specs.digest import digest_bytes, digest_file
from specs.errors import EnvironmentFailed
from specs.manifest import MANIFEST_FILE, Manifest
from specs.output_file import cannot_write, whole_folder

FILES: Final = "files"
IDENTITY: Final = "identity"
PART: Final = ".part"


class Received:
    """Files and bundles in a `folder` of this machine, which several processes may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = folder / FILES
        self._files.mkdir(exist_ok=True)
        self._taking = threading.Lock()

    def identity(self) -> str:
        """Equal for processes that share the folder: a word that whoever came first wrote into it."""
        file, mine = self._folder / IDENTITY, secrets.token_hex(16)
        part = file.with_name(f"{IDENTITY}.{mine}")
        part.write_text(mine, "ascii")
        with contextlib.suppress(FileExistsError):
            os.link(part, file)
        part.unlink()
        return file.read_text("ascii")

    def held(self, digests: Collection[str]) -> dict[str, int]:
        """How many bytes are here of each of the files that are not here whole."""
        return {digest: self._size(digest) for digest in digests if not self._file(digest).exists()}

    def _file(self, digest: str) -> Path:
        if len(digest) != 64 or not digest.isalnum():
            raise EnvironmentFailed(f"expected a file's sha256, got {digest[:80]!r}")
        return self._files / digest

    def _part(self, digest: str) -> Path:
        return self._file(digest).with_name(f"{digest}{PART}")

    def _size(self, digest: str) -> int:
        part = self._part(digest)
        return part.stat().st_size if part.exists() else 0

    def take(self, digest: str, offset: int, data: bytes, *, last: bool) -> None:
        """Take the bytes from `offset` on of a file; with the `last` ones its digest is checked.

        Raises EnvironmentFailed where the disk is full, what was there before is not `offset` bytes long, or the whole
        is not what its digest says: then none of it is kept.
        """
        part = self._part(digest)
        with self._taking:
            if self._size(digest) != offset:
                raise EnvironmentFailed(f"a file came in pieces that do not fit: expected byte {self._size(digest)}")
            try:
                with part.open("ab") as stream:
                    stream.write(data)
            except OSError as error:
                raise cannot_write(part, error) from error
            if last:
                found = digest_file(part)
                if found != digest:
                    part.unlink()
                    raise EnvironmentFailed(f"a file was changed on its way: expected sha256 {digest}, found {found}")
                part.rename(self._file(digest))

    def assemble(self, manifest: bytes, target: str) -> None:
        """The bundle of that manifest in the folder `target` below this one; nothing where it is there already.

        Raises InputError where it is not one that `runtime.bundle.open_bundle` takes.
        """
        folder = self._folder / target
        if (folder / MANIFEST_FILE).is_file() and digest_file(folder / MANIFEST_FILE) == digest_bytes(manifest):
            return
        files = _files_of(manifest)
        if lacking := self.held(list(files.values())):
            raise EnvironmentFailed(f"{len(lacking)} of the bundle's files have not come")
        with whole_folder(folder) as work:
            (work / MANIFEST_FILE).write_bytes(manifest)
            for name, digest in files.items():
                file = work / name
                file.parent.mkdir(parents=True, exist_ok=True)
                os.link(self._file(digest), file)
            open_bundle(work)

    def keep_only(self, targets: Collection[str], parents: Collection[str]) -> None:
        """Remove the bundles in the folders `parents` but for those at `targets`, and all files that no bundle has."""
        for folder in (folder for parent in parents for folder in (self._folder / parent).glob("*")):
            if folder.relative_to(self._folder).as_posix() not in targets:
                shutil.rmtree(folder, ignore_errors=True)
        for file in self._files.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_nlink == 1:
                    file.unlink()

    def write(self, name: str, data: bytes | None) -> None:
        """Write a small file below the folder, for its user alone and in one step; None removes it."""
        file = self._folder / name
        if data is None:
            file.unlink(missing_ok=True)
            return
        part = file.with_name(f"{file.name}.{os.getpid()}{PART}")
        try:
            file.parent.mkdir(exist_ok=True)
            with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as stream:
                stream.write(data)
            part.replace(file)
        except OSError as error:
            raise cannot_write(file, error) from error


def _files_of(manifest: bytes) -> Mapping[str, str]:
    """Raises EnvironmentFailed where one of them would leave the bundle's folder."""
    files = Manifest.model_validate_json(manifest).files
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            raise EnvironmentFailed(f"{name[:200]!r} leaves the bundle's folder")
    return files


class Receiving:
    """The part of an actor that takes what another machine sends; see `Received`. Its methods take no file's time from
    messages: they run in threads.
    """

    _received: Received | None = None

    @property
    def received(self) -> Received:
        if self._received is None:
            raise EnvironmentFailed("this process shares the file system of who sends")
        return self._received

    async def identity(self) -> str:
        return await asyncio.to_thread(self.received.identity)

    async def held(self, digests: Collection[str]) -> dict[str, int]:
        return await asyncio.to_thread(self.received.held, digests)

    async def take(self, digest: str, offset: int, data: bytes, last: bool) -> None:
        await asyncio.to_thread(self.received.take, digest, offset, data, last=last)

    async def assemble(self, manifest: bytes, target: str) -> None:
        await asyncio.to_thread(self.received.assemble, manifest, target)

"""Writes files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from specs.errors import EnvironmentFailed, InputError, Issue, Place


def output_path(file: str | Path) -> Path:
    """Where `file` really is to be written: a link is followed, so that it stays one.

    Raises InputError for a folder, a device or a pipe, none of which can be replaced by a file.
    """
    path = Path(os.path.realpath(file))
    if path.is_dir():
        raise InputError(Issue("this is a folder: expected the name of a file to write", Place(str(file))))
    if path.exists() and not path.is_file():
        hint = "for standard output, use --format json or yaml without -o"
        raise InputError(Issue("this is not a regular file and is left alone", Place(str(file)), hint))
    return path


def write_whole(file: str | Path, text: str | bytes, *, durable: bool = False) -> None:
    """Write `text` (in UTF-8) to `file`, making its folder; a file that was there is replaced at once or not at all.

    A `durable` one is on the disk on return, so that it outlives the machine's power.

    Raises InputError as `output_path` does, and EnvironmentFailed where the disk or its rights do not allow it.
    """
    path = output_path(file)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(text.encode() if isinstance(text, str) else text)
        if durable:
            _flush(part)
        part.replace(path)
        if durable:
            _flush(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # where a folder is no folder, or may not be written to
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(file, error) from error
        raise


def _flush(path: Path) -> None:
    """Of a file its bytes, of a folder its names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which then takes the place of `folder`: whole, or not at all.

    Raises EnvironmentFailed where the disk or its rights do not allow it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
        try:
            work.chmod(0o755)
            yield work
            _replace(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _replace(work: Path, folder: Path) -> None:
    """Put the folder `work` in the place of `folder`, beside it; an old one is gone only once the new one is there."""
    old = work.with_name(f"{work.name}.old")
    if folder.exists():
        folder.rename(old)
    try:
        work.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def cannot_write(file: str | Path, error: OSError) -> EnvironmentFailed:
    """`error`, which need not name the file that could not be written, as one of ours."""
    return EnvironmentFailed(f"cannot write {file}: {error.strerror or error}")

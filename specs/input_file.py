"""Reads files that may be anything: bounded, and never waiting for what a pipe or a device may say."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

from specs.errors import InputError, Issue, Place

NOT_A_FILE: Final = "this is not a regular file"
_HINT: Final = "write what it gives to a file first: it is read more than once"


def open_input(file: str | Path, name: str = "") -> BufferedReader:
    """`file`, called `name` in errors, open for reading.

    Opened without waiting, since opening a pipe that nobody writes to would wait for ever. Raises InputError where it
    is missing, may not be read, or is no regular file.
    """
    name = name or str(file)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(Issue(f"cannot read {name}: {error.strerror}", Place(name))) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise InputError(Issue(f"cannot read {name}: Is a directory", Place(name)))
        raise InputError(Issue(NOT_A_FILE, Place(name), _HINT))
    return os.fdopen(descriptor, "rb")


def read_input(file: str | Path, most: int, name: str = "") -> bytes:
    """All of `file`. Raises InputError as `open_input` does, and where it has more than `most` bytes."""
    name = name or str(file)
    with open_input(file, name) as stream:
        try:
            data = stream.read(most + 1)
        except OSError as error:
            raise InputError(Issue(f"cannot read {name}: {error.strerror}", Place(name))) from error
    if len(data) > most:
        raise InputError(Issue(f"the file is larger than {most} bytes", Place(name)))
    return data

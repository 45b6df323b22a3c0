"""Digests of files and values: sha256 in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from specs.errors import InputError, Issue, Place


def digest_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_file(file: str | Path) -> str:
    """Digest of a file's bytes. Raises InputError where it cannot be read."""
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(Issue(f"cannot read {file}: {error.strerror}", Place(str(file)))) from error


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_value(value: Any) -> str:
    """Digest of a JSON value."""
    return digest_bytes(canonical_json(value).encode())

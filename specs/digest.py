"""Digests of files and values: sha256 in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from specs.errors import InputError, Issue, Place
from specs.external_data import external_files
from specs.input_file import open_input


def digest_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_file(file: str | Path) -> str:
    """Digest of a file's bytes. Raises InputError where it cannot be read."""
    try:
        with open_input(file) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(Issue(f"cannot read {file}: {error.strerror}", Place(str(file)))) from error


def digest_model(file: str | Path, digest: Callable[[Path], str] = digest_file) -> str:
    """Digest of an ONNX model: of its bytes and of those of its external data, each by `digest`.

    Raises InputError where a file cannot be read, or lies outside the model's folder.
    """
    path = Path(file)
    own, root = digest(path), path.parent.resolve()
    others = external_files(path)
    for name in others:
        if not (root / name).resolve().is_relative_to(root):
            message = f"external data is outside the model's folder: {name!r}"
            raise InputError(Issue(message, Place(str(path)), "keep external data beside the model"))
    return own if not others else digest_value([own, *(digest(root / name) for name in others)])


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_value(value: Any) -> str:
    """Digest of a JSON value."""
    return digest_bytes(canonical_json(value).encode())

"""A model that was made from another one, beside the note that says how."""

from __future__ import annotations

import json
import os
from pathlib import Path

from specs.conversion import Conversion
from specs.errors import EnvironmentFailed
from specs.quantization import Quantization


def publish(work: Path, folder: Path, made: Conversion | Quantization, note: str) -> None:
    """Put `made.file` and its `note` from the folder `work` into `folder`, the note last: without it nothing is there.

    What was there is replaced: it was stale, or another process made the same. Raises EnvironmentFailed where `folder`
    cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.replace(work / made.file, folder / made.file)
        part = work / note
        part.write_text(json.dumps(made.dump(), indent=2) + "\n", "utf-8")
        os.replace(part, folder / note)
    except OSError as error:
        raise EnvironmentFailed(f"cannot write {folder}: {error.strerror}") from error

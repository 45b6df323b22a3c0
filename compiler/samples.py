"""Real inputs in a file, for the child that measures: arrays, bytes and text, without pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specs.errors import InputError, Issue

Sample = Mapping[str, Any]
"""Values by input name: arrays (with the batch dimension, for models), bytes or str."""

_TAGS = {bytes: "b", str: "s"}


def in_groups(samples: Sequence[Sample], batch: int) -> list[list[Sample]]:
    """`batch` samples at a time, the first ones again where they run out."""
    firsts = range(0, len(samples), batch)
    return [[samples[(first + i) % len(samples)] for i in range(batch)] for first in firsts]


def joined(group: Sequence[Sample]) -> Sample:
    """Samples of one item each as one of as many."""
    if len(group) == 1:
        return group[0]
    return {name: np.concatenate([sample[name] for sample in group]) for name in group[0]}


def save_samples(file: Path, samples: Sequence[Sample]) -> None:
    """Write `samples` as an .npz file. Raises InputError for a value that is no array, bytes or str."""
    columns: dict[str, Any] = {}
    for number, sample in enumerate(samples):
        for name, value in sample.items():
            if isinstance(value, bytes | str):
                raw = value.encode() if isinstance(value, str) else value
                columns[f"{number}/{_TAGS[type(value)]}/{name}"] = np.frombuffer(raw, np.uint8)
            elif isinstance(value, np.ndarray | np.generic | int | float | bool):
                columns[f"{number}/a/{name}"] = np.asarray(value)
            else:
                raise InputError(Issue(f"input {name!r} is a {type(value).__name__}; expected an array, bytes or text"))
    np.savez(file, allow_pickle=False, **columns)


def load_samples(file: Path) -> list[dict[str, Any]]:
    """What `save_samples` wrote, in its order."""
    samples: dict[int, dict[str, Any]] = {}
    with np.load(file, allow_pickle=False) as columns:
        for key in columns.files:
            number, tag, name = key.split("/", 2)
            value: Any = columns[key]
            if tag != "a":
                value = value.tobytes() if tag == "b" else value.tobytes().decode()
            samples.setdefault(int(number), {})[name] = value
    return [samples[number] for number in sorted(samples)]

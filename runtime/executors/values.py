"""Inputs checked against an artefact's types before they reach a backend, which would crash or misread them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from specs.artefact import Artefact
from specs.errors import InputError, Issue


class Arguments:
    """Turns inputs by name into contiguous arrays in the model's order."""

    def __init__(self, artefact: Artefact) -> None:
        self._expected = tuple(
            (name, np.dtype(type_.numpy), (artefact.batch, *type_.shape)) for name, type_ in artefact.inputs.items()
        )
        self.names = tuple(artefact.inputs)

    def __call__(self, inputs: Mapping[str, Any]) -> list[np.ndarray[Any, Any]]:
        """Raises InputError for a missing or surplus input, or another type or shape (first the artefact's batch)."""
        if len(inputs) != len(self._expected) or any(name not in inputs for name in self.names):
            raise InputError(Issue(f"expected the inputs {', '.join(self.names)}; found {', '.join(inputs)}"))
        result = []
        for name, dtype, shape in self._expected:
            value = np.asarray(inputs[name])
            if value.dtype != dtype or (value.shape != shape and not _fits(value.shape, shape)):
                wanted, found = f"{dtype}{list(shape)}", f"{value.dtype}{list(value.shape)}"
                raise InputError(Issue(f"input {name!r}: expected {wanted}, found {found}"))
            result.append(value if value.flags.c_contiguous else np.ascontiguousarray(value))
        return result


def _fits(found: tuple[int, ...], expected: tuple[int | str, ...]) -> bool:
    """Whether the shapes agree, of which one may have names for sizes."""
    return len(found) == len(expected) and all(
        isinstance(want, str) or have == want for have, want in zip(found, expected, strict=True)
    )

"""How functions are compiled by numba. What they do stays plain Python; types are found at the first call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = {"error_model": "numpy", "_nrt": False}
"""Nothing that is compiled here allocates. Without numba's reference counts, which are kept at every access to an array
otherwise, the loop runs ten times as fast."""


def compiled(function: F) -> F:
    """Once for a machine: the result is kept in __pycache__, or in the user's cache; where that cannot be written, or
    its disk is full, once for a process.
    """
    made = njit(**_OPTIONS)(function)
    with contextlib.suppress(RuntimeError):  # numba finds no folder
        made.enable_caching()
        save = made._cache.save_overload

        def saved(*arguments: Any) -> None:
            with contextlib.suppress(OSError):
                save(*arguments)

        made._cache.save_overload = saved
    kept: F = made
    return kept


def inlined(function: F) -> F:
    """As a part of each compiled function that calls it."""
    made: F = njit(inline="always", **_OPTIONS)(function)
    return made

"""How functions are compiled by numba. What they do stays plain Python; types are found at the first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = {"error_model": "numpy", "_nrt": False}
"""Nothing that is compiled here allocates. Without numba's reference counts, which are kept at every access to an array
otherwise, the loop runs ten times as fast."""


def compiled(function: F) -> F:
    """Once for a machine: the result is kept in __pycache__, or in the user's cache."""
    made: F = njit(cache=True, **_OPTIONS)(function)
    return made


def inlined(function: F) -> F:
    """As a part of each compiled function that calls it."""
    made: F = njit(inline="always", **_OPTIONS)(function)
    return made

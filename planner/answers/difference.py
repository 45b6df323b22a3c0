"""What one objective is above another, where one of them was read from a file."""

from __future__ import annotations

from math import isclose
from typing import Final

ROUNDED: Final = 5e-6
"""How far, relative to it, a figure of a plan's file may be from what was found (`specs.quantities.Rounded`)."""


def beyond(old: float, new: float) -> float:
    """`new` less `old`, which is of a file and has six significant digits: less than those can say is no difference."""
    return 0.0 if isclose(old, new, rel_tol=ROUNDED) else new - old

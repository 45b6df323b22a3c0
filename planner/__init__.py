"""Decides what runs where. Each name below is imported when it is first used, so that importing this costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.baseline import baselines
    from planner.plan import solve
    from planner.prediction import predict
    from planner.refinement import refine
    from planner.situation import load_situation
    from planner.slicing import default_slice
    from planner.verification import verify

__all__ = ["baselines", "default_slice", "load_situation", "predict", "refine", "solve", "verify"]

_HOME = {
    "baselines": "planner.baseline",
    "default_slice": "planner.slicing",
    "load_situation": "planner.situation",
    "predict": "planner.prediction",
    "refine": "planner.refinement",
    "solve": "planner.plan",
    "verify": "planner.verification",
}


def __getattr__(name: str) -> Any:
    """The public functions. None shares its name with a submodule, which would shadow it."""
    if name not in _HOME:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value

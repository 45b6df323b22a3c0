"""Decides what runs where. Each name below is imported when it is first used, so that importing this costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.baseline import baselines
    from planner.formulation import formulate
    from planner.placement.slicing import default_slice
    from planner.plan import solve
    from planner.problem.file import read_problem, write_problem
    from planner.refinement import refine
    from planner.simulation.of_slice import predict
    from planner.situation import load_situation
    from planner.solver import solve_problem
    from planner.verification import verify

__all__ = [
    "baselines",
    "default_slice",
    "formulate",
    "load_situation",
    "predict",
    "read_problem",
    "refine",
    "solve",
    "solve_problem",
    "verify",
    "write_problem",
]

_HOME = {
    "baselines": "planner.baseline",
    "default_slice": "planner.placement.slicing",
    "formulate": "planner.formulation",
    "load_situation": "planner.situation",
    "predict": "planner.simulation.of_slice",
    "read_problem": "planner.problem.file",
    "refine": "planner.refinement",
    "solve": "planner.plan",
    "solve_problem": "planner.solver",
    "verify": "planner.verification",
    "write_problem": "planner.problem.file",
}


def __getattr__(name: str) -> Any:
    """The public functions. None shares its name with a submodule, which would shadow it."""
    if name not in _HOME:
        raise AttributeError(f"module 'planner' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value

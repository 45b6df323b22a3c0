"""Solves Problems."""

from planner.solver.solution import Choice, Solution
from planner.solver.solve import solve_problem

__all__ = ["Choice", "Solution", "solve_problem"]

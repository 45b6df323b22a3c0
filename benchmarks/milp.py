"""A plain mixed-integer program of a Problem in HiGHS: the same linear model, with conditions as big-M rows.

Run as `python -m benchmarks.milp PROBLEM SECONDS` in a process of its own: HiGHS and OR-Tools bring the same library.
Prints one line of JSON: seconds, status, objective and bound.
"""

from __future__ import annotations

import json
import sys
import time
from math import inf

from planner.problem.file import read_problem
from planner.solver.build import model_of
from planner.solver.model import Model, Row

MICRO = 1e6
"""Money is given to HiGHS in whole units, large variables in units of their own, and rows are divided by their largest
factor: it computes with floating point."""
COUNTED = 10_000


def solve(model: Model, seconds: float) -> dict[str, object]:
    """Minimise the first objective."""
    import highspy
    import numpy as np

    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("time_limit", seconds)
    solver.setOptionValue("threads", 2)
    solver.setOptionValue("mip_rel_gap", 0.0)
    cost = np.zeros(len(model.domains))
    for v, f in model.objectives[0]:
        cost[v] += f / MICRO
    unit = np.array([max(1.0, high / COUNTED) for _, high in model.domains])
    for v, (low, high) in enumerate(model.domains):
        solver.addVar(low / unit[v], high / unit[v])
        solver.changeColCost(v, float(cost[v] * unit[v]))
        if unit[v] == 1:  # times and variances are sums of integers anyway
            solver.changeColIntegrality(v, highspy.HighsVarType.kInteger)
    rows = [*model.rows, *(Row(tuple((v, 1) for v in one), 1, 1) for one in model.one_of)]
    for row in rows:
        for terms, at_least, at_most in sides(model, row):
            index = np.array([v for v, _ in terms], dtype=np.int32)
            values = np.array([f * unit[v] for v, f in terms], dtype=float)
            most = float(np.max(np.abs(values))) if terms else 1.0
            solver.addRow(at_least / most, at_most / most, len(terms), index, values / most)
    started = time.perf_counter()
    solver.run()
    info = solver.getInfo()
    return {
        "seconds": time.perf_counter() - started,
        "status": solver.modelStatusToString(solver.getModelStatus()),
        "objective": info.objective_function_value * MICRO,
        "bound": info.mip_dual_bound * MICRO,
    }


def sides(model: Model, row: Row) -> list[tuple[tuple[tuple[int, int], ...], float, float]]:
    """The row, or for a conditional one each of its sides with its literal's big M, the least that makes it idle."""
    if row.when is None:
        low = -inf if row.low is None else float(row.low)
        return [(row.terms, low, inf if row.high is None else float(row.high))]
    found: list[tuple[tuple[tuple[int, int], ...], float, float]] = []
    most = model.most(list(row.terms))
    least = -model.most([(v, -f) for v, f in row.terms])
    if row.high is not None and most > row.high:
        m = most - row.high
        found.append((merged(row.terms, row.when, m), -inf, float(row.high + m)))
    if row.low is not None and least < row.low:
        m = row.low - least
        found.append((merged(row.terms, row.when, -m), float(row.low - m), inf))
    return found


def merged(terms: tuple[tuple[int, int], ...], variable: int, factor: int) -> tuple[tuple[int, int], ...]:
    """`terms` with `factor` times `variable` added."""
    summed = dict(terms)
    summed[variable] = summed.get(variable, 0) + factor
    return tuple(summed.items())


if __name__ == "__main__":
    problem = read_problem(sys.argv[1])
    began = time.perf_counter()
    model = model_of(problem)
    print(json.dumps({"building": time.perf_counter() - began, **solve(model, float(sys.argv[2]))}))

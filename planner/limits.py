"""The same Problem with other path limits, without formulating it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.formulation import Formulation
from planner.formulation.limits import tables_of
from planner.path_limits import path_limits
from planner.problem import Limit
from planner.situation import Situation


def with_limits(situation: Situation, given: Formulation, limits: Mapping[str, float]) -> Formulation:
    """`given` with the path limits named in `limits` (seconds, such as ``answer.p99``) replaced.

    Equals formulating with those limits. Only the tables of limits depend on them.
    """
    if not limits:
        return given
    problem = given.problem
    known = {limit.name: limit for limit in path_limits(situation.app.value)}

    def renewed(index: int, limit: Limit) -> Limit:
        name = problem.constraints[limit.constraint].name
        if name not in limits:
            return limit
        shapes = given.scenarios[index].ways(known[name].path)
        paths = [table.paths for table in limit.shapes]
        return replace(limit, shapes=tables_of(shapes, paths, known[name].quantile, limits[name]))

    scenarios = tuple(
        replace(scenario, limits=tuple(renewed(i, limit) for limit in scenario.limits))
        for i, scenario in enumerate(problem.scenarios)
    )
    return replace(given, problem=replace(problem, scenarios=scenarios))

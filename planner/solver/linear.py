"""Linear relaxations: a bound that is exact, and what no better answer than a given value can use.

Glop finds the duals, in floating point. Whatever they are, weak duality makes a bound of them: with multipliers `y` of
rows `low <= a x <= high`, of which a positive one counts `low` and a negative one `high`, no `x` within its domain
costs less than `sum y (low or high) + sum of the least of (c - a^T y) x`. Multipliers are rounded to integers over a
common denominator and the sum is taken in integers, so that nothing rests on the accuracy of a floating-point number
(Neumaier and Shcherbina, Safe bounds in linear and mixed-integer programming, 2004). With reduced costs `c - a^T y` in
the same integers, a literal that would lift the bound to a value is fixed for all answers below this value.

A row that holds only if a literal is true is relaxed with the largest violation that its domains allow. Norms, which
are no rows, are approached by tangents (docs/solver.md).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isqrt, sqrt
from typing import Any, Final

from planner.solver.model import Model, Norm, Row, Terms, summed

SCALE: Final = 60
"""Multipliers are integers over 2 to the power of this."""
LARGEST: Final = float(2**62)
"""Multipliers beyond this are no use."""
VIOLATED: Final = 0.01
"""By so much a norm is over its bound where a tangent is added."""
UNIT: Final = 1024
"""Length of the vectors of tangents, which are integers."""
DEAR: Final = 1000
"""What keeps no limit costs so many times as much as anything, a unit."""
INFINITY: Final = float("inf")
PARAMETERS: Final = "use_dual_simplex: true perturb_costs_in_dual_simplex: true use_preprocessing: false"
"""After preprocessing Glop does not know where it was: 50 components x 73 sites take it four times as long then."""


@dataclass(frozen=True, slots=True)
class Bound:
    """No answer has an objective below `value`.

    `values` are those of the variables in the linear relaxation's answer, and `sums` those of the sums. `scaled` is the
    bound before it is rounded and `reduced` the cost that each variable adds, both times 2 ** SCALE.
    """

    value: int
    values: tuple[float, ...]
    sums: tuple[float, ...]
    scaled: int
    reduced: tuple[int, ...]

    def below(self, ceiling: int, domains: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """`domains` of literals without what only answers with an objective of `ceiling` or more use."""
        room = ((ceiling - 1) << SCALE) - self.scaled
        return [
            domain if domain != (0, 1) or abs(cost) <= room else ((0, 0) if cost > 0 else (1, 1))
            for domain, cost in zip(domains, self.reduced, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Row:
    terms: tuple[tuple[int, int], ...]
    low: int | None
    high: int | None


class LinearRelaxation:
    """That of `model` with `objective`, solved for one choice of the limits of `sums` after another.

    Each time Glop goes on from where it was.
    """

    def __init__(self, model: Model, objective: Terms, sums: Sequence[Terms]) -> None:
        self._domains = model.domains
        self._objective = summed(objective)
        self._sums = [summed(terms) for terms in sums]
        self._rows = _rows(model)
        self._scales = [_scale(terms) for terms in (*(r.terms for r in self._rows), *self._sums)]
        from ortools.linear_solver import pywraplp  # 0.1 s, which small Problems need not wait for

        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        self._solver.SetSolverSpecificParametersAsString(PARAMETERS)
        refused = self._solver.LoadModelFromProto(self._proto())
        assert not refused, refused
        self._limited = self._solver.constraints()[len(self._rows) :]
        self._variables = self._solver.variables()
        self._dear = float(DEAR * max((abs(f) for _, f in self._objective), default=1))
        self._slack = [
            self._slack_of(*each) for each in zip(self._limited, self._scales[len(self._rows) :], strict=True)
        ]
        self._norms = model.norms
        self._barred: frozenset[int] = frozenset()
        self.tangents: list[Row] = []

    def _proto(self) -> Any:
        from ortools.linear_solver import linear_solver_pb2

        proto = linear_solver_pb2.MPModelProto()
        for low, high in self._domains:
            proto.variable.add(lower_bound=low, upper_bound=high)
        for variable, factor in self._objective:
            proto.variable[variable].objective_coefficient = factor
        free = [_Row(terms, *_range(terms, self._domains)) for terms in self._sums]  # rows without limits are left out
        for row, scale in zip((*self._rows, *free), self._scales, strict=True):
            proto.constraint.add(
                var_index=[v for v, _ in row.terms],
                coefficient=[f / scale for _, f in row.terms],
                lower_bound=-INFINITY if row.low is None else row.low / scale,
                upper_bound=INFINITY if row.high is None else row.high / scale,
            )
        return proto

    def _slack_of(self, limited: Any, scale: float) -> tuple[Any, Any]:
        """What takes a sum below or above its limits: nothing, at first."""
        below, above = self._solver.NumVar(0.0, 0.0, ""), self._solver.NumVar(0.0, 0.0, "")
        for variable, sign in ((below, 1), (above, -1)):
            limited.SetCoefficient(variable, sign / scale)
            self._solver.Objective().SetCoefficient(variable, self._dear)
        return below, above

    def solve(
        self, limits: Sequence[tuple[int, int]], seconds: float, rounds: int = 0, barred: Collection[int] = ()
    ) -> Bound | None:
        """A bound where each sum is within its limits, and `barred` variables, whose least value is 0, are 0.

        Where Glop says that there is no answer, which is not certain, what it would cost to leave limits makes a bound,
        which is large. None where it has no answer in time, or this has none either.

        After each of `rounds`, tangents of norms are added where the answer leaves a norm's bound, and stay.
        """
        scales = self._scales[len(self._rows) : len(self._rows) + len(self._sums)]
        for constraint, scale, (low, high) in zip(self._limited, scales, limits, strict=True):
            constraint.SetBounds(low / scale, high / scale)
        self._bar(frozenset(barred))
        ends = time.monotonic() + seconds
        for last in (*[False] * rounds, True):
            status = self._solved(ends)
            if status == self._solver.INFEASIBLE:
                answer, last = self._left(ends), True
            else:
                answer = self._answer() if status == self._solver.OPTIMAL else None
            if answer is None:
                return None
            if last or not self._touched(answer.variable_value):
                break
        values = tuple(answer.variable_value)[: len(self._domains)]
        sums = tuple(sum(f * values[v] for v, f in terms) for terms in self._sums)
        limited = (_Row(t, *limit) for t, limit in zip(self._sums, limits, strict=True))
        tangents = (_Row(row.terms, row.low, row.high) for row in self.tangents)
        return self._bound([*self._rows, *limited, *tangents], answer.dual_value, values, sums)

    def _solved(self, ends: float) -> int:
        """Solves until `ends` (of `time.monotonic`) at most."""
        self._solver.SetTimeLimit(max(1, int(1000 * (ends - time.monotonic()))))
        status: int = self._solver.Solve()
        return status

    def _bar(self, barred: frozenset[int]) -> None:
        """Keeps `barred` variables at 0, and no others."""
        for variable in sorted(self._barred ^ barred):
            self._variables[variable].SetUb(0 if variable in barred else self._domains[variable][1])
        self._barred = barred

    def _left(self, ends: float) -> Any:
        """The answer where limits may be left and barred variables used, for much. None if there is none.

        It is of a relaxation: its duals, like any, make a bound of what keeps them.
        """
        objective, price = self._solver.Objective(), dict(self._objective)
        slack = [variable for pair in self._slack for variable in pair]
        barred = sorted(self._barred)
        for variable in slack:
            variable.SetUb(INFINITY)
        for v in barred:
            self._variables[v].SetUb(self._domains[v][1])
            objective.SetCoefficient(self._variables[v], price.get(v, 0) + self._dear)
        answer = self._answer() if self._solved(ends) == self._solver.OPTIMAL else None
        for variable in slack:
            variable.SetUb(0.0)
        for v in barred:
            self._variables[v].SetUb(0.0)
            objective.SetCoefficient(self._variables[v], price.get(v, 0))
        return answer

    def _answer(self) -> Any:
        from ortools.linear_solver import linear_solver_pb2

        answer = linear_solver_pb2.MPSolutionResponse()
        self._solver.FillSolutionResponseProto(answer)
        return answer

    def _touched(self, values: Sequence[float]) -> bool:
        """Adds the tangents where `values` leave a norm's bound. Whether there are any."""
        found = [row for norm in self._norms if (row := _tangent(norm, values)) is not None]
        for row in found:
            scale = _scale(row.terms)
            constraint = self._solver.Constraint(-INFINITY, 0.0)
            for variable, factor in row.terms:
                constraint.SetCoefficient(self._variables[variable], factor / scale)
            self._scales.append(scale)
        self.tangents += found
        return bool(found)

    def _bound(
        self, rows: Sequence[_Row], duals: Sequence[float], values: tuple[float, ...], sums: tuple[float, ...]
    ) -> Bound:
        scaled = 0
        reduced = [0] * len(self._domains)
        for variable, factor in self._objective:
            reduced[variable] = factor << SCALE
        for row, scale, dual in zip(rows, self._scales, duals, strict=True):
            side = row.low if dual > 0 else row.high
            if not dual or side is None or abs(dual) > LARGEST:
                continue
            multiplier = int(dual / scale * 2.0**SCALE)
            scaled += multiplier * side
            for variable, factor in row.terms:
                reduced[variable] -= multiplier * factor
        scaled += sum(min(cost * low, cost * high) for cost, (low, high) in zip(reduced, self._domains, strict=True))
        scaled -= sum(min(0, reduced[v] * self._domains[v][1]) for v in self._barred)
        return Bound(-(-scaled >> SCALE), values, sums, scaled, tuple(reduced))


def _tangent(norm: Norm, values: Sequence[float]) -> Row | None:
    """With whole multipliers `a`, `a . parts <= |a| |parts|` (Cauchy and Schwarz), which is tight where both have one
    direction: that of `values`. None where these keep the norm's bound.
    """
    parts = [f * values[v] for v, f in norm.parts]
    length = sqrt(sum(part * part for part in parts))
    if length <= (1 + VIOLATED) * sum(sqrt(n) * max(0.0, values[v]) for v, n in norm.most):
        return None
    along = [max(0, int(UNIT * part / length)) for part in parts]
    squares = sum(a * a for a in along)
    terms = [(v, a * f) for a, (v, f) in zip(along, norm.parts, strict=True)]
    return Row(summed([*terms, *((v, -isqrt(squares * n)) for v, n in norm.most)]), None, 0)


def _rows(model: Model) -> list[_Row]:
    """Those that limit something: Glop's interface leaves out the others."""
    found = [_Row(tuple((v, 1) for v in one), 1, 1) for one in model.one_of]
    for row in model.rows:
        if not row.terms or (row.low is None and row.high is None):
            continue
        if row.when is None:
            found.append(_Row(row.terms, row.low, row.high))
            continue
        least, most = _range(row.terms, model.domains)
        if row.high is not None and most > row.high:
            found.append(_Row(summed([*row.terms, (row.when, most - row.high)]), None, most))
        if row.low is not None and least < row.low:
            found.append(_Row(summed([*row.terms, (row.when, least - row.low)]), least, None))
    return found


def _range(terms: Sequence[tuple[int, int]], domains: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The least and the most that a sum can be."""
    ends = [(f * domains[v][0], f * domains[v][1]) for v, f in terms]
    return sum(map(min, ends)), sum(map(max, ends))


def _scale(terms: Sequence[tuple[int, int]]) -> float:
    return float(max((abs(f) for _, f in terms), default=1))

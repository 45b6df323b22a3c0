"""CP-SAT, and all that must be known about OR-Tools to use it.

The public module `ortools.sat.python.cp_model` imports pandas (0.3 s and more at each start). The helper below it
takes a model as a protocol buffer in text form, which is all that is needed. One worker and a fixed seed: the same
input gives the same answer as long as no wall-clock limit binds. With `relative_gap_limit`, CP-SAT says OPTIMAL for
any answer within the gap, so optimality is read from the bound instead. In OR-Tools 9.15, the presolve step that
looks for constraints included in others calls some feasible models of ours infeasible and loses optima of others
(tests/planner/test_solver.py keeps three); `presolve_inclusion_work_limit: 0` leaves that step out (google/or-tools
issue 5293 finds the same). Probing and cuts take longer than they save on models of this size: without cuts, instances
of 10 components on 10 sites are proven in half of the time (benchmarks/instances.py). So do presolving again, looking
for symmetries, and reductions that may lose solutions: in models of which much is fixed these lowered a bound by one
a thousand times, for three seconds. Simplifying clauses in the search takes a fifth of the time on these instances; it
is left on where intervals may not overlap, which it helps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from ortools.sat.python import cp_model_helper as helper

from planner.solver.model import Model, Terms, row_of, summed

_LOW, _HIGH = -(2**63), 2**63 - 1


LARGE = 500
"""Models with more variables that are not fixed gain from linear relaxations of everything; smaller ones lose.
Schedules take 20 s with any and 1 s without, at 20 steps (benchmarks/task_graphs.py).
"""


class TooLarge(Exception):
    """A sum of the model might leave 64 bits, which CP-SAT refuses whatever is chosen."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`bound` is None without an objective. `ended`: no limit of time or effort ended the search, whose answer may be
    only within the gap that was asked for. `interrupted`: Ctrl-C ended it.
    """

    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    values: tuple[int, ...] = ()
    bound: int | None = None
    ended: bool = False
    interrupted: bool = False


class _Listener(helper.SolutionCallback):
    """Hears of better values of the objective."""

    def __init__(self, better: Callable[[int], None]) -> None:
        super().__init__()
        self.better = better

    def on_solution_callback(self) -> None:
        self.better(round(self.ObjectiveValue()))

    OnSolutionCallback = on_solution_callback


def _ignore(_: int) -> None:
    pass


def run(
    model: Model,
    objective: Terms | None = None,
    *,
    within: Sequence[tuple[Terms, int]] = (),
    between: tuple[int, int] | None = None,
    hint: Mapping[int, int] | None = None,
    time_limit: float,
    effort: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    better: Callable[[int], None] = _ignore,
    bound: Callable[[int], None] = _ignore,
) -> Answer:
    """Minimise `objective` (or find any answer) within `time_limit` seconds, with sums `within` their limits and the
    objective `between` two values.

    `effort` limits the search in deterministic seconds: the same answer on any machine.

    The search runs beside the calling thread, which Ctrl-C can therefore reach: it ends the search, not the answer.
    `better` and `bound` hear of each better value and bound. Raises TooLarge.
    """
    if model.impossible:
        return Answer("infeasible")
    if time_limit <= 0:
        return Answer("unknown")
    proto = helper.CpModelProto()
    if not proto.parse_text_format(_text(model, objective, within, between, hint or {})):
        raise TooLarge("a number of the model has more than 64 bits")
    wrapper = helper.SolveWrapper()
    parameters = helper.SatParameters()
    large = sum(low < high for low, high in model.domains) > LARGE
    linear = 0 if model.apart else 2 if large else 1
    parameters.parse_text_format(
        f"num_workers: 1 random_seed: {seed} max_time_in_seconds: {time_limit:.6f} relative_gap_limit: {gap:.9f} "
        f"presolve_inclusion_work_limit: 0 cp_model_probing_level: 0 linearization_level: {linear} cut_level: 0 "
        "keep_all_feasible_solutions_in_presolve: true max_presolve_iterations: 1 symmetry_level: 0 "
        f"use_sat_inprocessing: {str(bool(model.apart)).lower()} catch_sigint_signal: false"
        + ("" if effort is None else f" max_deterministic_time: {effort}")
    )
    wrapper.set_parameters(parameters)
    listener = _Listener(better)
    wrapper.add_solution_callback(listener)
    wrapper.add_best_bound_callback(lambda value: bound(ceil(value - 1e-6)))
    responses, interrupted = _search(wrapper, proto, listener)
    if not responses:
        if interrupted:
            return Answer("unknown", interrupted=True)
        raise RuntimeError("CP-SAT ended without an answer")
    return _answer(responses[0], objective, interrupted, proto)


def _search(wrapper: Any, proto: Any, listener: _Listener) -> tuple[list[Any], bool]:
    """What CP-SAT answers (nothing if it was interrupted before it began), and whether Ctrl-C ended the search.

    An interruption may come at any line here, also while the thread starts. So the thread itself keeps all that CP-SAT
    calls back until the search is over, and starting it once more does no harm.
    """
    responses: list[Any] = []
    begun, done, stop = threading.Lock(), threading.Event(), threading.Event()

    def search() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            if not stop.is_set():
                responses.append(wrapper.solve(proto))
        finally:
            wrapper.clear_solution_callback(listener)
            done.set()

    while not done.is_set():
        try:
            if not begun.locked():
                threading.Thread(target=search).start()
            done.wait()  # Thread.join would take an interrupted thread for one that ended (Python 3.11)
        except KeyboardInterrupt:
            stop.set()
            wrapper.stop_search()
    return responses, stop.is_set()


def _answer(response: Any, objective: Terms | None, interrupted: bool, proto: Any) -> Answer:
    name = response.status.name
    if name == "INFEASIBLE":
        return Answer("infeasible", interrupted=interrupted)
    if name == "MODEL_INVALID":
        said = str(helper.CpSatHelper.validate_model(proto))
        if "overflow" in said or "kint64max" in said:
            raise TooLarge(said)
        raise RuntimeError(f"the model is not valid: {said}")
    if name not in ("OPTIMAL", "FEASIBLE"):
        known = ceil(response.best_objective_bound - 1e-6) if objective else None
        return Answer("unknown", (), known, interrupted=interrupted)
    values = tuple(response.solution)
    if objective is None:
        return Answer("optimal", values, None, True, interrupted)
    value = sum(f * values[v] for v, f in objective)
    bound = min(value, ceil(response.best_objective_bound - 1e-6))
    if name == "OPTIMAL" and abs(response.best_objective_bound - response.objective_value) < 0.5:
        bound = value
    return Answer("optimal" if bound == value else "feasible", values, bound, name == "OPTIMAL", interrupted)


def _text(
    model: Model,
    objective: Terms | None,
    within: Sequence[tuple[Terms, int]],
    between: tuple[int, int] | None,
    hint: Mapping[int, int],
) -> str:
    """The model in the text form of CpModelProto."""
    parts = [f"variables{{domain:[{low},{high}]}}" for low, high in model.domains]
    limits = (row_of(terms, None, limit) for terms, limit in within)
    for row in (*model.rows, *limits):
        variables = ",".join(str(v) for v, _ in row.terms)
        factors = ",".join(str(f) for _, f in row.terms)
        low = _LOW if row.low is None else row.low
        high = _HIGH if row.high is None else row.high
        when = "" if row.when is None else f"enforcement_literal:[{row.when}] "
        parts.append(f"constraints{{{when}linear{{vars:[{variables}] coeffs:[{factors}] domain:[{low},{high}]}}}}")
    parts += [f"constraints{{exactly_one{{literals:[{','.join(map(str, one))}]}}}}" for one in model.one_of]
    made = len(parts) - len(model.domains)  # constraints know each other by their number
    for apart in model.apart:
        for each in apart:
            at = f"vars:[{each.start}] coeffs:[1]"
            interval = f"start{{{at}}} size{{offset:{each.size}}} end{{{at} offset:{each.size}}}"
            parts.append(f"constraints{{enforcement_literal:[{each.present}] interval{{{interval}}}}}")
        numbers = ",".join(map(str, range(made, made + len(apart))))
        parts.append(f"constraints{{no_overlap{{intervals:[{numbers}]}}}}")
        made += len(apart) + 1
    if objective:
        terms = summed(objective) or ((0, 0),)
        variables = ",".join(str(v) for v, _ in terms)
        factors = ",".join(str(f) for _, f in terms)
        domain = "" if between is None else f" domain:[{between[0]},{between[1]}]"
        parts.append(f"objective{{vars:[{variables}] coeffs:[{factors}]{domain}}}")
    if hint:
        variables = ",".join(map(str, hint))
        parts.append(f"solution_hint{{vars:[{variables}] values:[{','.join(map(str, hint.values()))}]}}")
    return "\n".join(parts)

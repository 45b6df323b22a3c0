"""Reads and writes a Problem as JSON, format version 1 (docs/problem-format.md)."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any, Final, Literal, NoReturn, get_args, get_origin, get_type_hints

from planner.problem import (
    LIMIT,
    MILLION,
    End,
    Path,
    Problem,
    Scenario,
    Server,
    Station,
    Transfer,
    Visit,
)
from planner.problem.tree import tree_of
from specs.errors import InputError, Issue, Place
from specs.infrastructure import MOST_EXECUTORS
from specs.input_file import read_input
from specs.kinds import another_kind
from specs.nearest import near
from specs.output_file import write_whole

FORMAT: Final = "tierplan.problem/v1"
SOLUTION_FORMAT: Final = "tierplan.solution/v1"
MAX_BYTES: Final = 64_000_000
MAX_ITEMS: Final = 100_000
MAX_TEXT: Final = 500
MAX_TASKS: Final = 65


def write_problem(problem: Problem, file: str | FilePath) -> None:
    """Write `problem`, replacing `file` in one step."""
    write_whole(file, problem_json(problem))


def problem_json(problem: Problem) -> str:
    return json.dumps({"schema": FORMAT, **dataclasses.asdict(problem)}, indent=1, ensure_ascii=False) + "\n"


def read_problem(file: str | FilePath) -> Problem:
    """Read a Problem. Raises InputError, naming the value, for what is not one, and for another version's."""
    return parse_problem(read_input(file, MAX_BYTES), str(file))


def parse_problem(text: str | bytes, name: str = "<problem>") -> Problem:
    """As `read_problem`, from text."""
    try:
        value = json.loads(
            text, parse_constant=_NotHere, parse_float=_NotHere, parse_int=_integer, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise InputError(Issue(f"not a Problem: {error.msg}", Place(name, error.lineno, error.colno))) from error
    except (ValueError, RecursionError) as error:
        raise InputError(Issue(f"not a Problem: {error}", Place(name))) from error
    try:
        _check_version(value, Place(name))
        problem: Problem = _read(value, Problem, "")
        _check(problem)
    except _Wrong as error:
        raise InputError(Issue(f"not a Problem: {error}", Place(name), error.hint)) from error
    return problem


def _check_version(value: Any, place: Place) -> None:
    """Takes ``schema`` out of `value`. Raises InputError where it names another kind or version."""
    if not isinstance(value, dict):
        raise _Wrong("the file", f"expected an object with the key 'schema', got {_short(value)}")
    if other := another_kind(value, "problem", place):
        raise InputError(other)
    named = value.pop("schema", None)
    if named != FORMAT:
        raise _Wrong("schema", f"expected {FORMAT!r}, got {_short(named)}")


class _Wrong(Exception):
    def __init__(self, where: str, expected: str, hint: str = "") -> None:
        super().__init__(f"{where}: {expected}" if where else expected)
        self.hint = hint


class _NotHere:
    """A value that JSON's reader met and no Problem holds: it is refused where it stands."""

    def __init__(self, said: str) -> None:
        self.said = said

    def __repr__(self) -> str:
        return self.said


def _integer(text: str) -> int | _NotHere:
    return int(text) if len(text) <= 20 else _NotHere(f"{text[:20]}..., which is too large")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _NotHere:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [key for key, _ in pairs]
    return _NotHere(f"the key {_short(next(key for key in names if names.count(key) > 1))} twice")


def _read(value: Any, kind: Any, where: str, least: int = 0) -> Any:
    """`value` as `kind`: a dataclass, a tuple of such, an integer from `least`, or text."""
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= LIMIT:
            raise _Wrong(where, f"expected an integer from {least} to {LIMIT}, got {_short(value)}")
        return value
    if kind is str:
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise _Wrong(where, f"expected text of at most {MAX_TEXT} characters, got {_short(value)}")
        return value
    if get_origin(kind) is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise _Wrong(where, f"expected one of {', '.join(get_args(kind))}, got {_short(value)}")
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise _Wrong(where, f"expected a list of at most {MAX_ITEMS} items, got {_short(value)}")
        return tuple(_read(item, get_args(kind)[0], f"{where}[{i}]") for i, item in enumerate(value))
    hints = _hints(kind)
    if not isinstance(value, dict):
        raise _Wrong(where or "the file", f"expected an object with the keys {', '.join(hints)}, got {_short(value)}")
    if not value.keys() <= hints.keys() or not _required(kind) <= value.keys():
        _refuse_keys(value, kind, where)
    least = -1 if kind is End else 0
    inside = f"{where}." if where else ""
    return kind(**{key: _read(value[key], hints[key], f"{inside}{key}", least) for key in hints if key in value})


def _refuse_keys(value: dict[str, Any], kind: Any, where: str) -> NoReturn:
    hints = _hints(kind)
    for key in value:
        if key not in hints:
            raise _Wrong(where, f"the key {_short(key)} is not known", near(key, hints, most=len(hints)))
    missing = next(key for key in hints if key in _required(kind) and key not in value)
    raise _Wrong(where, f"the key {missing!r} is missing")


_KNOWN: dict[Any, dict[str, Any]] = {}


def _hints(kind: Any) -> dict[str, Any]:
    if kind not in _KNOWN:
        _KNOWN[kind] = get_type_hints(kind)
    return _KNOWN[kind]


def _required(kind: Any) -> set[str]:
    """Fields without a default."""
    return {f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}


def _short(value: object) -> str:
    return repr(value)[:60]


def _index(value: int, length: int, where: str) -> None:
    if not 0 <= value < length:
        raise _Wrong(where, f"the index {value} is not one of the {length} there are")


def numbers_of(value: Any, where: str) -> Iterator[tuple[str, int]]:
    """Every number below `value` but the parts of an End, which may be -1."""
    if isinstance(value, int):
        yield where, value
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from numbers_of(item, f"{where}[{i}]")
    elif dataclasses.is_dataclass(value) and not isinstance(value, (type, End, types.GenericAlias)):
        for field in dataclasses.fields(value):
            yield from numbers_of(getattr(value, field.name), f"{where}.{field.name}")


def _check(problem: Problem) -> None:
    """Indices and the order of levels, so that solving can rely on them."""
    if not problem.sites or not problem.flows or not problem.objectives:
        raise _Wrong("the file", "expected at least one site, one flow and one objective")
    if len(problem.members) != len(problem.flows):
        raise _Wrong("members", "expected one for each flow")
    if 0 in problem.members:
        raise _Wrong(f"members[{problem.members.index(0)}]", "expected at least 1, got 0")
    named = len(problem.constraints)
    for i, pool in enumerate(problem.pools):
        _index(pool.constraint, named, f"pools[{i}].constraint")
        if pool.minimum > pool.maximum or pool.cores < 1 or pool.maximum > MAX_ITEMS:
            raise _Wrong(f"pools[{i}]", "expected minimum <= maximum and at least one core")
        if pool.sharing == "time" and pool.maximum > MOST_EXECUTORS:
            raise _Wrong(f"pools[{i}]", f"expected at most {MOST_EXECUTORS} devices in a pool that shares time")
    for i, server in enumerate(problem.servers):
        _index(server.constraint, named, f"servers[{i}].constraint")
        waits = [(level.wait_us, level.wait_var) for level in server.levels]
        if not waits or waits[0] != (0, 0) or any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(waits)):
            raise _Wrong(f"servers[{i}].levels", "expected levels that rise from 0")
        _check_pool_of(problem, server, f"servers[{i}].pools")
    for i, station in enumerate(problem.stations):
        _check_station(problem, station, f"stations[{i}]")
    for i, budget in enumerate(problem.budgets):
        _index(budget.constraint, named, f"budgets[{i}].constraint")
        if budget.pools and budget.of != "memory":
            raise _Wrong(f"budgets[{i}].pools", f"expected none, for it is of {budget.of}")
        for k in budget.pools:
            _index(k, len(problem.pools), f"budgets[{i}].pools")
    for i, throughput in enumerate(problem.throughputs):
        _index(throughput.constraint, named, f"throughputs[{i}].constraint")
        if throughput.scale < MILLION:
            raise _Wrong(f"throughputs[{i}].scale", f"expected at least {MILLION}, got {throughput.scale}")
        for k in throughput.flows:
            _index(k, len(problem.flows), f"throughputs[{i}].flows")
    for i, scenario in enumerate(problem.scenarios):
        _check_scenario(problem, scenario, f"scenarios[{i}]")
    if {s.flow for s in problem.scenarios} != set(range(len(problem.flows))):
        raise _Wrong("scenarios", "expected at least one for each flow")


def _check_pool_of(problem: Problem, server: Server, where: str) -> None:
    """Executors are those of one `time` pool, and without end where its devices are."""
    for index in server.pools:
        _index(index, len(problem.pools), where)
        pool = problem.pools[index]
        if pool.sharing != "time" or pool.constraint != server.constraint or len(server.pools) > 1:
            raise _Wrong(where, "expected at most one pool, which shares time and has the same constraint")


def _check_station(problem: Problem, station: Station, where: str) -> None:
    _index(station.pool, len(problem.pools), f"{where}.pool")
    pool = problem.pools[station.pool]
    if station.threads < 1 or (
        pool.sharing == "cores" and (station.threads > pool.cores or station.memory_kb > pool.memory_kb)
    ):
        raise _Wrong(where, "expected a replica that fits into a device of its pool")
    if (pool.sharing == "time") == bool(station.levels):
        raise _Wrong(f"{where}.levels", "expected levels in a pool that shares cores, and none in one that shares time")
    if any(level.replicas < 1 or level.replicas > MAX_ITEMS for level in station.levels):
        raise _Wrong(f"{where}.levels", "expected at least one replica")
    if any(level.replicas <= station.standby for level in station.levels):
        raise _Wrong(f"{where}.standby", "expected fewer than each level has replicas")


def _check_scenario(problem: Problem, scenario: Scenario, where: str) -> None:
    _index(scenario.flow, len(problem.flows), f"{where}.flow")
    _check_barred(problem, scenario.barred, where)
    if len(scenario.means) != sum(o.kind == "latency" for o in problem.objectives):
        raise _Wrong(f"{where}.means", "expected one for each latency in objectives")
    for s, step in enumerate(scenario.steps):
        at = f"{where}.steps[{s}]"
        if not 1 <= step.tasks <= MAX_TASKS:
            raise _Wrong(f"{at}.tasks", f"expected 1 to {MAX_TASKS}")
        for o, option in enumerate(step.options):
            _index(option.station, len(problem.stations), f"{at}.options[{o}].station")
            _index(option.site, len(problem.sites), f"{at}.options[{o}].site")
            _index(option.last, step.tasks, f"{at}.options[{o}].last")
            _index(option.first, option.last + 1, f"{at}.options[{o}].first")
            _check_barred(problem, option.barred, f"{at}.options[{o}]")
            _check_visits(problem, option.visits, f"{at}.options[{o}]")
    for e, edge in enumerate(scenario.edges):
        at = f"{where}.edges[{e}]"
        for end in (edge.producer, edge.consumer):
            _check_end(problem, scenario, end, at)
        _check_transfers(problem, edge.transfers, f"{at}.transfers")
        _check_transfers(problem, edge.hops, f"{at}.hops")
        if edge.hops and edge.transfers:
            raise _Wrong(at, "expected transfers or hops, not both")
        if not edge.hops and (edge.apart_us or edge.apart_us2):
            raise _Wrong(f"{at}.apart_us", "expected 0 without hops")
        try:
            tree_of((hop.start, hop.end) for hop in edge.hops)
        except ValueError as error:
            raise _Wrong(f"{at}.hops", str(error)) from error
    _check_order(scenario, where)
    for limit in scenario.limits:
        _index(limit.constraint, len(problem.constraints), f"{where}.limits")
    paths = [p for limit in scenario.limits for shape in limit.shapes for p in shape.paths]
    paths += [p for mean in scenario.means for shape in mean for p in shape.paths]
    for path in paths:
        _check_path(scenario, path, where)


def _check_order(scenario: Scenario, where: str) -> None:
    """Steps do not wait for each other, nor tasks of a step for later ones."""
    before: dict[int, set[int]] = {}
    for e, edge in enumerate(scenario.edges):
        a, b = edge.producer, edge.consumer
        if a.step >= 0 and a.step == b.step and a.task >= b.task:
            raise _Wrong(f"{where}.edges[{e}]", "expected a message from a task to a later one")
        if a.step >= 0 and b.step >= 0 and a.step != b.step:
            before.setdefault(b.step, set()).add(a.step)
    try:
        TopologicalSorter(before).prepare()
    except CycleError as error:
        circle = " -> ".join(scenario.steps[i].name for i in error.args[1])
        raise _Wrong(f"{where}.edges", f"steps wait for each other in a circle: {circle}") from error


def _check_transfers(problem: Problem, transfers: tuple[Transfer, ...], where: str) -> None:
    pairs = [(t.start, t.end) for t in transfers]
    if len(set(pairs)) != len(pairs) or any(start == end for start, end in pairs):
        raise _Wrong(where, "expected each pair of different sites once")
    for t, transfer in enumerate(transfers):
        _index(transfer.start, len(problem.sites), f"{where}[{t}].start")
        _index(transfer.end, len(problem.sites), f"{where}[{t}].end")
        _check_visits(problem, transfer.visits, f"{where}[{t}]")


def _check_end(problem: Problem, scenario: Scenario, end: End, where: str) -> None:
    if end.step == -1:
        _index(end.site, len(problem.sites), f"{where}: site")
    else:
        _index(end.step, len(scenario.steps), f"{where}: step")
        _index(end.task, scenario.steps[end.step].tasks, f"{where}: task")


def _check_path(scenario: Scenario, path: Path, where: str) -> None:
    for step in path.steps:
        _index(step, len(scenario.steps), f"{where}: a path's step")
    for edge in path.edges:
        _index(edge, len(scenario.edges), f"{where}: a path's edge")
    for beside in path.beside:
        _index(beside.step, len(scenario.steps), f"{where}: a step beside a path")
        if beside.step in path.steps or not set(beside.of) <= set(path.steps):
            raise _Wrong(f"{where}: a step beside a path", "expected one that is not on it, beside steps that are")


def _check_barred(problem: Problem, barred: tuple[int, ...], where: str) -> None:
    for index in barred:
        _index(index, len(problem.constraints), f"{where}.barred")


def _check_visits(problem: Problem, visits: tuple[Visit, ...], where: str) -> None:
    for visit in visits:
        _index(visit.server, len(problem.servers), f"{where}.visits")

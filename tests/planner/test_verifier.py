"""The verifier agrees with every plan, and with no plan in which an error was planted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from planner import solve, verify
from planner.refinement import compared
from planner.situation import Situation
from specs.errors import InputError
from specs.load import load_application, load_infrastructure
from specs.plan import Plan
from tests.planner.blog import FOLDER, situation, situation_with
from tests.planner.planned import planned
from tests.planner.worlds import world

SAMPLES = 30_000
Change = Callable[[dict[str, Any]], None]


def agree(seeds: range) -> None:
    count = 0
    for seed in seeds:
        given = world(seed)
        plan = solve(given)
        if plan.assignments:
            count += 1
            wrong = verify(given, plan, SAMPLES).wrong
            assert not wrong, (seed, wrong)
    assert count >= 0.3 * len(seeds)


def test_the_verifier_agrees_with_every_plan() -> None:
    agree(range(24))


@pytest.mark.deep
def test_the_verifier_agrees_with_every_plan_of_many_more() -> None:
    agree(range(24, 2000))


@cache
def example() -> tuple[Situation, Plan]:
    given = situation()
    return given, solve(given)


def test_the_verifier_agrees_with_the_example() -> None:
    assert not verify(*example()).wrong


def test_the_verifier_agrees_where_nobody_asks_but_at_the_peak(tmp_path: Path) -> None:
    """A mean rate of 0 costs nothing by use, and a mean latency is still one."""
    text = (FOLDER / "app.yaml").read_text().replace("mean: 12/h", "mean: 0/h")
    assert "mean: 0/h" in text
    (tmp_path / "app.yaml").write_text(text)
    given = situation_with(load_application(tmp_path / "app.yaml"), load_infrastructure(FOLDER / "infra.yaml"))
    plan = solve(given)
    assert plan.objective[1] > 0
    assert not verify(given, plan, SAMPLES).wrong


def test_several_limits_on_one_path_make_a_plan_that_holds_with_the_shortest_of_each_percentile(tmp_path: Path) -> None:
    more = "  soon: {from: upload, to: answer, p95: 900 ms}\n  sooner: {from: upload, to: answer, p99: 480 ms}\n"
    text = (FOLDER / "app.yaml").read_text().replace("  budget:", more + "  budget:")
    (tmp_path / "app.yaml").write_text(text)
    given = situation_with(load_application(tmp_path / "app.yaml"), load_infrastructure(FOLDER / "infra.yaml"))
    plan = solve(given)
    assert [path.limit_ms for path in plan.paths] == [{"p95": 900.0, "p99": 480.0}]
    assert {"answer_time.p99", "soon.p95", "sooner.p99"} <= {c.name for c in plan.constraints}
    assert not verify(given, plan, SAMPLES).wrong
    assert set(compared(given, plan, 20_000, seed=1).limits) == {"answer_time.p99", "soon.p95", "sooner.p99"}


def test_how_the_path_of_a_spec_is_written_says_nothing() -> None:
    given, plan = example()
    value = plan.dump()
    for constraint in value["constraints"]:
        constraint["file"] = f"./elsewhere/../{Path(constraint['file']).name}"
    assert not verify(given, Plan.model_validate(value), SAMPLES).wrong


def at(*path: Any, to: Any = None, times: float | None = None, add: float | None = None) -> Change:
    """Set, multiply or add to the value at `path`."""

    def change(value: dict[str, Any]) -> None:
        inner: Any = value
        for key in path[:-1]:
            inner = inner[key]
        old = inner[path[-1]]
        inner[path[-1]] = old * times if times is not None else old + add if add is not None else to

    return change


def drop(*path: Any) -> Change:
    def change(value: dict[str, Any]) -> None:
        inner: Any = value
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]

    return change


def swap_records(value: dict[str, Any]) -> None:
    a, b = value["assignments"][0], value["assignments"][1]
    a["record"], b["record"] = b["record"], a["record"]


def move(value: dict[str, Any]) -> None:
    value["assignments"][0].update(site="bases", pool="rack", hardware="micro")


def reverse(value: dict[str, Any]) -> None:
    hops = value["routes"][0]["hops"]
    hops[0]["direction"] = {"up": "down", "down": "up"}[hops[0]["direction"]]


def invent_cut(value: dict[str, Any]) -> None:
    value["cuts"] = [{"component": "vision", "tensors": ["cut_a"], "codec": "none", "bytes": 10.0}]


def first_transfer(value: dict[str, Any]) -> int:
    return next(i for i, s in enumerate(value["stages"]) if s["kind"] == "transfer")


def shorten_transfer(value: dict[str, Any]) -> None:
    value["stages"][first_transfer(value)]["service"]["p50_ms"] *= 0.8


def drop_transfer(value: dict[str, Any]) -> None:
    del value["stages"][first_transfer(value)]


def change_pattern(value: dict[str, Any]) -> None:
    patterns = value["behaviour"][0]["patterns"]
    patterns[next(iter(patterns))] += 0.05


PLANTED: dict[str, Change] = {
    "p99 too low": at("paths", 0, "predicted", "p99_ms", times=0.85),
    "p50 too high": at("paths", 0, "predicted", "p50_ms", times=1.2),
    "mean too low": at("paths", 0, "predicted", "mean_ms", times=0.85),
    "path left out": drop("paths", 0),
    "limit of a path changed": at("paths", 0, "limit_ms", "p99", to=900.0),
    "cost a month too low": at("cost", "per_month", add=-1.0),
    "cost an hour of another month": at("cost", "per_hour", times=1.1),
    "cost per thousand": at("cost", "per_1000", times=1.1),
    "cost item left out": drop("cost", "items", 0),
    "another currency": at("cost", "currency", to="EUR"),
    "stage moved": move,
    "no replica": at("assignments", 0, "replicas", to=0),
    "more replicas than fit": at("assignments", 2, "replicas", to=50),
    "other threads": at("assignments", 1, "threads", to=2),
    "other backend": at("assignments", 1, "backend", to="tvm"),
    "other variant": at("assignments", 1, "variant", to="small"),
    "records swapped": swap_records,
    "provenance made better": at("assignments", 0, "provenance", to="measured"),
    "artefact of another": at("assignments", 1, "artefact", to="0" * 64),
    "members": at("assignments", 0, "members", to=7),
    "stage left out": drop("assignments", 4),
    "stage twice": lambda value: value["assignments"].append(value["assignments"][0]),
    "devices left out": at("devices", to=[]),
    "more devices than there are": at("devices", 1, "bought", to=9),
    "load of a device": at("devices", 0, "load", times=0.5),
    "load of a link": at("links", 0, "load", times=0.5),
    "bytes on a link": at("links", 0, "bytes_per_s", times=2.0),
    "link left out": drop("links", 0),
    "route that goes backwards": reverse,
    "routes left out": at("routes", to=[]),
    "cut that is not there": invent_cut,
    "slack too large": at("constraints", 0, "slack", add=50.0),
    "constraint left out": drop("constraints", 1),
    "line of a constraint": at("constraints", 0, "line", add=3),
    "accuracy too high": at("behaviour", 0, "accuracy", "held_out", add=0.02),
    "probability of a branch": change_pattern,
    "objective too low": at("objective", 0, times=0.9),
    "bound above the objective": at("bound", 0, times=1.1),
    "gap left out": at("gap", to=0.5),
    "service of a stage": at("stages", 0, "service", "p50_ms", times=0.8),
    "wait of a stage": at("stages", 0, "wait", "p99_ms", add=40.0),
    "share of a stage": at("stages", 0, "share", times=0.5),
    "transfer too short": shorten_transfer,
    "transfer left out": drop_transfer,
}


@pytest.mark.parametrize("case", PLANTED, ids=str)
def test_a_planted_error_is_found(case: str) -> None:
    given, plan = example()
    value = plan.dump()
    PLANTED[case](value)
    assert verify(given, Plan.model_validate(value), SAMPLES).wrong


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (("inputs", "app"), r"app\.yaml"),
        (("inputs", "infra"), r"infra\.yaml"),
        (("inputs", "sources", "vision/large"), "vision/large"),
        (("inputs", "records", 0), "profile record 0000"),
        (("inputs", "behaviour", 0), "behaviour 0000"),
    ],
)
def test_a_plan_older_than_its_inputs_names_what_changed(path: tuple[Any, ...], named: str) -> None:
    given, plan = example()
    value = plan.dump()
    at(*path, to="0" * 64)(value)
    with pytest.raises(InputError, match=f"older than its inputs: .*{named}"):
        verify(given, Plan.model_validate(value), SAMPLES)


def test_an_infeasible_plan_has_nothing_to_verify() -> None:
    given, plan = example()
    value = plan.dump() | {"status": "infeasible", "assignments": []}
    with pytest.raises(InputError, match="places nothing"):
        verify(given, Plan.model_validate(value))


def test_a_path_to_a_sink_of_which_no_constraint_speaks_is_predicted_and_verified() -> None:
    seen = 0
    for seed in range(3):
        given = world(seed)
        free = given.app.value.model_copy(update={"constraints": {}, "objective": ("cost",)})
        given = replace(given, app=replace(given.app, value=free))
        plan = planned(given)
        if plan is None:
            continue
        seen += 1
        assert {p.to for p in plan.paths} == set(free.sinks)
        assert not verify(given, plan, 20_000).wrong
        late = plan.paths[0].predicted.model_copy(update={"p99_ms": plan.paths[0].predicted.p99_ms * 2})
        paths = (plan.paths[0].model_copy(update={"predicted": late}), *plan.paths[1:])
        assert verify(given, plan.model_copy(update={"paths": paths}), 20_000).wrong
        assert verify(given, plan.model_copy(update={"paths": ()}), 20_000).wrong
    assert seen >= 2

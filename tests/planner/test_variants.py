"""The example's plan answers to its limits: what is tightened changes the plan or its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from planner import baselines, default_slice, predict, solve, verify
from planner.situation import Situation
from specs.application import Application
from specs.behaviour import Behaviour, BranchPattern
from specs.digest import digest_bytes
from specs.errors import InputError
from specs.infrastructure import Infrastructure
from specs.load import Document
from specs.plan import Plan
from specs.yamlfile import parse_yaml
from tests.planner.blog import FOLDER, situation, situation_with


def text(name: str, model: type[Any], changes: Mapping[str, str]) -> Document[Any]:
    """A spec of the example with pieces of its text replaced."""
    file = FOLDER / name
    content = file.read_text()
    for old, new in changes.items():
        assert old in content, old
        content = content.replace(old, new)
    read = parse_yaml(content, str(file))
    return Document(model.model_validate(read.value), read, digest_bytes(content.encode()))


def changed(app: Mapping[str, str] | None = None, infra: Mapping[str, str] | None = None) -> Situation:
    return situation_with(text("app.yaml", Application, app or {}), text("infra.yaml", Infrastructure, infra or {}))


def places(plan: Plan) -> dict[str, str]:
    return {f"{a.component} {a.segment}": a.site for a in plan.assignments}


def test_the_plan_is_proven_and_keeps_what_it_promises() -> None:
    plan = solve(situation())
    assert plan.status == "optimal"
    assert plan.gap == 0
    assert all(c.slack >= 0 for c in plan.constraints)
    assert len(set(places(plan).values())) > 1


def test_a_tighter_limit_costs_no_less() -> None:
    loose, tight = solve(situation()), solve(changed(app={"p99: 500 ms": "p99: 230 ms"}))
    assert tight.status in ("optimal", "infeasible")
    if tight.cost is not None and loose.cost is not None:
        assert tight.cost.per_month >= loose.cost.per_month - 1e-6


def test_every_baseline_costs_no_less_or_breaks_a_constraint() -> None:
    given = situation()
    best = solve(given)
    assert best.cost is not None
    found = baselines(given)
    assert [b.tier for b in found] == ["edge", "base_station", "cloud"]
    for baseline in found:
        if baseline.plan is not None and baseline.plan.cost is not None:
            assert baseline.plan.cost.per_month >= best.cost.per_month - 1e-6
        else:
            assert baseline.reason or (baseline.plan and baseline.plan.conflict)


def test_a_pin_is_kept() -> None:
    plan = solve(changed(app={"    model: models/decide.onnx": "    at: {tier: cloud}\n    model: models/decide.onnx"}))
    assert plan.status == "infeasible" or places(plan)["decide .."] == "frankfurt"


def test_the_same_input_gives_the_same_plan() -> None:
    assert solve(situation()).digest == solve(situation()).digest


def test_a_slice_at_full_load_is_predicted_as_the_plan_is() -> None:
    given = situation()
    plan = solve(given)
    part = default_slice(given, plan, {"phones": 1}, 1.0)
    for one, whole in zip(predict(given, plan, part).paths, plan.paths, strict=True):
        assert one.predicted.p99_ms == pytest.approx(whole.predicted.p99_ms, rel=0.01)


def test_background_stands_for_the_members_left_out() -> None:
    given = situation()
    plan = solve(given)
    rate = given.flows[0].peak
    part = default_slice(given, plan, {"phones": 2}, 150.0)
    assert part.background.get("bases", 0.0) == pytest.approx(0.0)
    assert default_slice(given, plan, {"phones": 2}, 50.0).background["bases"] == pytest.approx(200 * rate)
    assert part.members["bases"] == 1


def test_an_overloaded_slice_names_what_is_overloaded() -> None:
    given = situation()
    plan = solve(given)
    with pytest.raises(InputError, match="overloaded: "):
        predict(given, plan, default_slice(given, plan, {"phones": 1}, 10_000.0))


def test_a_slice_with_more_members_than_there_are_is_refused() -> None:
    given = situation()
    with pytest.raises(InputError, match="which has 1200"):
        default_slice(given, solve(given), {"phones": 2000})


def test_a_link_without_a_route_is_refused() -> None:
    infra = {"between: [bases, frankfurt]": "between: [phones, bases]"}
    pin = {"    model: models/language.onnx": "    at: {tier: cloud}\n    model: models/language.onnx"}
    with pytest.raises(InputError, match="no route between sites 'phones' and 'frankfurt'"):
        solve(changed(app=pin, infra=infra))


def test_branches_that_may_meet_on_one_executor_are_planned() -> None:
    apart = {"    when: not vision.sure               # a picture that vision is sure about needs no reading\n": ""}
    with pytest.raises(InputError, match="leaves out 'language', which no gate does"):
        solve(changed(app=apart))  # as it was profiled, it had a gate
    given = changed(app=apart)
    behaviours = tuple(b.model_copy(update={"patterns": _ungated(b)}) for b in given.behaviours)
    ungated = replace(given, behaviours=behaviours)
    plan = solve(ungated)
    assert plan.status == "optimal"
    assert not verify(ungated, plan, 30_000).wrong


def _ungated(behaviour: Behaviour) -> tuple[BranchPattern, ...]:
    """One pattern, in which all runs."""
    everything = max((p.runs for p in behaviour.patterns), key=len)
    return (BranchPattern(source="upload", runs=everything, probability=1, count=1000),)

"""What `planner diff` says of two plans and of two bundles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from planner.cli.diff.plans import compare_plans
from specs.diff import DiffResult
from specs.plan import Plan, write_plan
from specs.schema import json_schema
from tests.cli.calling import Called, planner
from tests.cli.samples import infeasible_plan, sample_plan


def with_assignment(plan: Plan, index: int, **changes: object) -> Plan:
    chosen = list(plan.assignments)
    chosen[index] = chosen[index].model_copy(update=changes)
    return plan.model_copy(update={"assignments": tuple(chosen)})


def answer(called: Called) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(called.out)
    jsonschema.validate(value, json_schema(DiffResult))
    return value


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder with a plan and one in which tokens moved and language is served otherwise."""
    old = sample_plan()
    assert old.cost is not None
    dearer = old.cost.model_copy(update={"per_month": old.cost.per_month + 12.5})
    moved = with_assignment(with_assignment(old, 3, site="frankfurt"), 4, replicas=2, threads=1)
    write_plan(old, tmp_path / "old.yaml")
    write_plan(moved.model_copy(update={"cost": dearer}), tmp_path / "new.yaml")
    return tmp_path


def test_nothing_differs_but_how_long_solving_took() -> None:
    found = compare_plans(sample_plan(), sample_plan(seconds=9.0))
    assert found.same
    assert {k: v for k, v in found.dump().items() if v} == {"same": True}


def test_a_plan_read_of_its_file_is_the_same(tmp_path: Path) -> None:
    """Files hold six digits of what was computed."""
    plan = sample_plan(objective=[1 / 3])
    write_plan(plan, tmp_path / "plan.yaml")
    (path,) = plan.paths
    longer = path.predicted.model_copy(update={"p99_ms": path.predicted.p99_ms + 1e-9})
    again = plan.model_copy(update={"paths": (path.model_copy(update={"predicted": longer}),)})
    assert compare_plans(plan, again).paths == ()


def test_what_moved_and_what_is_served_otherwise_is_told_apart() -> None:
    moved = with_assignment(with_assignment(sample_plan(), 3, site="frankfurt"), 4, replicas=2, threads=1)
    one, other = compare_plans(sample_plan(), moved).placements
    assert (one.component, one.moved, one.differ) == ("tokens", True, ("site",))
    assert (other.component, other.moved, other.differ) == ("language", False, ("threads", "replicas"))
    assert other.old is not None
    assert other.new is not None
    assert (other.old.replicas, other.new.replicas) == (3, 2)


def test_a_component_that_is_new_has_no_old_side() -> None:
    less = sample_plan(assignments=sample_plan().assignments[:-1])
    (new,) = compare_plans(less, sample_plan()).placements
    (gone,) = compare_plans(sample_plan(), less).placements
    assert (new.component, new.old, gone.new) == ("decide", None, None)


def test_devices_cost_percentiles_constraints_and_inputs_stand_beside_each_other() -> None:
    old = sample_plan()
    assert old.cost is not None
    devices = (*old.devices[:2], old.devices[2].model_copy(update={"bought": 4}))
    items = (old.cost.items[0].model_copy(update={"per_month": 80.0}), *old.cost.items[1:3])
    cost = old.cost.model_copy(update={"per_month": 115.54, "items": items})
    loose = tuple(c.model_copy(update={"binding": False, "slack": 0.01}) for c in old.constraints[2:])
    inputs = old.inputs.model_copy(update={"sources": {"vision/large": "00" * 32}, "changes": ("a=b",)})
    changes = {"devices": devices, "cost": cost, "constraints": loose, "inputs": inputs}
    found = compare_plans(old, old.model_copy(update=changes))
    (bought,) = found.devices
    assert bought.old is not None
    assert bought.new is not None
    assert (bought.site, bought.old.bought, bought.new.bought) == ("frankfurt", 3, 4)
    assert found.cost is not None
    assert [(i.old, i.new) for i in found.cost.items] == [(65.7, 80.0), (2.24, None)]
    assert [(c.name, c.new is None) for c in found.constraints] == [
        ("answer_time", True),
        ("budget", True),
        ("quality", False),
    ]
    assert [(i.kind, i.name) for i in found.inputs] == [
        ("source", "vision/large"),
        ("source", "language/default"),
        ("what-if", "a=b"),
    ]


def test_a_record_that_was_measured_again_is_named_by_what_rests_on_it() -> None:
    (found,) = compare_plans(sample_plan(), with_assignment(sample_plan(), 0, record="c9" * 32)).inputs
    assert (found.kind, found.name) == ("record", "shrink/default python, 1 on phone")


def test_the_table_says_what_was_and_what_is(pair: Path) -> None:
    called = planner("diff", "old.yaml", "new.yaml", folder=pair)
    assert (called.code, called.err) == (0, "")
    for text in ("tokens", "bases", "frankfurt", "2 threads", "1 thread", "+12.50", "101.24"):
        assert text in called.out


def test_the_answer_is_the_same_in_json_and_yaml_and_keeps_its_schema(pair: Path) -> None:
    called = planner("diff", "old.yaml", "new.yaml", "--format", "json", folder=pair)
    value = answer(called)
    assert value["old"]["file"] == "old.yaml"
    assert [p["component"] for p in value["difference"]["placements"]] == ["tokens", "language"]
    assert yaml.safe_load(planner("diff", "old.yaml", "new.yaml", "-f", "yaml", folder=pair).out) == value


def test_the_exit_code_says_so_only_where_it_is_asked_to(pair: Path) -> None:
    assert planner("diff", "old.yaml", "new.yaml", "--exit-code", folder=pair).code == 1
    same = planner("diff", "old.yaml", "old.yaml", "--exit-code", folder=pair)
    assert (same.code, same.out.splitlines()[0]) == (0, "nothing differs")


def test_an_answer_of_no_is_a_side_too(pair: Path) -> None:
    write_plan(infeasible_plan(), pair / "no.yaml")
    called = planner("diff", "old.yaml", "no.yaml", folder=pair)
    assert called.code == 0
    assert "no.yaml: infeasible: answer_time, budget cannot hold together" in called.out


def test_what_is_no_plan_is_refused_with_its_place(pair: Path) -> None:
    (pair / "bad.yaml").write_text("schema: tierplan.plan/v1\nstatus: splendid\n")
    called = planner("diff", "old.yaml", "bad.yaml", folder=pair)
    assert (called.code, called.out) == (2, "")
    assert "bad.yaml:2:1: not a plan: status" in called.err
    assert planner("diff", "old.yaml", "lacking.yaml", folder=pair).code == 2
    called = planner("diff", "old.yaml", ".", folder=pair)
    assert called.code == 2
    assert "not a bundle" in called.err


def test_two_bundles_say_what_is_to_be_shipped(solved: Path) -> None:
    shutil.copytree(solved / "bundle", solved / "before")
    steps = solved / "steps.py"
    steps.write_text(steps.read_text("utf-8") + "\n# a change\n", "utf-8")
    for arguments in (
        ("profile", "app.yaml", "--infra", "infra.yaml", "--budget", "0.05"),
        ("solve", "app.yaml", "--infra", "infra.yaml"),
        ("compile", "plan.yaml", "app.yaml", "--infra", "infra.yaml"),
    ):
        assert planner(*arguments, folder=solved, timeout=300).code == 0
    value = answer(planner("diff", "before", "bundle", "--format", "json", folder=solved))
    found = value["bundle"]
    assert {f["name"] for f in found["files"]} == {"plan.yaml", "project/steps.py"}
    assert found["ship_bytes"] == sum(f["bytes"] for f in found["files"]) < found["total_bytes"]
    assert found["artefacts"] == []
    assert "measure/default" in [i["name"] for i in value["difference"]["inputs"]]
    shown = planner("diff", "before", "bundle", folder=solved)
    assert "files: 2 changed, 0 new, 0 gone" in shown.out
    one = planner("diff", "before", "plan.yaml", "--format", "json", folder=solved)
    assert "bundle" not in answer(one)

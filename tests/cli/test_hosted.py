"""A hosted API from the spec to a run, over a real server: profiled for a stated sum, paid for in the plan, called."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.cli.profiling.calls import CALL_BUDGET
from planner.situation import load_situation
from runtime.bundle import open_bundle
from runtime.reference.items import read_items
from runtime.running.run import execute
from runtime.stages.secrets import Secrets
from specs.plan import read_plan
from specs.profile import read_records
from tests.cli.calling import planner
from tests.runtime.hosting import Hosting, doubled, hosting
from tests.runtime.sample import make_prediction, make_slice

ON = ("app.yaml", "--infra", "infra.yaml")
TOKEN = "s3cret-token-of-tests"
APP = """\
schema: tierplan.app/v1
name: hosted
sources:
  ask:
    at: {tier: edge}
    rate: {mean: 2/s, peak: 5/s}
    values:
      x: {type: "f32[2]"}
components:
  positive:
    function: steps:positive
    inputs: {x: ask.x}
    outputs: {yes: bool}
  double:
    when: positive.yes
    api: {url: "URL", model: double, token: DOUBLE_KEY, price: 0.001 USD/call}
    inputs: {x: ask.x}
    outputs: {y: "f32[2]"}
  last:
    function: steps:last
    inputs: {x: ask.x, yes: positive.yes, y: {from: double.y, if_skipped: 0}}
    outputs: {z: "f32[2]"}
sinks:
  answer: {at: origin, inputs: {z: last.z}}
data:
  some: {file: data.jsonl}
constraints:
  answer_time: {from: ask, to: answer, p99: 60 s}
objective: [cost, {latency: answer_time}]
"""
INFRA = """\
schema: tierplan.infra/v1
hardware:
  box: {cores: 4, price: 0.1/h, emulate: {cpu: 1}}
sites:
  boxes:
    tier: edge
    pools: {rack: {hardware: box, devices: 0..2}}
"""
STEPS = """\
def positive(x):
    return {"yes": bool(x[0] > 0)}


def last(x, yes, y):
    return {"z": x + y}
"""
ITEMS = [[1, 2], [3, 4], [-1, 5], [2, 2]]
"""Three of four are doubled."""
MONTH = 730 * 3600


def write(folder: Path, url: str, app: str = APP) -> None:
    (folder / "app.yaml").write_text(app.replace("URL", url), "utf-8")
    (folder / "infra.yaml").write_text(INFRA, "utf-8")
    (folder / "steps.py").write_text(STEPS, "utf-8")
    (folder / "data.jsonl").write_text("".join(json.dumps({"x": x}) + "\n" for x in ITEMS), "utf-8")


@pytest.fixture(scope="module")
def server() -> Iterator[Hosting]:
    with hosting() as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, server: Hosting) -> Path:
    """Profiled, solved and compiled; not to be changed."""
    folder = tmp_path_factory.mktemp("hosted")
    write(folder, server.url)
    patch = pytest.MonkeyPatch()
    patch.setenv("DOUBLE_KEY", TOKEN)
    try:
        for verb in (
            ("validate", *ON),
            ("profile", *ON, "--budget", "0.02"),
            ("solve", *ON),
            ("compile", "plan.yaml", *ON),
        ):
            called = planner(*verb, folder=folder, timeout=300)
            assert called.code == 0, called.err
            assert TOKEN not in called.out + called.err
            if verb[0] == "solve":
                line = f"double calls {server.url}/v2/models/double/infer: 0.001 USD a call, 3,942.00 USD/month"
                assert line in called.out
            if verb[0] == "profile":
                line = f"double: at most 109 calls of {server.url}/v2/models/double/infer, 0.109 USD (0.218 if each"
                assert line in called.err
    finally:
        patch.undo()
    return folder


def test_profiling_calls_no_more_than_it_says(made: Path, server: Hosting) -> None:
    assert len(server.seen) == 2 * 3 + CALL_BUDGET.warmup + CALL_BUDGET.most
    assert {seen["Authorization"] for seen in server.seen} == {f"Bearer {TOKEN}"}
    digests = load_situation(made / "app.yaml", made / "infra.yaml", made / "profiles").digests
    (record,) = (r for r in read_records(made / "profiles") if r.source == digests["double/default"])
    assert record.latency.n == CALL_BUDGET.most
    assert 0 < record.latency.mean < 60


def test_what_was_disturbed_is_not_called_again_for_money(
    made: Path, server: Hosting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOUBLE_KEY", TOKEN)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "profiles" / "profiles.jsonl"
    records = [json.loads(line) | {"others": 0.4} for line in file.read_text("utf-8").splitlines()]
    for record in records:
        record["latency"]["spread"] = 0.0
    file.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    called, before = ("profile", *ON, "--budget", "0.02", "--again"), len(server.seen)
    told = planner(*called[:-1], folder=tmp_path).out
    assert f"{len(records) - 1} of {len(records)} were disturbed" in told
    again = planner(*called, folder=tmp_path)
    assert f"{len(records) - 1} measured, 1 known before" in again.out, again.err
    assert len(server.seen) == before + 2 * 3  # each time, for the inputs of what comes after it


def test_the_price_of_its_calls_is_in_the_plan_and_the_verifier_agrees(made: Path) -> None:
    cost = read_plan(made / "plan.yaml").cost
    assert cost is not None
    items = {item.name: item.per_month for item in cost.items}
    assert items["calls double"] == pytest.approx(0.001 * 2 * 0.75 * MONTH)
    assert cost.per_month == pytest.approx(sum(items.values()))
    verified = planner("verify", "plan.yaml", *ON, "--all", folder=made)
    assert verified.code == 0, verified.out + verified.err
    assert "cost of calls double" in verified.out
    reported = planner("report", "plan.yaml", "--app", "app.yaml", "-o", "report.html", folder=made)
    assert reported.code == 0, reported.err
    assert "/v2/models/double/infer" in (made / "report.html").read_text("utf-8")
    explained = planner("explain", "plan.yaml", *ON, folder=made)
    assert explained.code == 0, explained.err


def test_the_verifier_does_not_take_another_price(made: Path) -> None:
    plan = (made / "plan.yaml").read_text("utf-8")
    cost = read_plan(made / "plan.yaml").cost
    assert cost is not None
    paid = next(i for i in cost.items if i.name == "calls double")
    (made / "cheap.yaml").write_text(plan.replace(str(paid.per_month), str(paid.per_month / 2)), "utf-8")
    assert str(paid.per_month) in plan
    called = planner("verify", "cheap.yaml", *ON, folder=made)
    assert called.code == 1
    assert "cost of calls double" in called.out


def test_no_file_holds_the_token(made: Path) -> None:
    files = [file for file in made.rglob("*") if file.is_file()]
    assert len(files) > 8
    assert not [file for file in files if TOKEN.encode() in file.read_bytes()]


def test_a_run_calls_it(made: Path, server: Hosting) -> None:
    before = len(server.seen)
    bundle = open_bundle(made / "bundle")
    part = make_slice(members={"boxes": 1}, requests=20)
    app = bundle.app
    items = [ref.read() for ref in read_items(app.value, "some", made)]
    done = execute(
        bundle, part, items, make_prediction(bundle, part), on="process", secrets=Secrets({"DOUBLE_KEY": TOKEN})
    )
    assert (done.result.requests.answered, done.result.requests.wrong) == (20, 0)
    for entry in done.log:
        x = ITEMS[entry.item]
        expected = [3 * v for v in x] if x[0] > 0 else x
        assert entry.answers["answer"]["z"].tolist() == expected  # type: ignore[union-attr]
    assert len(server.seen) > before


def test_a_run_tells_what_failed_at_the_endpoint(made: Path, server: Hosting) -> None:
    bundle = open_bundle(made / "bundle")
    part = make_slice(members={"boxes": 1}, requests=10)
    items = [ref.read() for ref in read_items(bundle.app.value, "some", made)][:1]
    prediction = make_prediction(bundle, part)
    answers = iter([doubled])  # for the reference, which is asked first
    refusing = (400, b'{"error": "no such thing"}')
    kept, server.answer = server.answer, lambda r: next(answers, lambda _: refusing)(r)
    try:
        done = execute(bundle, part, items, prediction, on="process", secrets=Secrets({"DOUBLE_KEY": TOKEN}))
    finally:
        server.answer = kept
    assert done.result.requests.failed == 10
    reasons = {entry.reason for entry in done.log}
    assert any(f"{server.url}/v2/models/double/infer: answered 400: no such thing" in reason for reason in reasons)


def test_more_than_may_be_spent_is_refused_before_anything_is_called(tmp_path: Path, server: Hosting) -> None:
    write(tmp_path, server.url, APP.replace("token: DOUBLE_KEY, ", ""))
    before = len(server.seen)
    called = planner("profile", *ON, "--max-spend", "0.2", folder=tmp_path)
    assert called.code == 2
    assert "app.yaml:16:" in called.err
    assert "may cost 0.218 USD, more than 0.2 (allow it with --max-spend 1" in called.err
    assert len(server.seen) == before


def test_a_secret_that_is_missing_is_told_at_its_line(tmp_path: Path, server: Hosting) -> None:
    write(tmp_path, server.url)
    called = planner("profile", *ON, folder=tmp_path)
    assert called.code == 2
    assert "the secret DOUBLE_KEY of 'double' is not given" in called.err
    assert "app.yaml:16:" in called.err


def test_a_declared_latency_is_planned_with_and_not_measured(tmp_path: Path, server: Hosting) -> None:
    app = APP.replace("token: DOUBLE_KEY", "latency: {p50: 80 ms, p99: 300 ms}")
    write(tmp_path, server.url, app)
    before = len(server.seen)
    called = planner("profile", *ON, "--budget", "0.02", folder=tmp_path, timeout=300)
    assert called.code == 0, called.err
    assert len(server.seen) - before == 2 * 3
    solved = planner("solve", *ON, folder=tmp_path)
    assert solved.code == 0, solved.err
    plan = read_plan(tmp_path / "plan.yaml")
    (path,) = plan.paths
    assert path.predicted.p95_ms > 80
    assert {a.component: a.provenance for a in plan.assignments}["double"] == "declared"
    assert "declared: nobody measured double" in solved.out
    situation = load_situation(tmp_path / "app.yaml", tmp_path / "infra.yaml", tmp_path / "profiles")
    (record,) = (r for r in situation.records if r.provenance == "declared")
    assert record.latency.quantiles["0.5"] == pytest.approx(0.08)
    assert record.latency.quantiles["0.99"] == pytest.approx(0.3)
    assert planner("verify", "plan.yaml", *ON, folder=tmp_path).code == 0
    compiled = planner("compile", "plan.yaml", *ON, folder=tmp_path, timeout=300)
    assert compiled.code == 0, compiled.err
